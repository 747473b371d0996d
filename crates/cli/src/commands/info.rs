//! `brooklet info`.

use crate::call::SocketArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Ask a running daemon what it is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet info
  brooklet info -socket /run/brooklet.sock -json")]
pub struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

#[derive(Serialize, Deserialize)]
struct Info {
    version: String,
    pid: u64,
    uptime_seconds: u64,
    started_at: String,
    database_count: u64,
    /// Litestream does not say what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let info: Info = args.socket.daemon().get("info", "/info", args.timeout)?;
    if args.socket.json {
        output::json(&info)?;
        return Ok(Exit::Done);
    }
    let program = info.program.as_deref().unwrap_or("Litestream");
    let uptime = crate::go_duration::format(Duration::from_secs(info.uptime_seconds));
    output::line(format_args!(
        "{program} {}\n  PID:        {}\n  Uptime:     {uptime}\n  Started at: {}\n  Databases:  {}",
        info.version,
        info.pid,
        output::seconds(&info.started_at),
        info.database_count
    ))?;
    Ok(Exit::Done)
}
