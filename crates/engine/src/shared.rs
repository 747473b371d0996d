//! What the capturing and the uploading side of a database, and its observers, know of each other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ltx::Txid;

use crate::Error;
use crate::scheduler::Bell;
use crate::status::{Counts, DatabaseState, DatabaseStatus, ReplicaStatus};

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
    replicas: Vec<KnownReplica>,
    missing_at: Option<Instant>,
    /// Everything committed before this moment is captured.
    captured_until: Option<Instant>,
    /// When something was first seen that is not captured yet.
    uncaptured_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct KnownReplica {
    covered: Option<Instant>,
    waiting_since: Option<Instant>,
    /// Since when its oldest compaction is due.
    overdue_since: Option<Instant>,
    upload_error: Option<String>,
    upkeep_error: Option<String>,
    snapshot_error: Option<String>,
}

impl KnownReplica {
    fn fill(&self, status: &mut ReplicaStatus, uncaptured_since: Option<Instant>) {
        let elapsed = |since: Option<Instant>| since.map_or(Duration::ZERO, |it| it.elapsed());
        status.lag = elapsed(self.waiting_since).max(elapsed(uncaptured_since));
        status.overdue = elapsed(self.overdue_since);
        status.last_error.clone_from(&self.upload_error);
        status.upkeep_error = self.upkeep_error.clone().or_else(|| self.snapshot_error.clone());
    }
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
    /// Why the database may not be what was captured.
    doubt: Mutex<Option<String>>,
    /// Wakes the capturing side.
    pub(crate) capture: OnceLock<Bell>,
}

impl Shared {
    pub(crate) fn new(
        path: PathBuf,
        urls: Vec<String>,
        (look_every, sync_interval): (Duration, Duration),
        signal: Arc<Signal>,
    ) -> Self {
        let replicas = urls.iter().map(|_| KnownReplica::default()).collect();
        let described = |url| ReplicaStatus { url, ..ReplicaStatus::default() };
        let described = urls.into_iter().map(described).collect();
        let status = DatabaseStatus {
            path,
            replicas: described,
            look_every,
            sync_interval,
            ..DatabaseStatus::default()
        };
        Shared {
            known: Mutex::new(Known { status, replicas, ..Known::default() }),
            signal,
            image_pages: AtomicU64::new(0),
            forced: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            doubt: Mutex::default(),
            capture: OnceLock::new(),
        }
    }

    /// Has the database decide anew how its replicas go on.
    pub(crate) fn start_over(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.wake_capture();
    }

    /// Has the database compared with the last known state.
    pub(crate) fn doubt(&self, reason: String) {
        self.keep_doubt(reason);
        self.wake_capture();
    }

    /// The same, at the next opportunity.
    pub(crate) fn keep_doubt(&self, reason: String) {
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn take_doubt(&self) -> Option<String> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn wake_capture(&self) {
        if let Some(bell) = self.capture.get() {
            bell.ring();
        }
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let known = self.lock();
        let mut status = known.status.clone();
        for (replica, status) in known.replicas.iter().zip(&mut status.replicas) {
            replica.fill(status, known.uncaptured_since);
        }
        status.absent = known.missing_at.is_some() && known.status.state == DatabaseState::Waiting;
        status.unseen_for = known.captured_until.map(|it| it.elapsed());
        if let DatabaseState::Snapshotting { done, .. } = &mut status.state {
            *done = self.image_pages.load(Ordering::Relaxed);
        }
        status
    }

    /// Notes what was done.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().status.counts);
    }

    /// Everything committed before this moment is captured. Who `asked` is told at once.
    pub(crate) fn captured_all(&self, moment: Instant, asked: bool) {
        let mut known = self.lock();
        (known.captured_until, known.uncaptured_since) = (Some(moment), None);
        drop(known);
        if asked {
            self.signal.notify();
        }
    }

    /// Something was committed by this moment that waits for its time to be captured.
    pub(crate) fn uncaptured(&self, moment: Instant) {
        self.lock().uncaptured_since.get_or_insert(moment);
    }

    /// Whether everything committed before this moment is captured.
    pub(crate) fn is_captured(&self, moment: Instant) -> bool {
        self.lock().captured_until.is_some_and(|until| until >= moment)
    }

    /// Whether somebody looked for the database at `moment` or later, and it was not there.
    pub(crate) fn is_absent_since(&self, moment: Instant) -> bool {
        let known = self.lock();
        let missing = known.missing_at.is_some_and(|looked| looked >= moment);
        missing && known.status.state == DatabaseState::Waiting
    }

