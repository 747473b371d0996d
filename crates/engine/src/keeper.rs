//! The upkeep of one replica: files are compacted, and what is not needed any more goes.
//!
//! Every step is planned from the inventory alone. With nothing to do nothing is asked of the
//! storage, and nobody wakes up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ltx::Level;
use storage::Object;

use crate::Error;
use crate::compact::{Compaction, is_perhaps_local};
use crate::compaction::{self, Due};
use crate::local::Local;
use crate::replica::Replica;
use crate::retention::{self, Retention};
use crate::scheduler::{Job, Next};
use crate::shared::{Moment, Shared};
use crate::upload::Uploader;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// How often a refused deletion is tried again, and told of.
const REFUSED: Duration = Duration::from_secs(3600);
/// Most objects that are deleted at once.
const DELETE_BATCH: usize = 1000;

/// Compacts and deletes.
#[derive(Debug)]
pub(crate) struct Keeper {
    replica: Arc<Replica>,
    uploader: Arc<Uploader>,
    local: Arc<Local>,
    shared: Arc<Shared>,
    /// The intervals of levels 1 and up.
    levels: Vec<Duration>,
    retention: Retention,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For each level from 1 on, and for deletions: how it went last.
    compactions: Vec<Attempts>,
    deletions: Attempts,
}

#[derive(Clone, Debug, Default)]
struct Attempts {
    failures: u32,
    error: Option<String>,
    /// Not before this moment.
    after: Option<Instant>,
    /// Since when it is due.
    due: Option<Instant>,
}

impl Attempts {
    fn failed(&mut self, error: String, wait: Duration) {
        self.failures += 1;
        self.error = Some(error);
        self.after = Some(Instant::now() + wait);
    }

    fn backoff(&self) -> Duration {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10));
        doubled.min(MAX_BACKOFF).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn waits(&self) -> Option<Instant> {
        self.after.filter(|after| *after > Instant::now())
    }
}

impl Keeper {
    pub(crate) fn new(
        uploader: Arc<Uploader>,
        local: Arc<Local>,
        shared: Arc<Shared>,
        levels: Vec<Duration>,
        retention: Retention,
    ) -> Keeper {
        let replica = Arc::clone(&uploader.replica);
        let compactions = vec![Attempts::default(); levels.len()];
        let state = Mutex::new(State { compactions, ..State::default() });
        Keeper { replica, uploader, local, shared, levels, retention, state }
    }

    /// Compacts to a level as often as that is due. Says when to look again.
    fn keep_level(
        &self,
        level: Level,
        interval: Duration,
        attempts: &mut Attempts,
    ) -> Option<Instant> {
        loop {
            if let Some(after) = attempts.waits() {
                return Some(after);
            }
            let now = Instant::now();
            let (due, epoch) =
                self.replica.plan(|inventory| compaction::plan(inventory, level, interval, now));
            let sources = match due {
                Due::Now(sources) => sources,
                not_now => {
                    // What failed before is not to be done any more, but may soon fail again.
                    (attempts.error, attempts.due) = (None, None);
                    return not_now.moment();
                }
            };
            attempts.due.get_or_insert(now);
            match self.compact(&sources, level, epoch) {
                Ok(()) => *attempts = Attempts::default(),
                Err(error) => self.compaction_failed(level, &error, attempts),
            }
        }
    }

    fn compact(&self, sources: &[Object], level: Level, epoch: u64) -> Result<(), Error> {
        let storage = &*self.replica.storage;
        let (damaged, _) = self.replica.plan(|inventory| inventory.damaged_at(level));
        let (local, damaged) = (&*self.local, &damaged[..]);
        let compaction = Compaction { sources, level, local, storage, damaged };
        let object = match compaction.run() {
            Err(error) if is_perhaps_local(&error) => match self.local.first_damaged(sources) {
                Some(error) => {
                    tracing::error!(%error, "the replica's own is used instead");
                    compaction.run_carefully()
                }
                None => Err(error),
            },
            compacted => compacted,
        };
        let object = object.map_err(|error| self.blame(error, &compaction, epoch))?;
        self.replica.stored(object, epoch);
        tracing::debug!(replica = self.replica.storage.url(), %object, sources = sources.len(), "compacted");
        if usize::from(level.get()) == self.levels.len() {
            self.local.remove(&object)?;
        }
        self.uploader.sweep();
        Level::new(level.get() - 1).map_or(Ok(()), |below| self.local.sweep(below))
    }

    /// Finds out which source made it fail, and goes on without that.
    fn blame(&self, error: Error, of: &Compaction<'_>, epoch: u64) -> Error {
        if !error.is_content() {
            return error;
        }
        match of.find_damaged() {
            Ok(None) => error,
            Ok(Some((object, damage))) => {
                self.shared.count(|counts| counts.rotten += 1);
                self.replica.damaged(&object, epoch);
                self.replica.wake_keepers();
                damage
            }
            Err(unread) => unread,
        }
    }

    fn compaction_failed(&self, level: Level, error: &Error, attempts: &mut Attempts) {
        let (replica, wait) = (self.replica.storage.url(), attempts.backoff());
        tracing::error!(replica, %level, %error, retry_in = ?wait, "compaction failed");
        attempts.failed(error.to_string(), wait);
        if let Error::Storage(storage::Error::NotFound { .. }) = error {
            self.shared.count(|counts| counts.rotten += 1);
            // Something is not as we know it: the replica is looked at again, and healed.
            self.uploader.distrust(&error.to_string());
        }
    }

    /// Deletes what has expired. Says when to look again.
    fn expire(&self, attempts: &mut Attempts) -> Option<Instant> {
        if let Some(after) = attempts.waits() {
            return Some(after);
        }
        let (expired, epoch) = self
            .replica
            .plan(|inventory| retention::plan(inventory, &self.retention, Moment::now()));
        for objects in expired.objects.chunks(DELETE_BATCH) {
            let names: Vec<_> = objects.iter().map(|it| (it.level, it.txids)).collect();
            match self.replica.storage.delete(&names) {
                Ok(()) => self.replica.deleted(objects, epoch),
                Err(error) => {
                    let replica = self.replica.storage.url();
                    let wait = match error {
                        storage::Error::Denied { .. } => REFUSED,
                        _ => attempts.backoff(),
                    };
                    tracing::warn!(replica, %error, retry_in = ?wait, "expired files cannot be deleted; replication goes on");
                    attempts.failed(error.to_string(), wait);
                    return attempts.after;
                }
            }
        }
        *attempts = Attempts::default();
        expired.next
    }
}

impl Job for Keeper {
    fn run(&self) -> Next {
        if !self.uploader.is_settled() {
            return Next::WhenWoken;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { compactions, deletions } = &mut *state;
        let levels = (1..).filter_map(Level::new);
        let mut next: Option<Instant> = None;
        let mut look_at = |moment: Option<Instant>| {
            next = next.into_iter().chain(moment).min();
        };
        for ((level, interval), attempts) in levels.zip(&self.levels).zip(compactions.iter_mut()) {
            look_at(self.keep_level(level, *interval, attempts));
        }
        look_at(self.expire(deletions));
        let overdue = compactions.iter().filter_map(|it| it.due).min();
        let all = compactions.iter().chain([&*deletions]);
        let error = all.filter_map(|it| it.error.clone()).next();
        self.shared.kept(self.replica.index, overdue, error);
        next.map_or(Next::WhenWoken, Next::At)
    }
}
