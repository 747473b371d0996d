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
use crate::start::Remote;

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Uploads after which the local copies of all before them are removed.
const DROP_EVERY: u32 = 16;

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
    /// The last one that was seen or stored on its level 0.
    stored: Option<Txid>,
    /// Somebody wants to know whether everything up to this moment is there.
    asked: Option<Moment>,
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

    /// Starts over: `pending` is what the replica lacks. Without `remote` nobody could look at it.
    pub(crate) fn restart(&self, remote: Option<&Remote>, pending: Vec<Pending>) {
        let mut queue = self.lock();
        let uploaded = remote.and_then(|remote| remote.last);
        let stored = remote.and_then(Remote::newest_txid);
        let oldest = pending.first().map(|pending| pending.as_of.instant);
        let (epoch, blind) = (queue.epoch + 1, remote.is_none());
        let pending = pending.into();
        *queue = Queue { pending, uploaded, stored, epoch, blind, ..Queue::default() };
        drop(queue);
        match uploaded {
            Some(txid) => self.shared.replicated(txid, oldest),
            None => oldest.into_iter().for_each(|at| self.shared.staged(at)),
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

    /// There was nothing to capture at that moment. If somebody `asked`, the replica is asked too
    /// before that counts as replicated.
    pub(crate) fn nothing_new(&self, moment: Moment, asked: bool) {
        let mut queue = self.lock();
        if let Some(last) = queue.pending.back_mut() {
            last.as_of = moment;
        } else if queue.uploaded.is_some() {
            if asked || queue.asked.is_some() {
                queue.asked = Some(moment);
            } else {
                drop(queue);
                self.shared.cover(moment);
            }
        }
    }

    fn next(&self) -> Option<(Pending, u64)> {
        let queue = self.lock();
        queue.pending.front().map(|pending| (*pending, queue.epoch))
    }

    /// Takes a file off the queue, unless the queue was started over meanwhile.
    fn done(&self, uploaded: Pending, epoch: u64) {
        let mut queue = self.lock();
        if queue.epoch != epoch {
            return;
        }
        // Taken from the queue, where its moment may be a later one by now.
        let Some(done) = queue.pending.pop_front() else { return };
        queue.failures = 0;
        queue.uploaded = queue.uploaded.max(Some(uploaded.txids.max));
        if uploaded.level == Level::L0 {
            queue.stored = Some(uploaded.txids.max);
        }
        let oldest_left = queue.pending.front().map(|pending| pending.as_of.instant);
        drop(queue);
        self.shared.replicated(uploaded.txids.max, oldest_left);
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

    /// Uploads what is next, if there is anything.
    fn upload_next(&self) -> Result<Option<Txid>, storage::Error> {
        let Some((pending, epoch)) = self.next() else { return Ok(None) };
        if !self.still_stands()? {
            return Ok(None);
        }
        let Pending { level, txids, created, .. } = pending;
        let path = self.local.path(level, txids);
        match self.storage.put_file(level, txids, created, &path) {
            Ok(_) => self.done(pending, epoch),
            Err(_) if self.lock().epoch != epoch => {}
            Err(_) if !path.exists() => {
                self.start_over("a captured file vanished before its upload", epoch);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        Ok(Some(txids.max))
    }

    /// Whether the replica still holds what it held last; else everything starts over.
    fn still_stands(&self) -> Result<bool, storage::Error> {
        let (stored, epoch) = {
            let queue = self.lock();
            (queue.stored, queue.epoch)
        };
        let Some(last) = stored else { return Ok(true) };
        let stands = self.storage.still_holds(Level::L0, TxidRange::single(last))?;
        if !stands {
            self.start_over("what was uploaded last is gone from the replica", epoch);
        }
        Ok(stands)
    }

    /// Answers whoever asked for everything up to a moment at which nothing was left to upload.
    fn answer(&self) -> Result<(), storage::Error> {
        let (asked, epoch) = {
            let queue = self.lock();
            (queue.asked, queue.epoch)
        };
        let Some(moment) = asked else { return Ok(()) };
        if !self.still_stands()? {
            return Ok(());
        }
        let mut queue = self.lock();
        if queue.epoch == epoch {
            queue.asked = None;
            drop(queue);
            self.shared.cover(moment);
        }
        Ok(())
    }

    /// Has the database decide anew how the replica goes on.
    fn start_over(&self, reason: &str, epoch: u64) {
        let replica = self.storage.url();
        tracing::error!(replica, reason, "the replica is looked at again");
        let mut queue = self.lock();
        if queue.epoch == epoch {
            *queue = Queue { epoch: epoch + 1, ..Queue::default() };
            self.shared.broken.store(true, Ordering::SeqCst);
        }
    }

    fn upload_all(&self) -> Result<(), storage::Error> {
        for count in 1.. {
            if self.upload_next()?.is_none() {
                break;
            }
            if count % DROP_EVERY == 0 {
                self.drop_uploaded();
            }
        }
        self.answer()
    }

    fn drop_uploaded(&self) {
        let Some(uploaded) = self.lock().uploaded else { return };
        if let Err(error) = self.local.drop_through(uploaded) {
            tracing::warn!(%error, "cannot remove uploaded files from the local state");
        }
    }
}

impl Job for Uploader {
    fn run(&self) -> Next {
        if let Some(next) = self.look() {
            return next;
        }
        let uploaded = self.upload_all();
        self.drop_uploaded();
        match uploaded {
            Ok(()) => Next::WhenWoken,
            Err(error) => self.failed(&error),
        }
    }
}
