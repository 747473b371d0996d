//! `litestream.yml`: the keys that this version gives a meaning to. Any other is an error.

mod environment;
mod keys;
mod problem;
mod section;
mod yaml;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::logging::{Format, Level};
use crate::places;
use environment::{Environment, Lookup};
use problem::Problem;
use section::{Section, Text};
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::Url;

/// Where Litestream's packages put the file.
const DEFAULT_PATH: &str = "/etc/litestream.yml";
/// Names another place for it.
const PATH_VARIABLE: &str = "LITESTREAM_CONFIG";

/// What a configuration file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The databases to replicate: at least one.
    pub databases: Vec<Database>,
    /// The program to supervise.
    pub exec: Option<String>,
    /// How to log.
    pub logging: Logging,
    /// How long the final sync may take.
    pub shutdown_sync_timeout: Duration,
}

/// One database and where it is replicated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Absolute.
    pub path: PathBuf,
    /// The local state's place, if not beside the database.
    pub meta: Option<PathBuf>,
    /// Its replica.
    pub replica: Url,
    /// How long a change may wait for its upload.
    pub sync_interval: Duration,
    /// How often the database is looked at when nothing announces a change.
    pub monitor_interval: Duration,
    /// How long a change may wait for a checkpoint.
    pub checkpoint_interval: Duration,
    /// The number of WAL pages that calls for a checkpoint.
    pub checkpoint_pages: u32,
    /// How long to wait for the application's locks.
    pub busy_timeout: Duration,
}

/// The `logging` section.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// The least important level to show.
    pub level: Option<Level>,
    /// How a line is written.
    pub format: Format,
    /// Whether logs go to stderr, which is the default, or to stdout.
    pub stderr: Option<bool>,
}

/// How long the final sync may take unless told otherwise.
pub const SHUTDOWN_SYNC_TIMEOUT: Duration = Duration::from_secs(30);

