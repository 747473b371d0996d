//! The set of databases in one process, on a few threads.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ltx::Level;

use crate::database::{Database, Surroundings};
use crate::inventory::Inventory;
use crate::keeper::Keeper;
use crate::local::Local;
use crate::options::{DatabaseOptions, HistoryOptions};
use crate::replica::Replica;
use crate::retention;
use crate::scheduler::{Bell, Job, Next, Scheduler};
use crate::seats::Seats;
use crate::shared::{Shared, Signal};
use crate::snapshotter::Snapshotter;
use crate::status::DatabaseStatus;
use crate::upload::Uploader;
use crate::verifier::Verifier;
use crate::views::Views;
use crate::watch::Watcher;
use crate::{Error, SyncError, Unsynced};

/// Threads that read databases and compress pages.
const CAPTURE_THREADS: usize = 2;
/// Threads that wait for storage.
const UPLOAD_THREADS: usize = 16;
/// Threads that compact, delete and make snapshots.
const UPKEEP_THREADS: usize = 16;
/// How long the jobs of a database that is let go are waited for.
const LEAVE: Duration = Duration::from_secs(2);
/// Monitor intervals, and one for what comes in between, after which a quiet database is looked at.
const SLOWEST_LOOK: u32 = 17;

/// Replicates databases until it is stopped.
pub struct Replicator {
    databases: Mutex<Databases>,
    captures: Scheduler,
    uploads: Scheduler,
    upkeep: Scheduler,
    watcher: Option<Watcher>,
    signal: Arc<Signal>,
    images: Arc<Mutex<()>>,
    seats: Arc<Seats>,
    pulse: Bell,
}

#[derive(Default)]
struct Databases {
    there: Vec<Arc<Entry>>,
    /// Those that were let go, until the last of their jobs has ended.
    leaving: Vec<Arc<Entry>>,
}

struct Entry {
    path: PathBuf,
    /// Without links.
    real: PathBuf,
    /// Of its replicas.
    places: Vec<String>,
    history: HistoryOptions,
    local: Arc<Local>,
    shared: Arc<Shared>,
    views: Arc<Views>,
    uploaders: Vec<Arc<Uploader>>,
    capture: Bell,
    uploads: Vec<Bell>,
    upkeep: Vec<Bell>,
}

/// Does nothing: that it runs is what it tells.
struct Pulse;

impl Job for Pulse {
    fn run(&self) -> Next {
        Next::WhenWoken
    }
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator").field("databases", &self.lock().there.len()).finish()
    }
}

