//! `brooklet replicate`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, Replicator, SyncError};
use storage::{FileStorage, Storage, Url};

use crate::args::ConfigArgs;
use crate::config::{self, Config, Database, Logging};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::go_duration;
use crate::logging::{self, Level, Target};
use crate::places;
use crate::signals::{self, Listener};
use crate::source::replica_url;
use crate::supervise::{self, Child};

/// How often `-once` looks whether it should give up.
const ONCE_LOOK: Duration = Duration::from_millis(500);
/// How long `-once` bears a replica that keeps failing.
const ONCE_PATIENCE: Duration = Duration::from_secs(5);

/// Replicate databases, until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet replicate app.db file:///backup/app
      replicate one database until Ctrl-C or SIGTERM
  brooklet replicate -config litestream.yml
      replicate all databases of a Litestream configuration
  brooklet replicate -exec \"bin/server -port 8080\" app.db file:///backup/app
      run the application too, and end when it ends, with its exit code
  brooklet replicate -once app.db file:///backup/app
      bring the replica up to date and end

The database need not exist yet: it is waited for. At the end everything committed is carried to
the replica first; code 11 says that this did not finish in time.")]
pub struct Args {
    /// The database file
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// Its replica: file:///absolute/path, or a path
    #[arg(value_name = "URL")]
    replicas: Vec<String>,
    /// Run this program, and end when it ends
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Bring the replicas up to date and end
    #[arg(long)]
    once: bool,
    /// trace, debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let job = Job::read(args)?;
    job.start_logging(args.log_level);
    let listener = signals::listen()?;
    let replicator = Replicator::start(job.databases.iter().map(options).collect())?;
    for database in &job.databases {
        let (db, replica) = (database.path.display(), &database.replica);
        tracing::info!(%db, %replica, "starting");
    }
    if job.once {
        return once(replicator, &listener);
    }
    let child = job.exec.as_deref().map(|it| Child::spawn(it, listener.sender.clone())).transpose();
    let ended = match child {
        Ok(child) => supervise::attend(child, &listener.events),
        Err(failure) => Err(failure),
    };
    let synced = finish(replicator, job.shutdown_sync_timeout, &listener);
    Ok(match (ended?.child.map(Exit::of_child), synced) {
        (Some(Exit::Done) | None, Err(_)) => Exit::Unsynced,
        (Some(child), _) => child,
        (None, Ok(())) => Exit::Done,
    })
}

/// Brings all replicas up to date, however long a first copy takes. What keeps failing ends it.
fn once(replicator: Replicator, listener: &Listener) -> Result<Exit> {
    let mut failing_since = None;
    while let Err(error) = replicator.sync(Instant::now() + ONCE_LOOK) {
        let failing = replicator.statuses().iter().any(|it| it.last_error.is_some());
        let since = *failing_since.get_or_insert_with(Instant::now);
        if !failing {
            failing_since = None;
        }
        let hopeless = failing && since.elapsed() >= ONCE_PATIENCE;
        if hopeless || listener.stop.load(Ordering::SeqCst) {
            let _ = replicator.stop(Instant::now(), &AtomicBool::new(true));
            return Err(Failure::new(Exit::Failed, format_args!("not replicated: {error}"))
                .hint("what is missing goes first next time"));
        }
    }
    tracing::info!("all replicas are up to date");
    let _ = replicator.stop(Instant::now(), &AtomicBool::new(true));
    Ok(Exit::Done)
}

/// The final sync, within its time.
fn finish(
    replicator: Replicator,
    budget: Duration,
    listener: &Listener,
) -> std::result::Result<(), SyncError> {
    let within = go_duration::format(budget);
    tracing::info!(within, "stopping: carrying the last commits to the replicas");
    let started = Instant::now();
    let synced = replicator.stop(started + budget, &listener.abort);
    match &synced {
        Ok(()) => {
            let took = crate::output::duration(started.elapsed());
            tracing::info!(took, "final sync complete");
        }
        Err(error) => {
            for (db, why) in &error.unsynced {
                let db = db.display();
                tracing::error!(%db, why, "final sync did not finish; the rest goes first next time");
            }
        }
    }
    synced
}

fn options(database: &Database) -> DatabaseOptions {
    let storage: Arc<dyn Storage> = match &database.replica {
        Url::File(path) => Arc::new(FileStorage::new(path).with_owner_of(&database.path)),
    };
    DatabaseOptions {
        path: database.path.clone(),
        meta: database.meta.clone(),
        storage,
        sync_interval: database.sync_interval,
        monitor_interval: database.monitor_interval,
        checkpoint_interval: database.checkpoint_interval,
        checkpoint_pages: database.checkpoint_pages,
        busy_timeout: database.busy_timeout,
    }
}

/// What is to be done, from the arguments and the configuration.
#[derive(Debug)]
struct Job {
    databases: Vec<Database>,
    exec: Option<String>,
    once: bool,
    logging: Logging,
    shutdown_sync_timeout: Duration,
}

impl Job {
    fn read(args: &Args) -> Result<Job> {
        let job = match &args.database {
            Some(path) => Job::from_arguments(path, args)?,
            None => Job::from_config(args.config.load()?, args),
        };
        if let Some(exec) = &job.exec {
            if job.once {
                return Err(Failure::usage("-once and -exec cannot be used together"));
            }
            supervise::split(exec)?;
        }
        job.check_databases()?;
        Ok(job)
    }

    fn from_arguments(path: &str, args: &Args) -> Result<Job> {
        let example = "brooklet replicate app.db file:///backup/app";
        let [url] = &*args.replicas else {
            return Err(match args.replicas.is_empty() {
                true => Failure::usage(format_args!("the replica URL for {path} is missing")),
                false => Failure::usage("a database has one replica, and several were given"),
            }
            .hint(format_args!("as in: {example}")));
        };
        args.config.unused_with_url()?;
        if Url::is_url(path) && !path.starts_with("sqlite") {
            return Err(Failure::usage(format_args!(
                "the database comes first, and {path} is a URL"
            ))
            .hint(format_args!("as in: {example}")));
        }
        Ok(Job {
            databases: vec![Database::new(places::absolute(path)?, replica_url(url)?)],
            exec: args.exec.clone(),
            once: args.once,
            logging: Logging::default(),
            shutdown_sync_timeout: config::SHUTDOWN_SYNC_TIMEOUT,
        })
    }

    fn from_config(config: Config, args: &Args) -> Job {
        Job {
            databases: config.databases,
            exec: args.exec.clone().or(config.exec),
            once: args.once,
            logging: config.logging,
            shutdown_sync_timeout: config.shutdown_sync_timeout,
        }
    }

    fn check_databases(&self) -> Result<()> {
        let paths = || self.databases.iter().map(|it| &it.path);
        let at = |path: &PathBuf| path.display().to_string();
        if let Some(directory) = paths().find(|it| it.is_dir()) {
            return Err(Failure::usage(format_args!("{} is a directory", at(directory)))
                .hint("name the database file"));
        }
        if let Some(missing) = paths().find(|it| self.once && !it.exists()) {
            return Err(Failure::new(Exit::Failed, format_args!("no database at {}", at(missing)))
                .hint("with -once it is not waited for"));
        }
        Ok(())
    }

    fn start_logging(&self, given: Option<Level>) {
        let level = given.or_else(logging::level_from_environment).or(self.logging.level);
        let target =
            if self.logging.stderr == Some(false) { Target::Stdout } else { Target::Stderr };
        logging::start(level.unwrap_or(Level::Info), self.logging.format, target);
    }
}
