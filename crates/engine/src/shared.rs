//! What the capturing and the uploading side of a database, and its observers, know of each other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ltx::Txid;

use crate::status::{DatabaseState, DatabaseStatus};

/// A moment on both clocks: the one that never steps, and the one that people read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) time: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Moment { instant: Instant::now(), time: SystemTime::now() }
    }
}

/// Tells waiting threads that some status changed.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn notify(&self) {
        *self.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until `done` or the deadline; says whether it is done.
    pub(crate) fn wait_until(&self, deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
        let mut changes = self.lock();
        loop {
            let seen = *changes;
            drop(changes);
            if done() {
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            changes = self.lock();
            if *changes == seen {
                // Not for longer than this, since `done` may look at more than our changes.
                let wait = left.min(Duration::from_millis(50));
                let waited = self.changed.wait_timeout(changes, wait);
                changes = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Known {
    status: DatabaseStatus,
    covered: Option<Instant>,
    capture_error: Option<String>,
    upload_error: Option<String>,
    waiting_since: Option<Instant>,
    missing_at: Option<Instant>,
}

/// The shared knowledge of one database.
#[derive(Debug)]
pub(crate) struct Shared {
    known: Mutex<Known>,
    signal: Arc<Signal>,
    /// Pages of an image that are done.
    pub(crate) image_pages: AtomicU64,
    /// Capture at the next opportunity, whatever the sync interval says.
    pub(crate) forced: AtomicBool,
    /// The local files do not continue the replica any more: start over from what is there.
    pub(crate) broken: AtomicBool,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, replica: String, signal: Arc<Signal>) -> Self {
        let status = DatabaseStatus { path, replica, ..DatabaseStatus::default() };
        Shared {
            known: Mutex::new(Known { status, ..Known::default() }),
            signal,
            image_pages: AtomicU64::new(0),
            forced: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let known = self.lock();
        let mut status = known.status.clone();
        status.last_error = known.capture_error.clone().or_else(|| known.upload_error.clone());
        status.lag = known.waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        if let DatabaseState::Snapshotting { done, .. } = &mut status.state {
            *done = self.image_pages.load(Ordering::Relaxed);
        }
        status
    }

    /// Every commit that returned before this moment is in the replica.
    pub(crate) fn covered(&self) -> Option<Instant> {
        self.lock().covered
    }

    /// Whether somebody looked for the database at `moment` or later, it was not there, and
    /// nothing of it waits for its upload.
    pub(crate) fn is_missing_since(&self, moment: Instant) -> bool {
        let known = self.lock();
        known.status.state == DatabaseState::Waiting
            && known.missing_at.is_some_and(|looked| looked >= moment)
            && known.waiting_since.is_none()
    }

    /// The database was not there when it was looked for.
    pub(crate) fn missing(&self, looked: Instant) {
        self.lock().missing_at = Some(looked);
        self.set_state(DatabaseState::Waiting);
    }

    pub(crate) fn set_state(&self, state: DatabaseState) {
        self.update(|known| {
            if !matches!(state, DatabaseState::Failing { .. }) {
                known.capture_error = None;
            }
            known.status.state = state;
        });
    }

    pub(crate) fn capture_failed(&self, error: String) {
        self.update(|known| {
            known.status.state = DatabaseState::Failing { error: error.clone() };
            known.capture_error = Some(error);
        });
    }

    pub(crate) fn upload_failed(&self, error: String) {
        self.update(|known| known.upload_error = Some(error));
    }

    pub(crate) fn captured(&self, txid: Txid) {
        self.update(|known| known.status.local_txid = Some(txid));
    }

    pub(crate) fn rebased(&self) {
        self.update(|known| known.status.rebases += 1);
    }

    pub(crate) fn wal_bytes(&self, bytes: u64) {
        self.lock().status.wal_bytes = bytes;
    }

    pub(crate) fn replicated(&self, txid: Txid, oldest_left: Option<Instant>) {
        self.update(|known| {
            known.status.replica_txid = Some(txid);
            known.upload_error = None;
            known.waiting_since = oldest_left;
        });
    }

    pub(crate) fn staged(&self, at: Instant) {
        self.update(|known| {
            known.waiting_since.get_or_insert(at);
        });
    }

    pub(crate) fn cover(&self, moment: Moment) {
        self.update(|known| {
            if known.covered.is_none_or(|covered| covered < moment.instant) {
                known.covered = Some(moment.instant);
                known.status.covered_until = Some(moment.time);
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.signal.notify();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
