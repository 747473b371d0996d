//! `litestream.yml`. A key that this version gives no meaning to is an error, unless the file says
//! `strict: false`.

mod byte_size;
mod context;
mod daemon;
mod database;
mod defaults;
pub mod directory;
mod environment;
mod history;
pub mod keys;
mod options;
mod place;
mod problem;
mod replica;
pub mod schema;
mod section;
mod yaml;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::places;
use context::Context;
pub use daemon::{Heartbeat, Logging, Mcp, Socket};
pub use database::Database;
pub use defaults::Defaults;
use directory::{Directory, Entry};
use environment::Lookup;
use problem::Problem;
use section::{Section, Text};

/// Where Litestream's packages put the file.
const DEFAULT_PATH: &str = "/etc/litestream.yml";
/// Names another place for it.
const PATH_VARIABLE: &str = "LITESTREAM_CONFIG";

/// What a configuration file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The databases to replicate.
    pub databases: Vec<Database>,
    /// Directories whose databases are replicated. One of either at least.
    pub directories: Vec<Directory>,
    /// What holds for databases that are not listed.
    pub defaults: Defaults,
    /// The program to supervise.
    pub exec: Option<String>,
    /// How to log.
    pub logging: Logging,
    /// How long the final sync may take.
    pub shutdown_sync_timeout: Duration,
    /// Where metrics are served.
    pub address: Option<String>,
    /// Bytes that are uploaded, and requests that are made, in a second.
    pub limits: (Option<u64>, Option<u64>),
    /// The control socket.
    pub socket: Socket,
    /// The MCP server.
    pub mcp: Option<Mcp>,
    /// Who is told that all is well.
    pub heartbeat: Option<Heartbeat>,
    /// What the user should hear of, once logs can be written; ready to be shown.
    pub warnings: Vec<String>,
}

/// How long the final sync may take unless told otherwise.
pub const SHUTDOWN_SYNC_TIMEOUT: Duration = Duration::from_secs(30);

impl Config {
    /// Reads the file that `-config`, `LITESTREAM_CONFIG` or the default names.
    pub fn load(given: Option<&str>, expand: bool) -> Result<Config> {
        let variable = |name: &str| std::env::var(name).ok();
        let path = path(given)?;
        let text = std::fs::read_to_string(&path).map_err(|error| missing(&path, &error))?;
        let (mut config, warnings) =
            Config::parse(&text, expand.then_some(&variable)).map_err(|it| it.in_file(&path))?;
        config.warnings = warnings.into_iter().map(|it| it.in_file(&path).in_a_line()).collect();
        Ok(config)
    }

    /// Whether there is a file to load, or somebody named one.
    pub fn is_there(given: Option<&str>) -> Result<bool> {
        let path = path(given)?;
        Ok(path != Path::new(DEFAULT_PATH) || path.exists())
    }

    /// Reads a configuration; without `lookup`, dollar signs mean nothing.
    fn parse(
        text: &str,
        lookup: Option<Lookup<'_>>,
    ) -> std::result::Result<(Config, Vec<Problem>), Problem> {
        let (marked, environment) = Context::mark(text, lookup)?;
        let tree = yaml::parse(&marked)?;
        let context = Context::new(environment, &tree);
        let root = Section::open(&tree, "", &keys::ROOT, &context)?;
        let config = Config::read(&root)?;
        Ok((config, context.into_warnings()))
    }

    fn read(root: &Section<'_>) -> std::result::Result<Config, Problem> {
        let (mut databases, mut directories) = (Vec::new(), Vec::new());
        let mut taken = HashMap::new();
        for (index, node) in root.list("dbs")?.unwrap_or_default().iter().enumerate() {
            let name = format!("dbs[{index}]");
            let section = Section::open(node, name, &keys::DATABASE, root.context)?;
            let template = Database::read(&section, root)?;
            match directory::read(&section, template)? {
                Entry::Database(database) => {
                    database.refuse_shared(&mut taken, section.line)?;
                    databases.push(database);
                }
                Entry::Directory(directory) => directories.push(directory),
            }
        }
        root.flag("strict")?;
        root.interval("shutdown-sync-interval")?;
        replica::check_moot(root)?;
        let config = Config {
            databases,
            directories,
            defaults: Defaults::read(root)?,
            exec: root.text("exec")?.map(|it| it.text),
            logging: daemon::logging(root)?,
            shutdown_sync_timeout: root
                .duration("shutdown-sync-timeout")?
                .unwrap_or(SHUTDOWN_SYNC_TIMEOUT),
            address: root.text("addr")?.map(|it| it.text),
            limits: (root.bytes("upload-rate")?, root.count("request-rate")?.map(u64::from)),
            socket: daemon::socket(root)?,
            mcp: daemon::mcp(root)?,
            heartbeat: daemon::heartbeat(root)?,
            warnings: Vec::new(),
        };
        if config.databases.is_empty() && config.directories.is_empty() {
            return Err(Problem::new(root.line, "no databases are configured").hint(
                "list them: dbs: [{path: /data/app.db, replica: {url: file:///backup/app}}]",
            ));
        }
        Ok(config)
    }

    /// The database at a path, by an entry of its own or by that of its directory.
    pub fn database(&self, path: &Path) -> Option<Database> {
        let own = self.databases.iter().find(|it| it.path == path).cloned();
        own.or_else(|| self.directories.iter().find_map(|directory| directory.database(path)))
    }

    /// All databases that there are now.
    pub fn all_databases(&self) -> Result<Vec<Database>> {
        let mut all = self.databases.clone();
        for directory in &self.directories {
            let listed: HashSet<_> = all.iter().map(|it| it.path.clone()).collect();
            let found = directory.databases()?.into_iter();
            all.extend(found.filter(|it| !listed.contains(&it.path)));
        }
        Ok(all)
    }
}

/// The file that is named, or the default.
fn path(given: Option<&str>) -> Result<PathBuf> {
    let named = given.map(str::to_owned).or_else(|| std::env::var(PATH_VARIABLE).ok());
    Ok(places::absolute(named.as_deref().unwrap_or(DEFAULT_PATH))?)
}

fn missing(path: &Path, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("config file not found: {}", path.display()),
        _ => format!("cannot read the config file {}: {error}", path.display()),
    };
    Failure::new(Exit::Config, message)
        .hint("name it with -config or $LITESTREAM_CONFIG, or pass a replica URL instead")
}

fn absolute(place: &Text) -> std::result::Result<PathBuf, Problem> {
    places::absolute(&place.text).map_err(|error| Problem::new(place.line, error))
}

#[cfg(test)]
mod tests;