impl Replicator {
    /// Starts to replicate. A database that is missing is waited for; one that fails is retried.
    pub fn start(databases: Vec<DatabaseOptions>) -> Result<Replicator, Error> {
        refuse_duplicates(&databases)?;
        let captures = Scheduler::start("capture", CAPTURE_THREADS).map_err(Error::Start)?;
        let uploads = Scheduler::start("upload", UPLOAD_THREADS).map_err(Error::Start)?;
        let upkeep = Scheduler::start("upkeep", UPKEEP_THREADS).map_err(Error::Start)?;
        let watcher = match Watcher::start(captures.waker()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no file events: databases are looked at in intervals");
                None
            }
        };
        let replicator = Replicator {
            databases: Mutex::default(),
            pulse: captures.hire(Arc::new(Pulse)),
            captures,
            uploads,
            upkeep,
            watcher,
            signal: Arc::default(),
            images: Arc::default(),
            seats: Arc::new(Seats::new()),
        };
        let entries = databases.into_iter().map(|options| replicator.begin(options)).collect();
        replicator.lock().there = entries;
        Ok(replicator)
    }

    /// Replicates one more database.
    pub fn add(&self, options: DatabaseOptions) -> Result<(), Error> {
        let (mut databases, real) = (self.lock(), real(&options.path));
        if databases.there.iter().any(|entry| entry.real == real) {
            return Err(Error::Duplicate(options.path));
        }
        if let Some(leaving) = self.still_there(&mut databases, &real, &places(&options)) {
            return Err(Error::Leaving(leaving));
        }
        databases.there.push(self.begin(options));
        Ok(())
    }

    /// A database that was removed and is still waited for, so that this one cannot be added: it is
    /// the same, or may still write to one of these places ([`storage::Storage::place`]).
    pub fn leaving(&self, path: &Path, places: &[String]) -> Option<PathBuf> {
        let (mut databases, real) = (self.lock(), real(path));
        self.still_there(&mut databases, &real, places)
    }

    fn still_there(
        &self,
        databases: &mut Databases,
        real: &Path,
        places: &[String],
    ) -> Option<PathBuf> {
        let now = Instant::now();
        databases.leaving.retain(|entry| !self.has_left(entry, now));
        let is_in_the_way = |entry: &&Arc<Entry>| {
            entry.real == real || entry.places.iter().any(|place| places.contains(place))
        };
        databases.leaving.iter().find(is_in_the_way).map(|entry| entry.path.clone())
    }

    /// Whether the database at a path is replicated, under whatever name. Such a file must not be
    /// opened and closed by this process: that would take SQLite's locks from it.
    pub fn replicates(&self, path: &Path) -> bool {
        let (real, databases) = (real(path), self.lock());
        databases.there.iter().chain(&databases.leaving).any(|entry| entry.real == real)
    }

    /// Replicates a database no more that is gone. `false`: it is still there, or something of it
    /// still waits for its upload.
    pub fn retire(&self, path: &Path) -> bool {
        let databases = self.lock();
        let there = databases.there.iter().find(|entry| entry.path == path).cloned();
        drop(databases);
        let Some(entry) = there else { return true };
        if !entry.shared.is_missing() {
            entry.capture.ring();
            return false;
        }
        self.let_go(&entry, Instant::now());
        true
    }

    /// Syncs a database a last time and replicates it no more. It is let go even if the sync is
    /// not complete at the deadline: what is missing stays in its local state. With `abort` it is
    /// not let go, unless the sync was complete. `None` if there is no such database.
    pub fn remove(
        &self,
        path: &Path,
        deadline: Instant,
        abort: &AtomicBool,
    ) -> Option<Result<DatabaseStatus, SyncError>> {
        let entry = self.find(path)?;
        let synced = self.last_sync(&entry, deadline, abort);
        if synced.is_err() && abort.load(Ordering::SeqCst) {
            return Some(synced.map(|()| entry.status()));
        }
        let status = entry.status();
        self.let_go(&entry, Instant::now() + LEAVE);
        Some(synced.map(|()| status))
    }

    /// Dismisses the jobs of a database. One that hangs is waited for until the deadline.
    fn let_go(&self, entry: &Arc<Entry>, deadline: Instant) {
        let mut databases = self.lock();
        let Some(at) = databases.there.iter().position(|it| Arc::ptr_eq(it, entry)) else { return };
        let entry = databases.there.swap_remove(at);
        databases.leaving.push(Arc::clone(&entry));
        drop(databases);
        let _ = entry.views.recall();
        self.captures.dismiss(&entry.capture);
        entry.uploads.iter().for_each(|job| self.uploads.dismiss(job));
        entry.upkeep.iter().for_each(|job| self.upkeep.dismiss(job));
        // What is under way is the last: the rest stays in the local state.
        entry.uploaders.iter().for_each(|uploader| uploader.pause());
        if self.has_left(&entry, deadline) {
            self.lock().leaving.retain(|it| !Arc::ptr_eq(it, &entry));
        }
    }

    /// Whether nothing of a dismissed database runs any more.
    fn has_left(&self, entry: &Entry, deadline: Instant) -> bool {
        let ended =
            |jobs: &[Bell], of: &Scheduler| jobs.iter().all(|it| of.await_end(it, deadline));
        let left = self.captures.await_end(&entry.capture, deadline)
            && ended(&entry.uploads, &self.uploads)
            && ended(&entry.upkeep, &self.upkeep);
        if left {
            entry.local.unlock();
        }
        left
    }

    fn find(&self, path: &Path) -> Option<Arc<Entry>> {
        let real = real(path);
        self.lock().there.iter().find(|entry| entry.real == real).cloned()
    }

    fn begin(&self, options: DatabaseOptions) -> Arc<Entry> {
        let (path, places) = (options.path.clone(), places(&options));
        let local = Local::at(&path, options.meta.as_deref(), options.spool_limit);
        let local = Arc::new(local);
        let urls = options.replicas.iter().map(|storage| storage.url()).collect();
        let look_every = options.monitor_interval * SLOWEST_LOOK + options.sync_interval;
        let intervals = (look_every, options.sync_interval);
        let shared = Shared::new(path.clone(), urls, intervals, Arc::clone(&self.signal));
        let shared = Arc::new(shared);
        let views = Arc::new(Views::default());
        let (mut uploaders, mut uploads, mut upkeep) = (Vec::new(), Vec::new(), Vec::new());
        for (index, storage) in options.replicas.iter().enumerate() {
            let replica = Replica::new(index, Arc::clone(storage), top(&options.history));
            let replica = Arc::new(replica);
            let (uploader, upload, keepers) =
                self.begin_replica(replica, &options, &local, &shared, &views);
            uploaders.push(uploader);
            uploads.push(upload);
            upkeep.extend(keepers);
        }
        let around = Surroundings {
            watch: self.watcher.as_ref().map(Watcher::watch),
            views: Arc::clone(&views),
            images: Arc::clone(&self.images),
            seats: Arc::clone(&self.seats),
        };
        let history = options.history.clone();
        let (mine, theirs) = (Arc::clone(&local), uploaders.clone());
        let database = Database::new(options, mine, Arc::clone(&shared), theirs, around);
        let database = Arc::new(database);
        let capture = self.captures.hire_named(Arc::clone(&database) as _, |bell| {
            let _ = shared.capture.set(bell.clone());
            database.named(bell.id());
        });
        let real = real(&path);
        Arc::new(Entry {
            path,
            real,
            places,
            history,
            local,
            shared,
            views,
            uploaders,
            capture,
            uploads,
            upkeep,
        })
    }

    fn begin_replica(
        &self,
        replica: Arc<Replica>,
        options: &DatabaseOptions,
        local: &Arc<Local>,
        shared: &Arc<Shared>,
        views: &Arc<Views>,
    ) -> (Arc<Uploader>, Bell, Vec<Bell>) {
        let history = &options.history;
        let (mine, yours) = (|| Arc::clone(local), || Arc::clone(shared));
        let interval = options.sync_interval;
        let uploader = Uploader::new(Arc::clone(&replica), mine(), yours(), interval);
        let uploader = Arc::new(uploader);
        let upload = self.uploads.hire(Arc::clone(&uploader) as _);
        uploader.named(upload.clone());
        let (levels, retention) = (history.levels.clone(), history.retention.clone());
        let keeper = Keeper::new(Arc::clone(&uploader), mine(), yours(), levels, retention);
        let mut keepers = vec![self.upkeep.hire(Arc::new(keeper))];
        let _ = replica.upkeep.set(keepers[0].clone());
        let (views, interval) = (Arc::clone(views), history.snapshot_interval);
        let snapshotter = Snapshotter::new(Arc::clone(&uploader), mine(), yours(), views, interval);
        keepers.push(self.upkeep.hire(Arc::new(snapshotter)));
        let _ = replica.snapshots.set(keepers[1].clone());
        if let Some(validation) = history.validation {
            let verifier = Verifier::new(Arc::clone(&uploader), mine(), yours(), validation);
            keepers.push(self.upkeep.hire(Arc::new(verifier)));
        }
        (uploader, upload, keepers)
    }

    /// What is known of each database now.
    pub fn statuses(&self) -> Vec<DatabaseStatus> {
        let databases = self.lock().there.clone();
        databases.iter().map(|entry| entry.status()).collect()
    }

    /// What is known of one database.
    pub fn status(&self, path: &Path) -> Option<DatabaseStatus> {
        Some(self.find(path)?.status())
    }

    /// Whether databases are still being looked at: proof for a watchdog, which takes a moment, and
    /// up to `patience` if nothing moves.
    pub fn is_alive(&self, patience: Duration) -> bool {
        let databases = self.lock().there.clone();
        let progress = || -> (u64, u64) {
            let pages =
                databases.iter().map(|entry| entry.shared.image_pages.load(Ordering::Relaxed));
            (self.captures.runs(), pages.fold(0, u64::wrapping_add))
        };
        let before = progress();
        self.pulse.ring();
        self.signal.wait_until(Instant::now() + patience, || progress() != before)
    }

    /// Waits until every commit made before this call is in its replica.
    pub fn sync(&self, deadline: Instant) -> Result<(), SyncError> {
        self.sync_of(Instant::now(), deadline)
    }

    /// The same of every commit made before `moment`, so that it comes to an end under commits that
    /// do not, however often it is asked.
    pub fn sync_of(&self, moment: Instant, deadline: Instant) -> Result<(), SyncError> {
        let databases = self.lock().there.clone();
        self.sync_entries(moment, &databases, deadline, &AtomicBool::new(false), |_, _| false)
    }

    /// Waits until every commit made to a database before this call is in all of its replicas.
    /// Nothing is uploaded that is there already. `None` if there is no such database.
    pub fn sync_one(&self, path: &Path, deadline: Instant) -> Option<Result<(), SyncError>> {
        let entry = self.find(path)?;
        let began = Instant::now();
        let gone = AtomicBool::new(false);
        // Nothing can be said of a database that is not there, and nothing of it is waited for.
        let absent = |shared: &Shared, _| {
            let absent = shared.is_absent_since(began);
            gone.fetch_or(absent, Ordering::SeqCst);
            absent
        };
        let synced = self.sync_entries(
            began,
            &[Arc::clone(&entry)],
            deadline,
            &AtomicBool::new(false),
            absent,
        );
        Some(match gone.into_inner() {
            true => Err(SyncError { unsynced: vec![entry.unsynced()] }),
            false => synced,
        })
    }

    /// The same of one that is about to be removed, which may be gone already.
    pub fn sync_before(
        &self,
        path: &Path,
        deadline: Instant,
        abort: &AtomicBool,
    ) -> Option<Result<(), SyncError>> {
        let entry = self.find(path)?;
        Some(self.last_sync(&entry, deadline, abort))
    }

    fn last_sync(
        &self,
        entry: &Arc<Entry>,
        deadline: Instant,
        abort: &AtomicBool,
    ) -> Result<(), SyncError> {
        let (asked, entries) = (Instant::now(), [Arc::clone(entry)]);
        self.sync_entries(asked, &entries, deadline, abort, Shared::is_missing_since)
    }

    /// Waits until every commit made to a database before this call is captured: safe from
    /// checkpoints, but on this machine alone. `None` if there is no such database.
    pub fn capture(&self, path: &Path, deadline: Instant) -> Option<Result<(), SyncError>> {
        let entry = self.find(path)?;
        let asked = Instant::now();
        entry.ask();
        let captured = || entry.shared.is_captured(asked);
        self.signal.wait_until(deadline, || captured() || entry.shared.is_absent_since(asked));
        let unsynced = || SyncError { unsynced: vec![entry.unsynced()] };
        Some(captured().then_some(()).ok_or_else(unsynced))
    }

    /// Syncs a last time and releases everything. `abort` ends the wait for storage at once.
    pub fn stop(&self, deadline: Instant, abort: &AtomicBool) -> Result<(), SyncError> {
        let databases = self.lock().there.clone();
        let asked = Instant::now();
        let synced =
            self.sync_entries(asked, &databases, deadline, abort, Shared::is_missing_since);
        for entry in &databases {
            let _ = entry.views.recall();
        }
        if let Some(watcher) = &self.watcher {
            watcher.stop();
        }
        if synced.is_ok() && self.lock().leaving.is_empty() {
            self.captures.stop();
            self.uploads.stop();
            self.upkeep.abandon();
        } else {
            // A hanging storage or a long image must not hold us.
            self.captures.abandon();
            self.uploads.abandon();
            self.upkeep.abandon();
        }
        synced
    }

    fn lock(&self) -> MutexGuard<'_, Databases> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_entries(
        &self,
        asked: Instant,
        databases: &[Arc<Entry>],
        deadline: Instant,
        abort: &AtomicBool,
        excused: impl Fn(&Shared, Instant) -> bool,
    ) -> Result<(), SyncError> {
        databases.iter().for_each(|entry| entry.ask());
        let synced = |entry: &Entry| {
            entry.shared.covered().is_some_and(|covered| covered >= asked)
                || excused(&entry.shared, asked)
        };
        self.signal.wait_until(deadline, || {
            abort.load(Ordering::SeqCst) || databases.iter().all(|entry| synced(entry))
        });
        let left = databases.iter().filter(|entry| !synced(entry));
        let unsynced: Vec<_> = left.map(|entry| entry.unsynced()).collect();
        if unsynced.is_empty() { Ok(()) } else { Err(SyncError { unsynced }) }
    }
}