impl Database {
    /// A database with Litestream's default settings.
    pub fn new(path: PathBuf, replica: Url) -> Database {
        Database {
            path,
            meta: None,
            replica,
            sync_interval: Duration::from_secs(1),
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_pages: 1000,
            busy_timeout: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Reads the file that `-config`, `LITESTREAM_CONFIG` or the default names.
    pub fn load(given: Option<&str>, expand: bool) -> Result<Config> {
        let variable = |name: &str| std::env::var(name).ok();
        let named = given.map(str::to_owned).or_else(|| variable(PATH_VARIABLE));
        let path = places::absolute(named.as_deref().unwrap_or(DEFAULT_PATH))?;
        let text = std::fs::read_to_string(&path).map_err(|error| missing(&path, &error))?;
        Config::parse(&text, expand.then_some(&variable)).map_err(|it| it.in_file(&path))
    }

    /// Reads a configuration; without `lookup`, dollar signs mean nothing.
    fn parse(text: &str, lookup: Option<Lookup<'_>>) -> std::result::Result<Config, Problem> {
        let (marked, environment) = match lookup {
            Some(lookup) => Environment::mark(text, lookup)?,
            None => {
                Environment::mark("", &|_| None).map(|(_, none)| (text.replace('$', "$$"), none))?
            }
        };
        let tree = yaml::parse(&marked)?;
        let root = Section::open(&tree, "", &keys::ROOT, &environment)?;

        let mut databases = Vec::new();
        for (index, node) in root.list("dbs")?.unwrap_or_default().iter().enumerate() {
            let name = format!("dbs[{index}]");
            let section = Section::open(node, name, &keys::DATABASE, &environment)?;
            let database = database(&section, &root, &environment)?;
            apart(&databases, &database, section.line)?;
            databases.push(database);
        }
        if databases.is_empty() {
            return Err(Problem::new(root.line, "no databases are configured").hint(
                "list them: dbs: [{path: /data/app.db, replica: {url: file:///backup/app}}]",
            ));
        }
        Ok(Config {
            databases,
            exec: root.text("exec")?.map(|it| it.text),
            logging: logging(&root, &environment)?,
            shutdown_sync_timeout: root
                .duration("shutdown-sync-timeout")?
                .unwrap_or(SHUTDOWN_SYNC_TIMEOUT),
        })
    }

    /// The entry for a database file.
    pub fn database(&self, path: &Path) -> Option<&Database> {
        self.databases.iter().find(|it| it.path == path)
    }
}

fn missing(path: &Path, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("config file not found: {}", path.display()),
        _ => format!("cannot read the config file {}: {error}", path.display()),
    };
    Failure::new(Exit::Config, message)
        .hint("name it with -config or $LITESTREAM_CONFIG, or pass a replica URL instead")
}

fn database(
    section: &Section<'_>,
    root: &Section<'_>,
    environment: &Environment<'_>,
) -> std::result::Result<Database, Problem> {
    let path = section.place("path")?.ok_or_else(|| {
        Problem::new(section.line, format_args!("{} is missing", section.path("path")))
            .hint("name the database file: path: /data/app.db")
    })?;
    let replica = replica(section, environment)?;
    let mut database = Database::new(absolute(&path)?, replica.url);
    if let Some(meta) = section.place("meta-path")? {
        database.meta = Some(absolute(&meta)?);
    }
    let set = |setting: &mut Duration, value: Option<Duration>| {
        *setting = value.unwrap_or(*setting);
    };
    set(&mut database.sync_interval, root.interval("sync-interval")?);
    set(&mut database.sync_interval, replica.sync_interval);
    set(&mut database.monitor_interval, section.interval("monitor-interval")?);
    set(&mut database.checkpoint_interval, section.duration("checkpoint-interval")?);
    set(&mut database.busy_timeout, section.duration("busy-timeout")?);
    if let Some(pages) = section.count("min-checkpoint-page-count")? {
        database.checkpoint_pages = pages;
    }
    Ok(database)
}

struct Replica {
    url: Url,
    sync_interval: Option<Duration>,
}

fn replica(
    section: &Section<'_>,
    environment: &Environment<'_>,
) -> std::result::Result<Replica, Problem> {
    let (node, name) = match (section.node("replica"), section.list("replicas")?) {
        (Some(_), Some(_)) => {
            let message = format_args!(
                "{} and {} cannot both be set",
                section.path("replica"),
                section.path("replicas")
            );
            return Err(Problem::new(section.line, message).hint("keep replica"));
        }
        (Some(one), None) => (one, section.path("replica")),
        (None, Some([one])) => (one, section.path("replicas[0]")),
        (None, Some([_, second, ..])) => {
            let message = format_args!("{}: a database has one replica", section.path("replicas"));
            return Err(Problem::new(second.line, message).hint("keep one and delete the others"));
        }
        (None, Some([]) | None) => {
            let message = format_args!("{} is missing", section.path("replica"));
            return Err(Problem::new(section.line, message)
                .hint("say where to replicate to: replica: {url: file:///backup/app}"));
        }
    };
    let section = Section::open(node, name, &keys::REPLICA, environment)?;
    Ok(Replica { url: url(&section)?, sync_interval: section.interval("sync-interval")? })
}

fn url(section: &Section<'_>) -> std::result::Result<Url, Problem> {
    if let Some(kind) = section.text("type")?
        && kind.text != "file"
    {
        let Text { line, text } = kind;
        let message = format_args!("{}: {text} is not supported yet", section.path("type"));
        return Err(Problem::new(line, message).hint("this version replicates to files"));
    }
    match (section.place("url")?, section.place("path")?) {
        (Some(url), Some(_)) => {
            let message = format_args!(
                "{} and {} cannot both be set",
                section.path("url"),
                section.path("path")
            );
            Err(Problem::new(url.line, message).hint("keep url"))
        }
        (Some(url), None) if !Url::is_url(&url.text) => {
            let message = format_args!("{}: {:?} is not a URL", section.path("url"), url.text);
            Err(Problem::new(url.line, message)
                .hint("write file:///absolute/path, or use the key path"))
        }
        (Some(url), None) => url.text.parse().map_err(|error| {
            Problem::new(url.line, format_args!("{}: {error}", section.path("url")))
        }),
        (None, Some(path)) if Url::is_url(&path.text) => {
            let message = format_args!("{}: {:?} is a URL", section.path("path"), path.text);
            Err(Problem::new(path.line, message).hint("use the key url"))
        }
        (None, Some(path)) => Ok(Url::File(absolute(&path)?)),
        (None, None) => {
            let message = format_args!("{} is missing", section.path("url"));
            Err(Problem::new(section.line, message)
                .hint("say where to replicate to: url: file:///backup/app"))
        }
    }
}

/// Two databases must not share a file, local state or a replica.
fn apart(others: &[Database], one: &Database, line: usize) -> std::result::Result<(), Problem> {
    let state = |it: &Database| it.meta.clone();
    for other in others {
        let shared = if other.path == one.path {
            format!("the database {}", one.path.display())
        } else if other.replica == one.replica {
            format!("the replica {}", one.replica)
        } else if state(one).is_some() && state(other) == state(one) {
            "the meta-path".to_owned()
        } else {
            continue;
        };
        let message = format_args!("{shared} is already in use by another entry of dbs");
        return Err(Problem::new(line, message).hint("give each database its own"));
    }
    Ok(())
}

fn logging(
    root: &Section<'_>,
    environment: &Environment<'_>,
) -> std::result::Result<Logging, Problem> {
    let Some(node) = root.node("logging") else { return Ok(Logging::default()) };
    let section = Section::open(node, "logging", &keys::LOGGING, environment)?;
    let level = section.text("level")?.map(|Text { line, text }| {
        text.parse::<Level>().map_err(|error| {
            Problem::new(line, format_args!("logging.level: {error}"))
                .hint("levels: trace, debug, info, warn, error")
        })
    });
    let format = section.text("type")?.map(|Text { line, text }| match text.as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "pretty" => Err(Problem::new(line, "logging.type: pretty is not supported yet")
            .hint("types: text, json")),
        _ => Err(Problem::new(line, format_args!("logging.type: {text:?} is not a type"))
            .hint("types: text, json")),
    });
    Ok(Logging {
        level: level.transpose()?,
        format: format.transpose()?.unwrap_or_default(),
        stderr: section.flag("stderr")?,
    })
}

fn absolute(place: &Text) -> std::result::Result<PathBuf, Problem> {
    places::absolute(&place.text).map_err(|error| Problem::new(place.line, error))
}

#[cfg(test)]
mod tests;
