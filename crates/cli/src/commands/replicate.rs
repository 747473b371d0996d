//! `brooklet replicate`.

mod folders;
mod missing;
mod once;
mod reloader;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::{Backlog, DatabaseOptions, Replicator, SyncError, Unsynced};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use storage::{Limits, Storage, Url};

use crate::args::ConfigArgs;
use crate::config::directory::Directory;
use crate::config::{self, Config, Database, Defaults, Heartbeat, Logging, Mcp, Socket};
use crate::connect::Replica;
use crate::daemon::claims::{self, Taken};
use crate::daemon::dump;
use crate::daemon::fleet::{self, Fleet, Origin};
use crate::daemon::leases::Leases;
use crate::daemon::notify::Notify;
use crate::daemon::socket::Bound;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::go_duration;
use crate::http::{self, Address, Doors};
use crate::logging::{self, Level, Style, Target};
use crate::places;
use crate::signals::{self, Event, Listener};
use crate::source::replica;
use crate::supervise::{self, Child, Ended};
use reloader::Reloader;

/// How often the final sync tells what is left to do.
const TELL: Duration = Duration::from_secs(3);

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
  brooklet replicate -restore-if-db-not-exists app.db file:///backup/app
      restore the database first if it is missing, as on a new machine

The database need not exist yet: it is waited for. At the end everything committed is carried to
the replica first; code 11 says that this did not finish in time.")]
pub struct Args {
    /// The database file
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// Its replicas: file:///absolute/path, or a path
    #[arg(value_name = "URL")]
    replicas: Vec<String>,
    /// Run this program, and end when it ends
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Bring the replicas up to date and end
    #[arg(long)]
    once: bool,
    /// With -once: see to it that the newest state is a snapshot, too
    #[arg(long)]
    force_snapshot: bool,
    /// With -once: delete what the retention of snapshots does not keep
    #[arg(long)]
    enforce_retention: bool,
    /// Restore databases that are missing before it begins
    #[arg(long)]
    restore_if_db_not_exists: bool,
    /// trace, debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let mut job = Job::read(args)?;
    job.start_logging(args.log_level);
    let listener = signals::listen_as_daemon()?;
    allow_many_files();
    let more = !job.directories.is_empty() || job.settings.socket.enabled && job.exec.is_none();
    let leases = Leases::new(&job.databases, more, listener.sender.clone());
    let opened =
        |database: &Database, index: usize| database.replicas[index].open_for(&database.path);
    let held = leases.acquire(&job.databases, opened, &listener.stop)?;
    job.restore_missing(&listener)?;
    // Before there are threads that make files.
    let mut doors = job.doors()?;
    let open = opener(&job.limits, &leases);
    let fleet =
        Fleet::start(job.origins(), job.defaults.clone(), open, Arc::clone(&listener.stop))?;
    let fleet = Arc::new(fleet);
    drop(held);
    for database in &job.databases {
        for replica in &database.replicas {
            tracing::info!(db = %database.path.display(), %replica, "starting");
        }
    }
    if job.once {
        let done = once::run(&job, fleet.replicator(), &listener);
        leases.release();
        return done;
    }
    doors.heartbeat = job.settings.heartbeat.take();
    let _place = doors.open(&fleet)?;
    let notify = Arc::new(Notify::from_environment());
    notify.attend(&fleet)?;
    let ended = attend(&job, &fleet, &notify, &listener);
    notify.stopping();
    let lost = leases.are_all_lost();
    let budget = if lost { Duration::ZERO } else { job.settings.shutdown_sync_timeout };
    let synced = finish(fleet.replicator(), budget, &listener);
    leases.release();
    if lost {
        return Ok(Exit::Taken);
    }
    Ok(match (ended?.child.map(Exit::of_child), synced) {
        (Some(Exit::Done) | None, Err(_)) => Exit::Unsynced,
        (Some(child), _) => child,
        (None, Ok(())) => Exit::Done,
    })
}

