//! `brooklet ltx`.

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use crate::source::Source;
use ltx::{Level, Txid};
use serde::Serialize;
use std::str::FromStr;
use storage::Object;

/// List the files of a replica
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet ltx file:///backup/app               what came in last, file by file
  brooklet ltx -level all file:///backup/app    with the compacted levels and the snapshots
  brooklet ltx -config litestream.yml /data/app.db

Each file takes the database from the state before min_txid to the one after max_txid.")]
pub struct Args {
    /// A database of the configuration file, or a replica's URL
    #[arg(value_name = "DB|URL")]
    source: String,
    /// 0 to 9 (9 holds the snapshots), or all
    #[arg(long, value_name = "LEVEL", default_value = "0")]
    level: Levels,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone)]
struct Levels(Vec<Level>);

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Levels, String> {
        if text == "all" {
            return Ok(Levels(Level::all().collect()));
        }
        let level = text.parse().ok().and_then(Level::new).ok_or("0 to 9, or all")?;
        Ok(Levels(vec![level]))
    }
}

#[derive(Serialize)]
struct Row {
    level: u8,
    min_txid: String,
    max_txid: String,
    size: u64,
    timestamp: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let source = Source::find(&args.source, &args.config)?;
    let mut rows = Vec::new();
    for replica in &source.replicas {
        let storage = replica.open()?;
        for level in &args.level.0 {
            rows.extend(storage.list(*level, Txid::FIRST)?.iter().map(Row::of));
        }
        for name in storage.unknown()? {
            tracing::warn!(name, "not a file of a replica: skipped");
        }
    }
    if args.json {
        output::json(&rows)?;
    } else {
        let header = ["level", "min_txid", "max_txid", "size", "created"];
        output::table(&header, rows.into_iter().map(Row::cells))?;
    }
    Ok(Exit::Done)
}

impl Row {
    fn of(object: &Object) -> Row {
        Row {
            level: object.level.get(),
            min_txid: object.txids.min.to_string(),
            max_txid: object.txids.max.to_string(),
            size: object.size,
            timestamp: output::moment(object.created),
        }
    }

    fn cells(self) -> Vec<String> {
        let Row { level, min_txid, max_txid, size, timestamp } = self;
        vec![level.to_string(), min_txid, max_txid, size.to_string(), timestamp]
    }
}