    /// Every commit that returned before this moment is in all replicas.
    pub(crate) fn covered(&self) -> Option<Instant> {
        let known = self.lock();
        // No moment at all in one of them is less than any moment.
        known.replicas.iter().map(|replica| replica.covered).min().flatten()
    }

    /// Whether somebody looked for the database at `moment` or later, it was not there, and
    /// nothing of it waits for its upload.
    pub(crate) fn is_missing_since(&self, moment: Instant) -> bool {
        let known = self.lock();
        known.status.state == DatabaseState::Waiting
            && known.missing_at.is_some_and(|looked| looked >= moment)
            && known.replicas.iter().all(|replica| replica.waiting_since.is_none())
    }

    /// Whether the database is gone, and nothing of it waits for its upload.
    pub(crate) fn is_missing(&self) -> bool {
        let known = self.lock();
        known.status.state == DatabaseState::Waiting
            && known.missing_at.is_some()
            && known.replicas.iter().all(|replica| replica.waiting_since.is_none())
    }

    /// The database was not there when it was looked for.
    pub(crate) fn missing(&self, looked: Instant) {
        let mut known = self.lock();
        (known.missing_at, known.uncaptured_since) = (Some(looked), None);
        drop(known);
        self.set_state(DatabaseState::Waiting);
    }

    pub(crate) fn set_state(&self, state: DatabaseState) {
        self.update(|known| {
            if !matches!(state, DatabaseState::Failing { .. }) {
                known.status.capture_error = None;
                known.status.disk_full = false;
            }
            known.status.state = state;
        });
    }

    pub(crate) fn capture_failed(&self, error: &Error) {
        self.update(|known| {
            let text = error.to_string();
            known.status.state = DatabaseState::Failing { error: text.clone() };
            known.status.capture_error = Some(text);
            known.status.disk_full = error.is_full_disk();
            known.status.counts.sync_errors += 1;
        });
    }

    pub(crate) fn upload_failed(&self, replica: usize, error: String) {
        self.update_replica(replica, |known, _| known.upload_error = Some(error));
    }

    /// What became of the upkeep of a replica: since when something is due, and why it failed.
    pub(crate) fn kept(&self, replica: usize, overdue: Option<Instant>, error: Option<String>) {
        self.update_replica(replica, |known, _| {
            known.overdue_since = overdue;
            known.upkeep_error = error;
        });
    }

    /// Why a snapshot could not be stored, or that it could.
    pub(crate) fn snapshot_failed(&self, replica: usize, error: Option<String>) {
        self.update_replica(replica, |known, _| known.snapshot_error = error);
    }

    /// When the replica was last verified, or why that failed.
    pub(crate) fn verified(&self, replica: usize, result: Result<SystemTime, String>) {
        self.update_replica(replica, |_, status| match result {
            Ok(moment) => {
                status.verified_at = Some(moment);
                status.verify_error = None;
            }
            Err(error) => status.verify_error = Some(error),
        });
    }

    pub(crate) fn snapshot_stored(&self, replica: usize, txid: Txid) {
        self.update_replica(replica, |_, status| status.snapshot_txid = Some(txid));
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

    pub(crate) fn replicated(&self, replica: usize, txid: Txid, oldest_left: Option<Instant>) {
        self.update_replica(replica, |known, status| {
            status.txid = Some(txid);
            known.upload_error = None;
            known.waiting_since = oldest_left;
        });
    }

    pub(crate) fn uploaded(&self, replica: usize) {
        self.update_replica(replica, |_, status| status.uploaded_at = Some(SystemTime::now()));
    }

    pub(crate) fn staged(&self, replica: usize, at: Instant) {
        self.update_replica(replica, |known, _| {
            known.waiting_since.get_or_insert(at);
        });
    }

    pub(crate) fn cover(&self, replica: usize, moment: Moment) {
        self.update_replica(replica, |known, status| {
            if known.covered.is_none_or(|covered| covered < moment.instant) {
                known.covered = Some(moment.instant);
                status.covered_until = Some(moment.time);
            }
        });
    }

    fn update_replica(
        &self,
        replica: usize,
        change: impl FnOnce(&mut KnownReplica, &mut ReplicaStatus),
    ) {
        self.update(|known| {
            change(&mut known.replicas[replica], &mut known.status.replicas[replica])
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