/// An attached database takes several files; the usual limit is there for old programs.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// Waits for the end, while databases come and go.
fn attend(
    job: &Job,
    fleet: &Arc<Fleet>,
    notify: &Arc<Notify>,
    listener: &Listener,
) -> Result<Ended> {
    let child = job.exec.as_deref().map(|it| Child::spawn(it, listener.sender.clone()));
    let child = child.transpose()?;
    let mut reloader = Reloader::new(job, fleet, notify);
    let ended = supervise::attend(child, &listener.events, |event| match event {
        Event::Reload => reloader.ask(),
        _ => dump::write(fleet),
    });
    reloader.stop();
    ended
}

/// The final sync, within its time.
fn finish(
    replicator: &Replicator,
    budget: Duration,
    listener: &Listener,
) -> std::result::Result<(), SyncError> {
    let within = go_duration::format(budget);
    tracing::info!(within, "stopping: carrying the last commits to the replicas");
    let started = Instant::now();
    let ended = AtomicBool::new(false);
    let synced = thread::scope(|scope| {
        let told = thread::Builder::new().name("final".into());
        let told = told.spawn_scoped(scope, || tell_what_is_left(replicator, &ended));
        let synced = replicator.stop(started + budget, &listener.abort);
        ended.store(true, Ordering::SeqCst);
        told.iter().for_each(|it| it.thread().unpark());
        synced
    });
    match &synced {
        Ok(()) => {
            let took = crate::output::duration(started.elapsed());
            tracing::info!(took, "final sync complete");
        }
        Err(error) => {
            for Unsynced { path, why, backlog } in &error.unsynced {
                let (db, transactions, bytes) = (path.display(), backlog.files, backlog.bytes);
                tracing::error!(%db, why, transactions, bytes, "final sync did not finish; the rest goes first next time");
            }
        }
    }
    synced
}

/// Whoever gives us less time than we were told will at least find this in the log.
fn tell_what_is_left(replicator: &Replicator, ended: &AtomicBool) {
    loop {
        let begun = Instant::now();
        while begun.elapsed() < TELL {
            thread::park_timeout(TELL.saturating_sub(begun.elapsed()));
            if ended.load(Ordering::SeqCst) {
                return;
            }
        }
        for status in replicator.statuses() {
            let db = status.path.display();
            for replica in status.replicas.iter().filter(|it| it.backlog.files > 0) {
                let Backlog { files: transactions, bytes } = replica.backlog;
                let replica = &replica.url;
                tracing::warn!(%db, replica, transactions, bytes, "not uploaded yet");
            }
        }
    }
}

/// Opens databases as their configuration says.
fn opener(limits: &Arc<Limits>, leases: &Arc<Leases>) -> fleet::Open {
    let (limits, leases) = (Arc::clone(limits), Arc::clone(leases));
    Box::new(move |database| options(database, &limits, &leases))
}

fn options(
    database: &Database,
    limits: &Arc<Limits>,
    leases: &Arc<Leases>,
) -> Result<DatabaseOptions> {
    let open = |replica: &Replica| -> Result<Arc<dyn Storage>> {
        let storage = replica.open_for(&database.path)?;
        match replica.lease {
            None => Ok(limits.apply(storage)),
            Some(time) => leases.guard(storage, database, time).map(|it| limits.apply(it)),
        }
    };
    let replicas = database.replicas.iter().map(open).collect::<Result<Vec<_>>>()?;
    let defaults = DatabaseOptions::new(&database.path, replicas);
    Ok(DatabaseOptions {
        meta: database.meta.clone(),
        history: database.history.clone(),
        spool_limit: database.spool_limit.unwrap_or(defaults.spool_limit),
        sync_interval: database.sync_interval,
        monitor_interval: database.monitor_interval,
        checkpoint_interval: database.checkpoint_interval,
        checkpoint_pages: database.checkpoint_pages,
        busy_timeout: database.busy_timeout,
        ..defaults
    })
}