impl Entry {
    /// Has everything captured that there is, and uploaded.
    fn ask(&self) {
        self.shared.forced.store(true, Ordering::SeqCst);
        self.capture.ring();
    }

    fn status(&self) -> DatabaseStatus {
        let mut status = self.shared.status();
        let now = Instant::now();
        for (uploader, status) in self.uploaders.iter().zip(&mut status.replicas) {
            status.backlog = uploader.backlog();
            status.usage = uploader.replica.storage.usage();
            status.holds_lease = uploader.replica.storage.holds_lease();
            let look = |inventory: &Inventory| {
                inventory.contents(retention::level_0(inventory, &self.history.retention, now))
            };
            status.contents = uploader.is_settled().then(|| uploader.replica.plan(look).0);
        }
        status
    }

    /// What keeps the last commits from being everywhere.
    fn unsynced(&self) -> Unsynced {
        let status = self.status();
        let backlog = status.replicas.iter().map(|it| it.backlog).max().unwrap_or_default();
        Unsynced { path: self.path.clone(), why: reason(&status), backlog }
    }
}

/// The highest level that is compacted to.
fn top(history: &HistoryOptions) -> Level {
    u8::try_from(history.levels.len()).ok().and_then(Level::new).unwrap_or(Level::L0)
}

fn reason(status: &DatabaseStatus) -> String {
    let known = || status.last_error();
    match status.local_txid {
        None => known().unwrap_or_else(|| "the database does not exist yet".to_string()),
        Some(_) => known().unwrap_or_else(|| "the upload did not finish in time".to_string()),
    }
}

/// Where its replicas are.
fn places(options: &DatabaseOptions) -> Vec<String> {
    options.replicas.iter().map(|storage| storage.place()).collect()
}

/// The path without links, as far as the file is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    std::fs::canonicalize(&path).unwrap_or(path)
}

fn refuse_duplicates(databases: &[DatabaseOptions]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for options in databases {
        if !seen.insert(real(&options.path)) {
            return Err(Error::Duplicate(options.path.clone()));
        }
    }
    Ok(())
}
