//! `brooklet version`.

use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::Serialize;
use std::env::consts::{ARCH, OS};

/// Print the version, and the version of SQLite inside
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brooklet version -verbose")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print what it is built for, too
    #[arg(long)]
    verbose: bool,
}

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    sqlite: &'static str,
    os: &'static str,
    arch: &'static str,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let (version, sqlite) = (env!("CARGO_PKG_VERSION"), rusqlite::version());
    if args.json {
        output::json(&Versions { version, sqlite, os: OS, arch: ARCH })?;
    } else {
        output::line(format_args!("brooklet {version}\nSQLite {sqlite}"))?;
        if args.verbose {
            output::line(format_args!("{OS}/{ARCH}"))?;
        }
    }
    Ok(Exit::Done)
}
