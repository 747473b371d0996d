//! The queue of one replica: captured files go to storage in order, and nothing jumps a hole.

mod queue;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ltx::{Level, Txid};
use storage::Object;

use crate::Error;
use crate::compact::{Compaction, is_perhaps_local};
use crate::local::{Local, Needs};
use crate::replica::Replica;
use crate::scheduler::{Bell, Job, Next};
use crate::shared::{Moment, Shared};
use crate::start::Remote;
use crate::status::Backlog;
pub(crate) use queue::Pending;
use queue::{Queue, Standing};

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Between starts over for a replica that then cannot be read after all.
const MAX_START_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// Uploads after which the local copies of all before them are removed, and others have their turn.
const DROP_EVERY: u32 = 16;
/// Most files that become one object.
const MAX_BATCH: usize = 256;
/// Most bytes of them.
const MAX_BATCH_BYTES: u64 = 64 << 20;
/// A file that has waited for longer is looked through before its upload: it is not what was just
/// written any more, but what the disk makes of that.
const AGED: Duration = Duration::from_secs(2);
/// One that was found sound is not looked through again at each try.
const SOUND_FOR: Duration = Duration::from_secs(60);

/// Uploads to one replica.
#[derive(Debug)]
pub(crate) struct Uploader {
    pub(crate) replica: Arc<Replica>,
    local: Arc<Local>,
    shared: Arc<Shared>,
    /// To a storage where requests have a price, no more than one upload begins in this time.
    interval: Duration,
    bell: OnceLock<Bell>,
    queue: Mutex<Queue>,
}

impl Uploader {
    pub(crate) fn new(
        replica: Arc<Replica>,
        local: Arc<Local>,
        shared: Arc<Shared>,
        interval: Duration,
    ) -> Self {
        let (bell, queue) = (OnceLock::new(), Mutex::default());
        Uploader { replica, local, shared, interval, bell, queue }
    }

    /// Somebody waits for what is in the queue now.
    pub(crate) fn hurry(&self) {
        self.lock().hurried = true;
        self.wake();
    }

    /// Tells the uploader what wakes it.
    pub(crate) fn named(&self, bell: Bell) {
        let _ = self.bell.set(bell);
    }

    pub(crate) fn wake(&self) {
        self.bell.get().into_iter().for_each(Bell::ring);
    }

    /// Forgets the queue, until [`Uploader::restart`].
    pub(crate) fn pause(&self) {
        let mut queue = self.lock();
        let (epoch, starts) = (queue.epoch + 1, queue.starts);
        *queue = Queue { epoch, starts, ..Queue::default() };
        self.local.need(self.replica.index, None);
    }

    /// Starts over: `pending` is what the replica lacks. Without `remote` nobody could look at it;
    /// with a `hole` it lacks more than is here. `lineage` is the history that goes on, if known.
    pub(crate) fn restart(
        &self,
        remote: Option<&Remote>,
        pending: Vec<Pending>,
        hole: bool,
        lineage: Option<u64>,
    ) {
        let mut queue = self.lock();
        let uploaded = remote.and_then(|remote| remote.last);
        let stored = remote.and_then(Remote::newest_txids);
        let oldest = pending.first().map(|pending| pending.since);
        let standing = match remote {
            None => Standing::Blind,
            Some(_) if hole => Standing::Behind,
            Some(_) => Standing::Open,
        };
        let (epoch, pending) = (queue.epoch + 1, pending.into());
        let starts = queue.starts.filter(|_| standing == Standing::Blind);
        *queue = Queue { pending, uploaded, stored, epoch, standing, starts, ..Queue::default() };
        drop(queue);
        match remote {
            Some(remote) => self.replica.begin(remote.inventory(lineage)),
            None => self.replica.unseen(),
        }
        let index = self.replica.index;
        match uploaded {
            Some(txid) => self.shared.replicated(index, txid, oldest),
            None => oldest.into_iter().for_each(|at| self.shared.staged(index, at)),
        }
        self.wake();
        self.replica.wake_keepers();
    }

    /// Whether only a snapshot can carry this replica on.
    pub(crate) fn is_behind(&self) -> bool {
        self.lock().standing == Standing::Behind
    }

    /// Whether a snapshot waits for its upload: no other one is needed then.
    pub(crate) fn carries_snapshot(&self) -> bool {
        self.lock().pending.iter().any(|pending| pending.level == Level::SNAPSHOT)
    }