/// What is to be done, from the arguments and the configuration.
#[derive(Debug)]
struct Job {
    databases: Vec<Database>,
    directories: Vec<Directory>,
    /// What holds for those that come later, by a request.
    defaults: Defaults,
    /// Those databases that have an entry of their own.
    listed: HashSet<PathBuf>,
    exec: Option<String>,
    once: bool,
    force_snapshot: bool,
    enforce_retention: bool,
    limits: Arc<Limits>,
    settings: Settings,
    /// Where the configuration is, if there is one.
    config: Option<ConfigArgs>,
    warnings: Vec<String>,
}

/// What a configuration says of the program rather than of databases.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    logging: Logging,
    shutdown_sync_timeout: Duration,
    address: Option<String>,
    socket: Socket,
    mcp: Option<Mcp>,
    heartbeat: Option<Heartbeat>,
    limits: (Option<u64>, Option<u64>),
    exec: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            logging: Logging::default(),
            shutdown_sync_timeout: config::SHUTDOWN_SYNC_TIMEOUT,
            address: None,
            socket: Socket::default(),
            mcp: None,
            heartbeat: None,
            limits: (None, None),
            exec: None,
        }
    }
}

impl Settings {
    fn of(config: &Config) -> Settings {
        Settings {
            logging: config.logging.clone(),
            shutdown_sync_timeout: config.shutdown_sync_timeout,
            address: config.address.clone(),
            socket: config.socket.clone(),
            mcp: config.mcp.clone(),
            heartbeat: config.heartbeat.clone(),
            limits: config.limits,
            exec: config.exec.clone(),
        }
    }
}

impl Job {
    fn read(args: &Args) -> Result<Job> {
        let mut job = match &args.database {
            Some(path) => Job::from_arguments(path, args)?,
            None => Job::from_config(args.config.read()?, args)?,
        };
        if let Some(exec) = &job.exec {
            if job.once {
                return Err(Failure::usage("-once and -exec cannot be used together"));
            }
            supervise::split(exec)?;
        }
        for (flag, given) in
            [("force-snapshot", args.force_snapshot), ("enforce-retention", args.enforce_retention)]
        {
            if given && !job.once {
                return Err(Failure::usage(format_args!("-{flag} needs -once"))
                    .hint("without it, snapshots and retention have their intervals"));
            }
        }
        for database in &mut job.databases {
            database.restore_if_missing |= args.restore_if_db_not_exists;
            if args.force_snapshot {
                database.history.snapshot_interval = Duration::ZERO;
            }
        }
        job.check_databases()?;
        Ok(job)
    }

    fn from_arguments(path: &str, args: &Args) -> Result<Job> {
        let example = "brooklet replicate app.db file:///backup/app";
        if args.replicas.is_empty() {
            let message = format_args!("the replica URL for {path} is missing");
            return Err(Failure::usage(message).hint(format_args!("as in: {example}")));
        }
        args.config.unused_with_url()?;
        if Url::is_url(path) && !path.starts_with("sqlite") {
            return Err(Failure::usage(format_args!(
                "the database comes first, and {path} is a URL"
            ))
            .hint(format_args!("as in: {example}")));
        }
        let replicas = args.replicas.iter().map(|url| replica(url));
        let replicas = replicas.collect::<Result<Vec<Replica>>>()?;
        let database = Database::new(places::absolute(path)?, replicas);
        claims::check([&database]).map_err(|taken| match taken {
            Taken::Twice { replica, .. } => {
                Failure::usage(format_args!("the replica {replica} is given twice"))
            }
            taken => taken.into(),
        })?;
        Ok(Job {
            databases: vec![database],
            directories: Vec::new(),
            defaults: Defaults::default(),
            listed: HashSet::new(),
            exec: args.exec.clone(),
            once: args.once,
            force_snapshot: args.force_snapshot,
            enforce_retention: args.enforce_retention,
            limits: Arc::default(),
            settings: Settings::default(),
            config: None,
            warnings: Vec::new(),
        })
    }

