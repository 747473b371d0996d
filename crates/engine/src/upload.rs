//! The queue of one replica: captured files go to storage in order, and nothing jumps a hole.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::Storage;

use crate::local::Local;
use crate::scheduler::{Job, Next};
use crate::shared::{Moment, Shared};

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A captured file on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) level: Level,
    pub(crate) txids: TxidRange,
    pub(crate) created: Timestamp,
    /// Every commit that returned before this moment is in the file or in one before it.
    pub(crate) as_of: Moment,
}

#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// The last transaction that the replica holds.
    uploaded: Option<Txid>,
    failures: u32,
    /// Counts the times that the queue was started over.
    epoch: u64,
    /// Nobody could look at the replica yet.
    blind: bool,
}

/// Uploads for one database.
#[derive(Debug)]
pub(crate) struct Uploader {
    storage: Arc<dyn Storage>,
    local: Arc<Local>,
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
}

impl Uploader {
    pub(crate) fn new(storage: Arc<dyn Storage>, local: Arc<Local>, shared: Arc<Shared>) -> Self {
        Uploader { storage, local, shared, queue: Mutex::default() }
    }

    /// Forgets the queue, until [`Uploader::restart`].
    pub(crate) fn pause(&self) {
        let mut queue = self.lock();
        *queue = Queue { epoch: queue.epoch + 1, ..Queue::default() };
    }

    /// Starts over: the replica ends at `uploaded`, and `pending` is what it lacks. Not `seen`
    /// means that nobody could look at the replica.
    pub(crate) fn restart(&self, seen: bool, uploaded: Option<Txid>, pending: Vec<Pending>) {
        let mut queue = self.lock();
        let epoch = queue.epoch + 1;
        let oldest = pending.first().map(|pending| pending.as_of.instant);
        *queue = Queue { pending: pending.into(), uploaded, failures: 0, epoch, blind: !seen };
        drop(queue);
        if let Some(txid) = uploaded {
            self.shared.replicated(txid, oldest);
        }
    }

    /// While the replica was not seen, nothing is uploaded: once it can be, everything starts
    /// over from what it holds.
    fn look(&self) -> Option<Next> {
        if !self.lock().blind {
            return None;
        }
        match self.storage.list(Level::L0, Txid::FIRST) {
            Ok(_) => {
                self.shared.broken.store(true, Ordering::SeqCst);
                Some(Next::WhenWoken)
            }
            Err(error) => Some(self.failed(&error)),
        }
    }

    /// Adds a file to the end of the queue.
    pub(crate) fn push(&self, pending: Pending) {
        self.lock().pending.push_back(pending);
        self.shared.staged(pending.as_of.instant);
    }

    /// Everything captured up to `txid` held all commits at that moment.
    pub(crate) fn nothing_new(&self, moment: Moment) {
        let mut queue = self.lock();
        if let Some(last) = queue.pending.back_mut() {
            last.as_of = moment;
        } else if queue.uploaded.is_some() {
            drop(queue);
            self.shared.cover(moment);
        }
    }

    fn next(&self) -> Option<(Pending, u64)> {
        let queue = self.lock();
        queue.pending.front().map(|pending| (*pending, queue.epoch))
    }

    /// Takes a file off the queue, unless the queue was started over meanwhile.
    fn done(&self, txids: TxidRange, epoch: u64) {
        let mut queue = self.lock();
        if queue.epoch != epoch {
            return;
        }
        let Some(done) = queue.pending.pop_front() else { return };
        queue.uploaded = Some(txids.max);
        queue.failures = 0;
        let oldest_left = queue.pending.front().map(|pending| pending.as_of.instant);
        drop(queue);
        self.shared.replicated(txids.max, oldest_left);
        self.shared.cover(done.as_of);
    }

    fn failed(&self, error: &storage::Error) -> Next {
        let mut queue = self.lock();
        queue.failures += 1;
        let doubled = FIRST_BACKOFF.saturating_mul(1 << queue.failures.min(12));
        let wait = doubled.min(MAX_BACKOFF).mul_f64(0.5 + fastrand::f64() / 2.0);
        drop(queue);
        tracing::error!(replica = %self.storage.url(), %error, retry_in = ?wait, "upload failed");
        self.shared.upload_failed(error.to_string());
        Next::At(Instant::now() + wait)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for Uploader {
    fn run(&self) -> Next {
        if let Some(next) = self.look() {
            return next;
        }
        let mut dropped_through = None;
        while let Some((pending, epoch)) = self.next() {
            let Pending { level, txids, created, .. } = pending;
            let path = self.local.path(level, txids);
            if let Err(error) = self.storage.put_file(level, txids, created, &path) {
                if self.lock().epoch != epoch {
                    continue;
                }
                if !path.exists() {
                    tracing::error!(file = %path.display(), "a captured file vanished before its upload");
                    self.shared.broken.store(true, Ordering::SeqCst);
                    return Next::WhenWoken;
                }
                return self.failed(&error);
            }
            self.done(txids, epoch);
            dropped_through = Some(txids.max);
        }
        if let Some(txid) = dropped_through
            && let Err(error) = self.local.drop_through(txid)
        {
            tracing::warn!(%error, "cannot remove uploaded files from the local state");
        }
        Next::WhenWoken
    }
}