    /// Whether the replica was looked at, so that it can be kept.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.lock().standing, Standing::Behind | Standing::Open)
    }

    /// A snapshot at this transaction was stored: if everything after it is here, uploads go on.
    pub(crate) fn bridged(&self, txid: Txid) {
        let mut queue = self.lock();
        if queue.standing != Standing::Behind || queue.given_up > Some(txid) {
            return;
        }
        queue.given_up = None;
        queue.pending.retain(|pending| pending.txids.max > txid);
        if queue.pending.front().is_some_and(|pending| pending.txids.min > txid.next()) {
            return;
        }
        tracing::warn!(replica = self.replica.storage.url(), %txid, "caught up by a snapshot");
        queue.standing = Standing::Open;
        queue.failures = 0;
        queue.uploaded = Some(txid);
        queue.stored = None;
        let oldest = queue.pending.front().map(|pending| pending.since);
        drop(queue);
        self.shared.replicated(self.replica.index, txid, oldest);
        // Who asked while it was behind is answered by the next look.
        self.shared.wake_capture();
        self.wake();
    }

    /// While the replica was not seen, nothing is uploaded: once it can be, everything starts
    /// over from what it holds.
    fn look(&self) -> Option<Next> {
        {
            let queue = self.lock();
            if queue.standing != Standing::Blind {
                return None;
            }
            // What can be seen from here does not always do for whoever starts over.
            let due = queue.starts.map(|(count, last)| last + backoff(count, MAX_START_BACKOFF));
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                return Some(Next::At(due));
            }
        }
        if let Err(error) = Remote::read(&*self.replica.storage) {
            return Some(self.failed(&error));
        }
        let mut queue = self.lock();
        if queue.standing == Standing::Blind {
            let count = queue.starts.map_or(0, |(count, _)| count);
            queue.starts = Some((count + 1, Instant::now()));
            self.shared.start_over();
        }
        Some(Next::WhenWoken)
    }

    /// Adds files to the end of the queue.
    pub(crate) fn push(&self, files: impl Iterator<Item = Pending>) {
        let mut queue = self.lock();
        let before = queue.pending.len();
        queue.pending.extend(files);
        let Some(first) = queue.pending.get(before).map(|pending| pending.since) else {
            return;
        };
        drop(queue);
        self.shared.staged(self.replica.index, first);
        self.wake();
    }

    /// There was nothing to capture at that moment. If somebody `asked`, the replica is asked too
    /// before that counts as replicated.
    pub(crate) fn nothing_new(&self, moment: Moment, asked: bool) {
        let mut queue = self.lock();
        if asked {
            self.wake();
        }
        if let Some(last) = queue.pending.back_mut() {
            last.covers = Some(moment);
        } else if queue.uploaded.is_some() && queue.standing == Standing::Open {
            if asked || queue.asked.is_some() {
                queue.asked = Some(moment);
            } else {
                drop(queue);
                self.shared.cover(self.replica.index, moment);
            }
        }
    }

    /// What goes next: one file, or several that the storage gets as one.
    fn next(&self) -> Option<(Vec<Pending>, u64)> {
        let queue = self.lock();
        if queue.standing != Standing::Open {
            return None;
        }
        let most = if self.replica.storage.is_metered() { MAX_BATCH } else { 1 };
        let mut next: Vec<Pending> = queue.pending.front().copied().into_iter().collect();
        let mut bytes = next.first().map_or(0, |first| self.size(first));
        for pending in queue.pending.iter().skip(1).take(most - 1) {
            let follows = next.last().is_some_and(|last| last.is_followed_by(pending));
            bytes += self.size(pending);
            if !follows || bytes > MAX_BATCH_BYTES {
                break;
            }
            next.push(*pending);
        }
        (!next.is_empty()).then_some((next, queue.epoch))
    }

    /// What is in the queue.
    pub(crate) fn backlog(&self) -> Backlog {
        let pending: Vec<Pending> = self.lock().pending.iter().copied().collect();
        let bytes = pending.iter().map(|file| self.size(file)).sum();
        Backlog { files: pending.len() as u64, bytes }
    }

    fn size(&self, file: &Pending) -> u64 {
        let path = self.local.path(file.level, file.txids);
        std::fs::metadata(path).map_or(0, |file| file.len())
    }

    /// How long the next upload has to wait so that there are not too many.
    fn pause_before_next(&self) -> Option<Instant> {
        let queue = self.lock();
        // What failed is tried again when its backoff says.
        let hurried = queue.hurried || queue.failures > 0;
        let free = !self.replica.storage.is_metered() || hurried || queue.pending.is_empty();
        let due = queue.last.map(|last| last + self.interval).filter(|_| !free)?;
        (due > Instant::now() && queue.pending.len() < MAX_BATCH).then_some(due)
    }

    /// Takes files off the queue, unless the queue was started over meanwhile.
    fn done(&self, files: &[Pending], object: Object, (epoch, holdings): (u64, u64)) {
        let mut queue = self.lock();
        if queue.epoch != epoch {
            return;
        }
        // Of several files those are left that could not be merged with the first.
        let count = files.iter().filter(|it| it.txids.max <= object.txids.max).count();
        // Taken from the queue, where the last one's moment may be a later one by now.
        let covered = queue.pending.drain(..count).filter_map(|done| done.covers).next_back();
        queue.failures = 0;
        queue.uploaded = queue.uploaded.max(Some(object.txids.max));
        if object.level == Level::L0 {
            queue.stored = Some(object.txids);
        }
        if queue.pending.is_empty() {
            queue.hurried = false;
        }
        let oldest_left = queue.pending.front().map(|pending| pending.since);
        // Before anybody may find the queue empty, and say what that means.
        self.shared.uploaded(self.replica.index);
        self.shared.replicated(self.replica.index, object.txids.max, oldest_left);
        drop(queue);
        self.replica.stored(object, holdings);
        if let Some(moment) = covered {
            self.shared.cover(self.replica.index, moment);
        }
    }

    fn failed(&self, error: &storage::Error) -> Next {
        let mut queue = self.lock();
        queue.failures += 1;
        let wait = backoff(queue.failures, MAX_BACKOFF).mul_f64(0.5 + fastrand::f64() / 2.0);
        drop(queue);
        let replica = self.replica.storage.url();
        tracing::error!(replica, %error, retry_in = ?wait, "upload failed");
        self.shared.upload_failed(self.replica.index, error.to_string());
        self.give_up_if_full();
        Next::At(Instant::now() + wait)
    }

    /// What waits for a replica that does not answer may not fill the disk: past the limit it is
    /// given up, and a snapshot carries the replica on when it answers again.
    pub(crate) fn give_up_if_full(&self) {
        self.sweep();
        if !self.local.is_full().unwrap_or(false) {
            return;
        }
        let mut queue = self.lock();
        let Some(last) = queue.pending.back().map(|pending| pending.txids.max) else { return };
        queue.pending.clear();
        queue.given_up = Some(last);
        queue.epoch += 1;
        if queue.standing == Standing::Open {
            queue.standing = Standing::Behind;
        }
        drop(queue);
        let replica = self.replica.storage.url();
        tracing::error!(replica, through = %last, "too much waits for this replica: it is given up, and a snapshot will catch up");
        self.local.need(self.replica.index, Some(Needs::after(last)));
        self.sweep();
        self.replica.wake_keepers();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads what is next, if there is anything.
    fn upload_next(&self) -> Result<Option<Txid>, storage::Error> {
        let Some((next, epoch)) = self.next() else { return Ok(None) };
        if !self.still_stands()? {
            return Ok(None);
        }
        self.lock().last = Some(Instant::now());
        let ((), holdings) = self.replica.plan(|_| ());
        match self.store(&next) {
            Ok(object) => {
                self.done(&next, object, (epoch, holdings));
                Ok(Some(object.txids.max))
            }
            Err(_) if self.lock().epoch != epoch => Ok(None),
            Err(error) => match (self.loss(&next, &error), error) {
                (Some(loss), _) => {
                    self.start_over(&loss, epoch);
                    Ok(None)
                }
                (None, Error::Storage(error)) => Err(error),
                (None, e) => Err(storage::Error::from_io("the local state", io::Error::other(e))),
            },
        }
    }

    /// Why these files cannot be uploaded any more, if that is what the error comes from.
    fn loss(&self, files: &[Pending], error: &Error) -> Option<String> {
        if files.iter().any(|it| !self.local.path(it.level, it.txids).exists()) {
            return Some("a captured file vanished before its upload".to_string());
        }
        if !is_perhaps_local(error) {
            return None;
        }
        let damages = files.iter().filter_map(|it| self.verify(it).err());
        damages.filter(|it| matches!(it, Error::Damaged { .. })).map(|it| it.to_string()).next()
    }

    /// Looks through a file, unless that was done a moment ago.
    fn verify(&self, file: &Pending) -> Result<(), Error> {
        let name = (file.level, file.txids);
        let looked = self.lock().sound.filter(|(known, _)| *known == name).map(|(_, at)| at);
        if looked.is_none_or(|at| at.elapsed() >= SOUND_FOR) {
            self.local.verify(name, |_, _| ())?;
            self.lock().sound = Some((name, Instant::now()));
        }
        Ok(())
    }

    fn store(&self, files: &[Pending]) -> Result<Object, Error> {
        let storage = &*self.replica.storage;
        let [file @ Pending { level, txids, created, .. }] = files else {
            let source = |it: &Pending| {
                let Pending { level, txids, created, .. } = *it;
                Object { level, txids, size: self.size(it), created }
            };
            let sources: Vec<Object> = files.iter().map(source).collect();
            let (sources, local) = (&sources[..], &*self.local);
            return Compaction { sources, level: Level::L0, local, storage, damaged: &[] }.run();
        };
        if file.since.elapsed() >= AGED {
            self.verify(file)?;
        }
        let path = self.local.path(*level, *txids);
        Ok(storage.put_file(*level, *txids, *created, &path)?)
    }

    /// Whether the replica still holds what it held last; else everything starts over.
    fn still_stands(&self) -> Result<bool, storage::Error> {
        let (stored, epoch) = {
            let queue = self.lock();
            (queue.stored, queue.epoch)
        };
        let Some(last) = stored else { return Ok(true) };
        let stands = self.replica.storage.still_holds(Level::L0, last)?;
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
            queue.asked = queue.asked.filter(|asked| asked.instant > moment.instant);
            if queue.asked.is_some() {
                self.wake();
            }
            drop(queue);
            self.shared.cover(self.replica.index, moment);
        }
        Ok(())
    }

    /// The replica is not what it was taken for.
    pub(crate) fn distrust(&self, reason: &str) {
        let epoch = self.lock().epoch;
        self.start_over(reason, epoch);
    }

    /// Has the database decide anew how the replica goes on.
    fn start_over(&self, reason: &str, epoch: u64) {
        let replica = self.replica.storage.url();
        tracing::error!(replica, reason, "the replica is looked at again");
        let mut queue = self.lock();
        if queue.epoch == epoch {
            *queue = Queue { epoch: epoch + 1, ..Queue::default() };
            self.shared.start_over();
        }
    }

    /// Uploads what is there. Gives the moment that the rest has to wait for.
    fn upload_all(&self) -> Result<Option<Instant>, storage::Error> {
        let mut pause = None;
        for count in 1.. {
            // Asked once: a moment later it may say that there is nothing to wait for.
            pause = self.pause_before_next();
            if pause.is_some() || self.upload_next()?.is_none() {
                break;
            }
            self.replica.wake_keepers();
            if count == DROP_EVERY {
                // Whoever is due goes first.
                return Ok(Some(Instant::now()));
            }
        }
        self.answer().map(|()| pause)
    }

    /// Removes the local files that nobody needs any more.
    pub(crate) fn sweep(&self) {
        if let Some(uploaded) = self.lock().complete_until() {
            self.local.need(self.replica.index, Some(self.replica.needs(uploaded)));
        }
        let captured = [Level::L0, Level::SNAPSHOT];
        if let Err(error) = captured.into_iter().try_for_each(|level| self.local.sweep(level)) {
            tracing::warn!(%error, "cannot remove files from the local state");
        }
    }
}

fn backoff(failures: u32, most: Duration) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(12)).min(most)
}

impl Job for Uploader {
    fn run(&self) -> Next {
        if let Some(next) = self.look() {
            return next;
        }
        let uploaded = self.upload_all();
        self.sweep();
        match uploaded {
            Ok(pause) => pause.map_or(Next::WhenWoken, Next::At),
            Err(error) => self.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests;
