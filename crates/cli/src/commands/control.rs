//! `brooklet start`, `stop`, `sync`, `register` and `unregister`: what a running daemon is told to do.

use crate::call::SocketArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;
use crate::places;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Instant;

/// Which database, and how long it may take
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The database file
    #[arg(value_name = "DB")]
    database: String,
    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Go on replicating a database that was stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brooklet start /data/app.db")]
pub struct StartArgs {
    #[command(flatten)]
    common: Common,
}

/// Stop replicating a database, after a last sync
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet stop /data/app.db
  brooklet stop -timeout 120 /data/app.db

While it is stopped, the application's own checkpoints are free to take what was not captured:
start then compares the whole database. Nothing is lost, but states in between are.")]
pub struct StopArgs {
    #[command(flatten)]
    common: Common,
}

/// Have everything captured that is committed now, and with -wait wait for the replicas
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet sync /data/app.db
  brooklet sync -wait -timeout 120 /data/app.db

With -wait it ends well only when everything committed before the call is in all replicas. Nothing
is uploaded again that is there already.")]
pub struct SyncArgs {
    #[command(flatten)]
    common: Common,
    /// Wait until the replicas have it
    #[arg(long)]
    wait: bool,
}

/// Have a running daemon replicate one more database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet register -replica file:///backup/app /data/app.db

It is replicated until it is unregistered or the daemon ends: what is to last belongs into the
configuration, which the daemon reads again on SIGHUP.")]
pub struct RegisterArgs {
    #[command(flatten)]
    common: Common,
    /// Where to replicate it to
    #[arg(long, value_name = "URL")]
    replica: String,
}

/// Have a running daemon replicate a database no more, after a last sync
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet unregister /data/app.db
  brooklet unregister -dry-run /data/app.db

Its replica stays. A database of the configuration comes back with the next start or SIGHUP.")]
pub struct UnregisterArgs {
    #[command(flatten)]
    common: Common,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_url: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    wait: bool,
    timeout: u64,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    path: String,
    #[serde(default)]
    txid: u64,
    #[serde(default)]
    replicated_txid: u64,
}

/// What is printed: only what is known of a command.
#[derive(Default, Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    db_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_txid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_txid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<&'a str>,
}

impl Common {
    fn path(&self) -> Result<String> {
        Ok(places::absolute(&self.database)?.display().to_string())
    }

    /// Where a time is needed, none is no time.
    fn needs_time(&self) -> Result<()> {
        match self.timeout {
            0 => Err(Failure::usage("-timeout must be greater than 0")),
            _ => Ok(()),
        }
    }

    fn ask(&self, what: &str, replica_url: Option<&str>, wait: bool) -> Result<Answer> {
        let path = self.path()?;
        let request = Request { path: &path, replica_url, wait, timeout: self.timeout };
        // Without a time, the daemon has its own.
        let patience = if self.timeout == 0 { 3600 } else { self.timeout };
        self.socket.daemon().post(what, &request, patience)
    }

    fn tell(&self, told: &Told<'_>) -> Result<Exit> {
        if self.socket.json {
            output::json(told)?;
            return Ok(Exit::Done);
        }
        let mut text = String::new();
        told.write(&mut text);
        output::line(text.trim_end())?;
        Ok(Exit::Done)
    }
}

impl Told<'_> {
    fn write(&self, text: &mut String) {
        let mut line = |name: &str, value: Option<&dyn std::fmt::Display>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name}: {value}");
            }
        };
        line("status", self.status.as_ref().map(|it| it as _));
        line("db_path", Some(&self.db_path));
        line("state", self.state.as_ref().map(|it| it as _));
        line("replica", self.replica.as_ref().map(|it| it as _));
        line("txid", self.txid.as_ref().map(|it| it as _));
        line("replica_txid", self.replica_txid.as_ref().map(|it| it as _));
        line("final_txid", self.final_txid.as_ref().map(|it| it as _));
        line("duration_ms", self.duration_ms.as_ref().map(|it| it as _));
        line("socket", self.socket.as_ref().map(|it| it as _));
    }
}

/// Runs `start`.
pub fn start(args: &StartArgs) -> Result<Exit> {
    switch(&args.common, "start", "running")
}

/// Runs `stop`.
pub fn stop(args: &StopArgs) -> Result<Exit> {
    switch(&args.common, "stop", "stopped")
}

fn switch(common: &Common, what: &str, state: &str) -> Result<Exit> {
    let answer = common.ask(what, None, false)?;
    common.tell(&Told {
        status: Some(answer.status),
        db_path: answer.path,
        state: Some(state),
        txid: Some(answer.txid),
        socket: Some(&common.socket.socket),
        ..Told::default()
    })
}

/// Runs `sync`.
pub fn sync(args: &SyncArgs) -> Result<Exit> {
    args.common.needs_time()?;
    let began = Instant::now();
    let answer = args.common.ask("sync", None, args.wait)?;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    args.common.tell(&Told {
        db_path: answer.path,
        txid: Some(answer.txid),
        replica_txid: args.wait.then_some(answer.replicated_txid),
        duration_ms: Some(took),
        ..Told::default()
    })
}

/// Runs `register`.
pub fn register(args: &RegisterArgs) -> Result<Exit> {
    args.common.needs_time()?;
    let answer = args.common.ask("register", Some(&args.replica), false)?;
    let status = match (answer.status.as_str(), args.common.socket.json) {
        ("already_registered", false) => "already registered".to_owned(),
        _ => answer.status,
    };
    args.common.tell(&Told {
        status: Some(status),
        db_path: answer.path,
        replica: Some(&args.replica),
        socket: Some(&args.common.socket.socket),
        ..Told::default()
    })
}

/// Runs `unregister`.
pub fn unregister(args: &UnregisterArgs) -> Result<Exit> {
    args.common.needs_time()?;
    if args.dry_run {
        let (socket, timeout) = (&args.common.socket.socket, args.common.timeout);
        output::line(format_args!(
            "Dry run: unregister request preview\n  database: {}\n  socket: {socket}\n  \
             replicas: they stay as they are\n  \
             final sync: the daemon carries the last commits to them first\n  \
             timeout: {timeout}s\nNo unregister request was sent.",
            args.common.path()?
        ))?;
        return Ok(Exit::Done);
    }
    let answer = args.common.ask("unregister", None, false)?;
    args.common.tell(&Told {
        status: Some(answer.status),
        db_path: answer.path,
        final_txid: Some(answer.txid),
        socket: Some(&args.common.socket.socket),
        ..Told::default()
    })
}
