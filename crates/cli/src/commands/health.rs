//! `brooklet health`.

use crate::call::{Daemon, SocketArgs};
use crate::daemon::health::LAG;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{go_duration, output};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Say whether all that is committed is in the replicas: code 0, or 10 if it is not
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet health
  brooklet health -max-lag 1m -max-verify-age 26h
  brooklet health -addr :9090

Made for probes and monitors: it asks the running daemon, and prints a line for each problem. A
daemon that does not answer is a problem, too.")]
pub struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// Ask at the daemon's addr instead of its socket
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// How long to wait for the daemon, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// How old the oldest commit may be that is not in a replica [default: 30s, and its
    /// sync-interval]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_lag: Option<Duration>,
    /// How long ago a replica may have been proven to be restorable
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_verify_age: Option<Duration>,
    /// How old the newest snapshot may be
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_snapshot_age: Option<Duration>,
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    go_duration::parse(text).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
    problems: Vec<String>,
}

/// What we need of the daemon's page.
#[derive(Deserialize)]
struct Status {
    problems: Vec<String>,
}

/// The same from Litestream.
#[derive(Deserialize)]
struct List {
    databases: Vec<Database>,
}

#[derive(Deserialize)]
struct Database {
    path: String,
    status: String,
    #[serde(default)]
    last_sync_at: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let problems = match problems(args) {
        Ok(problems) => problems,
        Err(failure) if failure.exit == Exit::Failed => vec![failure.message],
        Err(failure) => return Err(failure),
    };
    let health = Health { healthy: problems.is_empty(), problems };
    if args.socket.json {
        output::json(&health)?;
    } else if health.healthy {
        output::line("healthy")?;
    } else {
        health.problems.iter().try_for_each(output::line)?;
    }
    Ok(if health.healthy { Exit::Done } else { Exit::Unhealthy })
}

fn problems(args: &Args) -> Result<Vec<String>> {
    let daemon = match &args.addr {
        None => args.socket.daemon(),
        Some(address) => {
            let bare = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
            Daemon::Address(bare.to_owned())
        }
    };
    let bearable = [
        ("max-lag", args.max_lag),
        ("max-verify-age", args.max_verify_age),
        ("max-snapshot-age", args.max_snapshot_age),
    ];
    let mut page = "/status?".to_owned();
    for (name, age) in bearable.into_iter().filter_map(|(name, age)| Some((name, age?))) {
        page = format!("{page}{name}={}&", go_duration::format(age));
    }
    let answer = daemon.ask("GET", &page, &[], args.timeout)?;
    if answer.status == 404 {
        return of_litestream(args, &daemon);
    }
    Ok(answer.read::<Status>("health")?.problems)
}

/// Litestream tells only when each database was synced last, which happens all the time.
fn of_litestream(args: &Args, daemon: &Daemon) -> Result<Vec<String>> {
    if args.max_verify_age.is_some() || args.max_snapshot_age.is_some() {
        return Err(Failure::usage("this daemon tells nothing of verifications and snapshots")
            .hint("it is Litestream, or an old brooklet: leave out -max-verify-age and -max-snapshot-age"));
    }
    let list: List = daemon.get("list", "/list", args.timeout)?;
    let now = jiff::Timestamp::now();
    let problem = |it: Database| {
        let synced = it.last_sync_at.as_deref().and_then(|at| at.parse().ok());
        let age = synced.map(|at: jiff::Timestamp| now.duration_since(at).unsigned_abs());
        match age {
            _ if it.status == "stopped" => Some(format!("{}: stopped", it.path)),
            None => Some(format!("{}: not synced yet", it.path)),
            Some(age) if age > args.max_lag.unwrap_or(LAG) => {
                Some(format!("{}: synced {}s ago", it.path, age.as_secs()))
            }
            Some(_) => None,
        }
    };
    Ok(list.databases.into_iter().filter_map(problem).collect())
}
