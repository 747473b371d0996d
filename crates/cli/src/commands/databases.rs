//! `brooklet databases`.

use crate::args::ConfigArgs;
use crate::connect::Replica;
use crate::daemon::claims;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::Serialize;
use std::path::Path;

/// List the databases of the configuration file, which is checked on the way
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet databases -config litestream.yml

It is also the way to check the file: an unknown key, a missing variable or a bad value ends it
with code 3. Of a directory, the databases that are in it now are listed.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    path: String,
    replica: &'static str,
    url: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let config = args.config.load()?;
    let row = |path: &Path, replica: &Replica| Row {
        path: path.display().to_string(),
        replica: replica.url.kind(),
        url: replica.to_string(),
    };
    let databases = config.all_databases()?;
    claims::check(&databases)?;
    let rows = databases
        .iter()
        .flat_map(|database| database.replicas.iter().map(|it| row(&database.path, it)));
    if args.json {
        output::json(&rows.collect::<Vec<_>>())?;
    } else {
        let cells = rows.map(|row| vec![row.path, row.replica.to_owned(), row.url]);
        output::table(&["path", "replica", "url"], cells)?;
    }
    Ok(Exit::Done)
}
