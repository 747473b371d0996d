//! `brooklet databases`.

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::Serialize;

/// List the databases of the configuration file, which is checked on the way
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet databases -config litestream.yml

It reads only the file, so it is also the way to check one: an unknown key, a missing variable
or a bad value ends it with code 3.")]
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
    let rows = config.databases.iter().map(|database| Row {
        path: database.path.display().to_string(),
        replica: match database.replica {
            storage::Url::File(_) => "file",
        },
        url: database.replica.to_string(),
    });
    if args.json {
        output::json(&rows.collect::<Vec<_>>())?;
    } else {
        let cells = rows.map(|row| vec![row.path, row.replica.to_owned(), row.url]);
        output::table(&["path", "replica", "url"], cells)?;
    }
    Ok(Exit::Done)
}
