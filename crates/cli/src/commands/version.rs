//! `brooklet version`.

use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::Serialize;

/// Print the version, and the version of SQLite inside
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brooklet version")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    sqlite: &'static str,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let (version, sqlite) = (env!("CARGO_PKG_VERSION"), rusqlite::version());
    if args.json {
        output::json(&Versions { version, sqlite })?;
    } else {
        output::line(format_args!("brooklet {version}\nSQLite {sqlite}"))?;
    }
    Ok(Exit::Done)
}
