//! `brooklet restore`.

mod bar;
mod report;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use engine::restore::{self, ErrorKind, IntegrityCheck, Progress, Request, Target};
use jiff::Zoned;
use ltx::{Timestamp, Txid};

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::signals;
use crate::source::Source;
use crate::{places, when};
use bar::{Bar, Silent};
use report::{Report, Skipped};

/// Restore a database from its replica
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet restore -o app.db file:///backup/app
      the newest state
  brooklet restore -o app.db -timestamp \"5 minutes ago\" file:///backup/app
      the state at a moment; also 2026-11-22T10:00:00Z, \"2026-11-22 10:00\", \"yesterday 18:30\"
  brooklet restore -o app.db -txid 000000000000002a file:///backup/app
      the state after a transaction; brooklet ltx lists them
  brooklet restore -config litestream.yml -if-db-not-exists -if-replica-exists /data/app.db
      for a start script: does nothing where there is nothing to do
  brooklet restore -dry-run -o app.db file:///backup/app
      which files it would read

The database appears under its name only when it is whole and checked. After any error there is
no new file, and an old one is untouched.")]
pub struct Args {
    /// A database of the configuration file, or a replica's URL (then with -o)
    #[arg(value_name = "DB|URL")]
    source: String,
    /// Where to [default: the path in the configuration]
    #[arg(long, short = 'o', value_name = "PATH")]
    output: Option<String>,
    /// The state after this transaction: 16 hex digits
    #[arg(long, value_name = "TXID")]
    txid: Option<String>,
    /// The last state at or before this moment
    #[arg(long, value_name = "WHEN")]
    timestamp: Option<String>,
    /// Do nothing, successfully, if the database is there already
    #[arg(long)]
    if_db_not_exists: bool,
    /// Do nothing, successfully, if there is no backup
    #[arg(long)]
    if_replica_exists: bool,
    /// Replace an existing database, once the new one is whole and checked
    #[arg(long)]
    force: bool,
    /// What SQLite checks before the database gets its name
    #[arg(long, value_name = "CHECK", default_value = "none")]
    integrity_check: Check,
    /// Worker threads [default: the number of cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    parallelism: Option<u16>,
    /// Print which files would be read, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Accepted for old scripts
    #[arg(long, hide = true)]
    v: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Check {
    None,
    Quick,
    Full,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let target = target(args)?;
    let source = Source::find(&args.source, &args.config)?;
    let output = output(args, &source)?;
    let report =
        Report { output: &output, source: &args.source, url: &source.url, json: args.json };
    if args.dry_run {
        return dry_run(args, &source, target, &report);
    }
    let existing = std::fs::metadata(&output).ok().filter(|_| args.if_db_not_exists);
    if existing.as_ref().is_some_and(|file| file.len() > 0) {
        report.skipped(Skipped::DatabaseExists)?;
        return Ok(Exit::Done);
    }

    let request = request(args, &source, target, &output);
    let progress = progress(args)?;
    let started = Instant::now();
    let restored = restore::run(&request, &*progress);
    drop(progress);
    match restored {
        Ok(outcome) => report.restored(&outcome, started.elapsed())?,
        Err(error) if error.kind() == ErrorKind::NoBackup && args.if_replica_exists => {
            report.skipped(Skipped::NoBackup)?;
        }
        // An empty file counts as a database where there is nothing better.
        Err(error) if error.kind() == ErrorKind::NoBackup && existing.is_some() => {
            report.skipped(Skipped::DatabaseExists)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

fn dry_run(args: &Args, source: &Source, target: Target, report: &Report<'_>) -> Result<Exit> {
    match restore::find_plan(&*source.url.storage(), target) {
        Ok(plan) => report.plan(&plan)?,
        Err(error) if error.kind() == ErrorKind::NoBackup && args.if_replica_exists => {
            report.skipped(Skipped::NoBackup)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

fn request(args: &Args, source: &Source, target: Target, output: &Path) -> Request {
    let mut request = Request::new(source.url.storage(), output);
    request.target = target;
    request.force = args.force;
    request.integrity = match args.integrity_check {
        Check::None => IntegrityCheck::None,
        Check::Quick => IntegrityCheck::Quick,
        Check::Full => IntegrityCheck::Full,
    };
    if let Some(workers) = args.parallelism {
        request.parallelism = workers.into();
    }
    request
}

/// A bar for somebody who watches; in any case, signals are heard.
fn progress(args: &Args) -> Result<Box<dyn Progress>> {
    let stop = signals::listen()?.stop;
    Ok(match std::io::stderr().is_terminal() && !args.json {
        true => Box::new(Bar::new(stop)),
        false => Box::new(Silent { stop }),
    })
}

fn target(args: &Args) -> Result<Target> {
    match (&args.txid, &args.timestamp) {
        (Some(_), Some(_)) => Err(Failure::usage("-txid and -timestamp cannot be used together")),
        (Some(text), None) => match text.to_ascii_lowercase().parse::<Txid>() {
            Ok(txid) => Ok(Target::Txid(txid)),
            Err(_) => Err(Failure::usage(format_args!("-txid: {text:?} is not a transaction"))
                .hint("16 hex digits, such as 000000000000002a; brooklet ltx lists them")),
        },
        (None, Some(text)) => {
            let now = Zoned::now();
            let moment = when::parse(text, &now)?;
            if moment > now.timestamp() {
                tracing::warn!(%moment, "this moment is still to come: the newest state is restored");
            }
            Ok(Target::Timestamp(Timestamp::from_system_time(moment.into())))
        }
        (None, None) => Ok(Target::Latest),
    }
}

fn output(args: &Args, source: &Source) -> Result<PathBuf> {
    match (&args.output, &source.database) {
        (Some(path), _) => Ok(places::absolute(path)?),
        (None, Some(database)) => Ok(database.clone()),
        (None, None) => Err(Failure::usage("a replica URL needs -o: where to restore to")
            .hint(format_args!("as in: brooklet restore -o app.db {}", args.source))),
    }
}