    fn from_config(config: Config, args: &Args) -> Result<Job> {
        let databases = config.all_databases()?;
        let watches = config.directories.iter().any(|directory| directory.watch);
        if databases.is_empty() && !watches {
            let roots = config.directories.iter().map(|it| it.folder.root.display().to_string());
            let roots = roots.collect::<Vec<_>>().join(", ");
            return Err(Failure::new(Exit::Config, format_args!("no databases in {roots}"))
                .hint("watch: true waits for them"));
        }
        claims::check(&databases)?;
        let settings = Settings::of(&config);
        Ok(Job {
            databases,
            listed: config.databases.into_iter().map(|it| it.path).collect(),
            directories: config.directories,
            defaults: config.defaults,
            exec: args.exec.clone().or(config.exec),
            once: args.once,
            force_snapshot: args.force_snapshot,
            enforce_retention: args.enforce_retention,
            limits: Arc::new(Limits::new(config.limits.0, config.limits.1)),
            settings,
            config: Some(args.config.clone()),
            warnings: config.warnings,
        })
    }

    fn check_databases(&self) -> Result<()> {
        match self.databases.iter().find(|it| it.path.is_dir()) {
            None => Ok(()),
            Some(Database { path, .. }) => {
                Err(Failure::usage(format_args!("{} is a directory", path.display()))
                    .hint("name the database file"))
            }
        }
    }

    /// Restores those that are missing and want it. With `-once`, none may be missing or empty then.
    fn restore_missing(&self, listener: &Listener) -> Result<()> {
        for database in self.databases.iter().filter(|it| it.restore_if_missing) {
            missing::restore(database, &listener.stop)?;
        }
        let is_there = |it: &Database| fs::metadata(&it.path).is_ok_and(|file| file.len() > 0);
        match self.databases.iter().find(|it| self.once && !is_there(it)) {
            None => Ok(()),
            Some(Database { path, .. }) => {
                let message = format_args!("no database at {}", path.display());
                Err(Failure::new(Exit::Failed, message).hint("with -once it is not waited for"))
            }
        }
    }

    /// Each database, and how it came here.
    fn origins(&self) -> Vec<(Database, Origin)> {
        let listed = |it: &Database| self.directories.is_empty() || self.listed.contains(&it.path);
        let origin = |it| if listed(it) { Origin::Listed } else { Origin::Found };
        self.databases.iter().map(|it| (it.clone(), origin(it))).collect()
    }

    /// Listens where others are to be served.
    fn doors(&self) -> Result<Doors> {
        if self.once {
            return Ok(Doors::default());
        }
        let Settings { address, socket, mcp, .. } = &self.settings;
        let address = address.as_deref().map(|it| Address::listen("addr", it)).transpose()?;
        let mcp = match (mcp, &self.config) {
            (Some(Mcp { address, token }), Some(config)) => {
                let mcp = http::Mcp { config: config.clone(), token: token.clone() };
                Some((Address::listen("mcp-addr", address)?, mcp))
            }
            _ => None,
        };
        let bind = || match Bound::at(socket) {
            Ok(bound) => Some(bound),
            // Replication matters more.
            Err(error) => {
                tracing::error!(path = %socket.path.display(), %error, "there is no control socket");
                None
            }
        };
        let socket = if socket.enabled { bind() } else { None };
        Ok(Doors { address, mcp, socket, heartbeat: None })
    }

    fn start_logging(&self, given: Option<Level>) {
        let Logging { level, format, stderr, source } = &self.settings.logging;
        let level = given.or_else(logging::level_from_environment).or(*level);
        let target = if *stderr == Some(false) { Target::Stdout } else { Target::Stderr };
        let style = Style { format: *format, source: *source };
        logging::start(level.unwrap_or(Level::Info), style, target);
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }
}
