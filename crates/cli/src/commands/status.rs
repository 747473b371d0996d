//! `brooklet status`.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::args::ConfigArgs;
use crate::config::Database;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, places};

/// Where databases stand on this machine, whether or not anything runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet status -config litestream.yml
      each database of the configuration
  brooklet status -config litestream.yml /data/app.db
      one of them

Nothing is asked of a replica or of a daemon: brooklet health and brooklet check do that.")]
pub struct Args {
    /// One database of the configuration [default: all]
    #[arg(value_name = "DB")]
    database: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Litestream's fields, and its words in them.
#[derive(Serialize)]
struct Row {
    database: String,
    status: &'static str,
    local_txid: String,
    wal_size: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let mut databases = args.config.load()?.all_databases()?;
    if let Some(wanted) = &args.database {
        let wanted = places::absolute(wanted)?;
        databases.retain(|it| it.path == wanted);
        if databases.is_empty() {
            let message = format_args!("{} is not in the configuration", wanted.display());
            return Err(Failure::new(Exit::Config, message).hint("brooklet databases lists them"));
        }
    }
    let rows = databases.iter().map(Row::of);
    if args.json {
        output::json(&rows.collect::<Vec<_>>())?;
    } else {
        let cells =
            rows.map(|it| vec![it.database, it.status.to_owned(), it.local_txid, it.wal_size]);
        output::table(&["database", "status", "local txid", "wal size"], cells)?;
    }
    Ok(Exit::Done)
}

impl Row {
    fn of(database: &Database) -> Row {
        let Database { path, meta, .. } = database;
        let known = engine::local::position(path, meta.as_deref());
        let status = match &known {
            _ if !path.exists() => "no database",
            Err(_) => "error",
            Ok(None) => "not initialized",
            Ok(Some(_)) => "ok",
        };
        let unknown = || "-".to_owned();
        let txid = known.ok().flatten().filter(|_| path.exists());
        Row {
            database: path.display().to_string(),
            status,
            local_txid: txid.map_or_else(unknown, |txid| txid.to_string()),
            wal_size: wal_bytes(path).map_or_else(unknown, size),
        }
    }
}

fn wal_bytes(path: &Path) -> Option<u64> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    fs::metadata(wal).ok().map(|file| file.len())
}

/// As Litestream writes it: two digits, or a whole number.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit if value < 9.95 => format!("{value:.1} {unit}"),
        unit => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_litestream_writes_them() {
        let written = [0, 999, 8_272, 37_112, 999_600, 12_345_678].map(size);
        assert_eq!(written, ["0 B", "999 B", "8.3 kB", "37 kB", "1.0 MB", "12 MB"]);
    }
}
