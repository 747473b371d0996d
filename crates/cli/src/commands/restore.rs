//! `brooklet restore`.

mod bar;
mod follow;
mod report;
mod watched;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use engine::restore::v3::Identities;
use engine::restore::{
    self, ErrorKind, Follower, IntegrityCheck, Moments, Progress, Request, Target,
};
use jiff::Zoned;
use ltx::{Timestamp, Txid};

use crate::args::ConfigArgs;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::http::Address;
use crate::signals;
use crate::source::Source;
use crate::{go_duration, places, when};
use bar::Bar;
pub use bar::Silent;
use report::{Report, Skipped};
use watched::Watched;

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
  brooklet restore -follow -o copy.db file:///backup/app
      keep a copy for readers up to date until stopped; brooklet promote makes it writable
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
    /// Keep the database up to date, as a copy to read from, until stopped
    #[arg(long, short = 'f')]
    follow: bool,
    /// How often -follow looks at the replica
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    follow_interval: Duration,
    /// With -follow: serve metrics and health there, such as :9090
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// A file with age identities, for encrypted backups of Litestream 0.3
    #[arg(long, value_name = "PATH")]
    identity: Option<String>,
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

impl Args {
    /// Whether it runs until it is stopped.
    pub fn follows(&self) -> bool {
        self.follow
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let target = target(args)?;
    let source = Source::find(&args.source, &args.config)?;
    let output = output(args, &source)?;
    let requests = requests(args, &source, target, &output)?;
    let report = |index: usize| {
        let (source, url) = (&*args.source, &source.replicas[index].url);
        Report { output: &output, source, url, json: args.json }
    };
    if args.dry_run {
        return dry_run(args, &requests, &report);
    }
    if args.follow {
        return follow(args, requests, &report);
    }
    let existing = std::fs::metadata(&output).ok().filter(|_| args.if_db_not_exists);
    if existing.as_ref().is_some_and(|file| file.len() > 0) {
        report(0).skipped(Skipped::DatabaseExists)?;
        return Ok(Exit::Done);
    }

    let progress = progress(args, signals::listen()?.stop);
    let started = Instant::now();
    let restored = restore::run_any(&requests, &*progress);
    drop(progress);
    match restored {
        Ok((index, outcome)) => report(index).restored(&outcome, started.elapsed())?,
        Err(error) if error.kind() == ErrorKind::NoBackup && args.if_replica_exists => {
            report(0).skipped(Skipped::NoBackup)?;
        }
        // An empty file counts as a database where there is nothing better.
        Err(error) if error.kind() == ErrorKind::NoBackup && existing.is_some() => {
            report(0).skipped(Skipped::DatabaseExists)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

/// Makes a copy, or goes on with the one that is there, and keeps it up to date.
fn follow<'a>(
    args: &Args,
    requests: Vec<Request>,
    report: &dyn Fn(usize) -> Report<'a>,
) -> Result<Exit> {
    let listener = signals::listen()?;
    let path = requests[0].output.clone();
    let watched = match &args.addr {
        Some(address) => Some(Watched::serve(path.clone(), Address::listen("addr", address)?)?),
        None => None,
    };
    let started = Instant::now();
    let progress = progress(args, listener.stop.clone());
    let opened = Follower::open(requests, &*progress);
    drop(progress);
    let follower = match opened {
        Ok((follower, outcome)) => {
            if let Some((index, outcome)) = outcome {
                report(index).restored(&outcome, started.elapsed())?;
            }
            follower
        }
        Err(error) if error.kind() == ErrorKind::NoBackup && args.if_replica_exists => {
            report(0).skipped(Skipped::NoBackup)?;
            return Ok(Exit::Done);
        }
        Err(error) => return Err(error.into()),
    };
    let (interval, json) = (args.follow_interval, args.json);
    follow::Follow { path: &path, interval, json, listener: &listener, watched }.run(follower)
}

fn dry_run<'a>(
    args: &Args,
    requests: &[Request],
    report: &dyn Fn(usize) -> Report<'a>,
) -> Result<Exit> {
    match restore::find_plan_any(requests) {
        Ok((index, plan)) => {
            let moments = Moments::read(&*requests[index].storage)?;
            report(index).plan(&plan, &moments)?;
        }
        Err(error) if error.kind() == ErrorKind::NoBackup && args.if_replica_exists => {
            report(0).skipped(Skipped::NoBackup)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

/// One request for each replica: the first that can give the database does.
fn requests(args: &Args, source: &Source, target: Target, output: &Path) -> Result<Vec<Request>> {
    let identities = all_identities(args, source)?;
    let request = |replica: &Replica| -> Result<Request> {
        let mut request = Request::new(replica.open()?, output);
        request.target = target;
        request.force = args.force;
        request.identities = identities.clone();
        request.integrity = match args.integrity_check {
            Check::None => IntegrityCheck::None,
            Check::Quick => IntegrityCheck::Quick,
            Check::Full => IntegrityCheck::Full,
        };
        if let Some(workers) = args.parallelism {
            request.parallelism = workers.into();
        }
        Ok(request)
    };
    source.replicas.iter().map(request).collect()
}

fn all_identities(args: &Args, source: &Source) -> Result<Identities> {
    let known = source.database.iter().flat_map(|it| &it.identities);
    let mut texts: Vec<_> = known.map(|it| it.reveal().to_owned()).collect();
    if let Some(path) = &args.identity {
        let path = places::absolute(path)?;
        let unreadable = |error| {
            Failure::new(Exit::Denied, format_args!("identity file {}: {error}", path.display()))
        };
        texts.push(std::fs::read_to_string(&path).map_err(unreadable)?);
    }
    identities(texts.iter().map(String::as_str))
}

/// Reads age identities.
pub fn identities<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Identities> {
    let parsed = Identities::parse(&texts.collect::<Vec<_>>().join("\n"));
    parsed.map_err(|error| {
        Failure::new(Exit::Config, format_args!("age identity: {error}"))
            .hint("an identity is a line that begins with AGE-SECRET-KEY-1")
    })
}

/// A bar for somebody who watches; in any case, signals are heard.
fn progress(args: &Args, stop: Arc<AtomicBool>) -> Box<dyn Progress> {
    match std::io::stderr().is_terminal() && !args.json {
        true => Box::new(Bar::new(stop)),
        false => Box::new(Silent { stop }),
    }
}

/// Nothing at all stands for the default, as in Litestream.
fn interval(text: &str) -> std::result::Result<Duration, go_duration::Error> {
    let interval = go_duration::parse(text)?;
    Ok(if interval.is_zero() { Duration::from_secs(1) } else { interval })
}

fn target(args: &Args) -> Result<Target> {
    if args.follow && (args.txid.is_some() || args.timestamp.is_some() || args.dry_run) {
        return Err(Failure::usage(
            "-follow goes to the newest state: -txid, -timestamp and -dry-run cannot be used with it",
        ));
    }
    if args.addr.is_some() && !args.follow {
        return Err(
            Failure::usage("-addr needs -follow").hint("what ends by itself is not watched")
        );
    }
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
        (None, Some(database)) => Ok(database.path.clone()),
        (None, None) => Err(Failure::usage("a replica URL needs -o: where to restore to")
            .hint(format_args!("as in: brooklet restore -o app.db {}", args.source))),
    }
}
