//! `brooklet list`.

use crate::call::SocketArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::{Deserialize, Serialize};

/// List the databases of a running daemon
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet list
  brooklet list -json

A database is replicating, open (it is waited for, or fails), or stopped. More is told by
brooklet health and by /status at the daemon's addr.")]
pub struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

#[derive(Serialize, Deserialize)]
struct List {
    databases: Vec<Database>,
}

#[derive(Serialize, Deserialize)]
struct Database {
    path: String,
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_sync_at: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let list: List = args.socket.daemon().get("list", "/list", args.timeout)?;
    if args.socket.json {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    if list.databases.is_empty() {
        output::line("No databases configured")?;
    }
    for Database { path, status, last_sync_at } in list.databases {
        let synced = last_sync_at.map_or_else(|| "never".to_owned(), |at| output::seconds(&at));
        output::line(format_args!("{path} [{status}] (last sync: {synced})"))?;
    }
    Ok(Exit::Done)
}
