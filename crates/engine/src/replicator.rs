//! The set of databases in one process, on a few threads.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::database::{Database, DatabaseOptions, Surroundings};
use crate::local::Local;
use crate::scheduler::{JobId, Scheduler};
use crate::shared::{Shared, Signal};
use crate::status::DatabaseStatus;
use crate::upload::Uploader;
use crate::watch::Watcher;
use crate::{Error, SyncError};

/// Threads that read databases and compress pages.
const CAPTURE_THREADS: usize = 2;
/// Threads that wait for storage.
const UPLOAD_THREADS: usize = 4;

/// Replicates databases until it is stopped.
pub struct Replicator {
    databases: Vec<Entry>,
    captures: Scheduler,
    uploads: Scheduler,
    watcher: Option<Watcher>,
    signal: Arc<Signal>,
}

struct Entry {
    path: PathBuf,
    shared: Arc<Shared>,
    job: JobId,
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator").field("databases", &self.databases.len()).finish()
    }
}

impl Replicator {
    /// Starts to replicate. A database that is missing is waited for; one that fails is retried.
    pub fn start(databases: Vec<DatabaseOptions>) -> Result<Replicator, Error> {
        refuse_duplicates(&databases)?;
        let captures = Scheduler::start("capture", CAPTURE_THREADS.min(databases.len().max(1)))
            .map_err(Error::Start)?;
        let uploads = Scheduler::start("upload", UPLOAD_THREADS.min(databases.len().max(1)))
            .map_err(Error::Start)?;
        let watcher = match Watcher::start(captures.waker()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no file events: databases are looked at in intervals");
                None
            }
        };
        let mut replicator = Replicator {
            databases: Vec::new(),
            captures,
            uploads,
            watcher,
            signal: Arc::default(),
        };
        for options in databases {
            replicator.add(options);
        }
        Ok(replicator)
    }

    fn add(&mut self, options: DatabaseOptions) {
        let (path, storage) = (options.path.clone(), Arc::clone(&options.storage));
        let local = Arc::new(Local::at(&path, options.meta.as_deref()));
        let shared = Arc::new(Shared::new(path.clone(), storage.url(), Arc::clone(&self.signal)));
        let uploader = Uploader::new(storage, Arc::clone(&local), Arc::clone(&shared));
        let uploader = Arc::new(uploader);
        let around = Surroundings {
            watch: self.watcher.as_ref().map(Watcher::watch),
            uploads: self.uploads.waker(),
            upload_job: self.uploads.add(Arc::clone(&uploader) as _),
        };
        let database = Database::new(options, local, Arc::clone(&shared), uploader, around);
        let database = Arc::new(database);
        let job = self.captures.add_named(Arc::clone(&database) as _, |id| database.named(id));
        self.databases.push(Entry { path, shared, job });
    }

    /// What is known of each database now.
    pub fn statuses(&self) -> Vec<DatabaseStatus> {
        self.databases.iter().map(|entry| entry.shared.status()).collect()
    }

    /// Waits until every commit made before this call is in its replica.
    pub fn sync(&self, deadline: Instant) -> Result<(), SyncError> {
        self.sync_unless(deadline, &AtomicBool::new(false), |_, _| false)
    }

    /// Syncs a last time and releases everything. `abort` ends the wait for storage at once.
    pub fn stop(self, deadline: Instant, abort: &AtomicBool) -> Result<(), SyncError> {
        let synced = self.sync_unless(deadline, abort, Shared::is_missing_since);
        if let Some(watcher) = self.watcher {
            watcher.stop();
        }
        self.captures.stop();
        if synced.is_ok() {
            self.uploads.stop();
        } else {
            self.uploads.abandon(); // a hanging storage must not hold us
        }
        synced
    }

    fn sync_unless(
        &self,
        deadline: Instant,
        abort: &AtomicBool,
        excused: impl Fn(&Shared, Instant) -> bool,
    ) -> Result<(), SyncError> {
        let asked = Instant::now();
        for entry in &self.databases {
            entry.shared.forced.store(true, Ordering::SeqCst);
            self.captures.waker().wake(entry.job);
        }
        let synced = |entry: &Entry| {
            entry.shared.covered().is_some_and(|covered| covered >= asked)
                || excused(&entry.shared, asked)
        };
        self.signal.wait_until(deadline, || {
            abort.load(Ordering::SeqCst) || self.databases.iter().all(synced)
        });
        let unsynced: Vec<_> = self
            .databases
            .iter()
            .filter(|entry| !synced(entry))
            .map(|entry| (entry.path.clone(), reason(&entry.shared.status())))
            .collect();
        if unsynced.is_empty() { Ok(()) } else { Err(SyncError { unsynced }) }
    }
}

fn reason(status: &DatabaseStatus) -> String {
    let known = || status.last_error.clone();
    match status.local_txid {
        None => known().unwrap_or_else(|| "the database does not exist yet".to_string()),
        Some(_) => known().unwrap_or_else(|| "the upload did not finish in time".to_string()),
    }
}

fn refuse_duplicates(databases: &[DatabaseOptions]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for options in databases {
        let path = std::path::absolute(&options.path).unwrap_or_else(|_| options.path.clone());
        let real = std::fs::canonicalize(&path).unwrap_or(path);
        if !seen.insert(real) {
            return Err(Error::Duplicate(options.path.clone()));
        }
    }
    Ok(())
}
