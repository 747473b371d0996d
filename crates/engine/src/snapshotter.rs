//! Makes the snapshots of one replica.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ltx::{Level, Txid, TxidRange};
use storage::Object;

use crate::Error;
use crate::local::Local;
use crate::replica::Replica;
use crate::scheduler::{Job, Next};
use crate::shared::{Moment, Shared};
use crate::snapshot::{self, Source};
use crate::upload::Uploader;
use crate::views::Views;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10 * 60);

/// Stores a snapshot when one is due, or when only that can carry the replica on.
#[derive(Debug)]
pub(crate) struct Snapshotter {
    replica: Arc<Replica>,
    uploader: Arc<Uploader>,
    local: Arc<Local>,
    shared: Arc<Shared>,
    views: Arc<Views>,
    interval: Duration,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    after: Option<Instant>,
}

impl Snapshotter {
    pub(crate) fn new(
        uploader: Arc<Uploader>,
        local: Arc<Local>,
        shared: Arc<Shared>,
        views: Arc<Views>,
        interval: Duration,
    ) -> Snapshotter {
        let replica = Arc::clone(&uploader.replica);
        let failures = Mutex::default();
        Snapshotter { replica, uploader, local, shared, views, interval, failures }
    }

    /// Does what is due, and says when to look again.
    fn keep(&self) -> Result<Next, Error> {
        let behind = self.uploader.is_behind();
        if !behind && self.uploader.carries_snapshot() {
            return Ok(Next::WhenWoken);
        }
        let now = Moment::now();
        let (due, epoch) =
            self.replica.plan(|inventory| snapshot::due(inventory, self.interval, now));
        let due = if behind { Some(now.instant) } else { due };
        match due {
            None => return Ok(Next::WhenWoken),
            Some(due) if due > now.instant => return Ok(Next::At(due)),
            Some(_) => {}
        }
        if !behind && let Some(object) = self.store_first()? {
            self.stored(object, epoch);
            return Ok(Next::At(Instant::now()));
        }
        let index = self.replica.index;
        let Some(source) = self.views.take(index) else {
            if !self.views.has_asked(index) {
                self.probe()?;
                self.views.ask(index);
            }
            self.shared.wake_capture();
            return Ok(Next::WhenWoken);
        };
        let object = self.store(&source)?;
        drop(source);
        self.stored(object, epoch);
        self.uploader.bridged(object.txids.max);
        Ok(Next::At(Instant::now()))
    }

    /// The first captured file is a whole database: as long as it is here, it is the first
    /// snapshot too.
    fn store_first(&self) -> Result<Option<Object>, Error> {
        let txids = TxidRange::single(Txid::FIRST);
        let first = |object: &&Object| object.level == Level::L0 && object.txids == txids;
        let (first, _) = self.replica.plan(|inventory| match inventory.newest_snapshot() {
            None if !inventory.is_borrowed() => inventory.objects().find(first).copied(),
            _ => None,
        });
        let Some(first) = first else { return Ok(None) };
        let path = self.local.path(Level::L0, txids);
        if std::fs::metadata(&path).map_or(true, |file| file.len() != first.size) {
            return Ok(None);
        }
        let storage = &*self.replica.storage;
        Ok(Some(storage.put_file(Level::SNAPSHOT, txids, first.created, &path)?))
    }

    /// Before the WAL is held for it, whether the storage answers at all.
    fn probe(&self) -> Result<(), Error> {
        let newest = Txid::new(u64::MAX).unwrap_or(Txid::FIRST);
        self.replica.storage.list(Level::SNAPSHOT, newest)?;
        Ok(())
    }

    fn store(&self, source: &Source) -> Result<Object, Error> {
        let replica = self.replica.storage.url();
        let started = Instant::now();
        tracing::debug!(replica, txid = %source.txid, "snapshot begun");
        let object = source.store(&*self.replica.storage)?;
        tracing::info!(replica, %object, took = ?started.elapsed(), "snapshot stored");
        Ok(object)
    }

    fn stored(&self, object: Object, epoch: u64) {
        self.replica.stored(object, epoch);
        self.shared.snapshot_failed(self.replica.index, None);
        self.shared.snapshot_stored(self.replica.index, object.txids.max);
        self.uploader.sweep();
        self.replica.wake_keepers();
    }

    fn failed(&self, error: &Error, failures: &mut Failures) -> Next {
        failures.count += 1;
        let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.count.min(12));
        let wait = doubled.min(MAX_BACKOFF).mul_f64(0.5 + fastrand::f64() / 2.0);
        let replica = self.replica.storage.url();
        tracing::error!(replica, %error, retry_in = ?wait, "snapshot failed");
        if let Error::Discontinuity(_) = error {
            self.shared.doubt(error.to_string());
        }
        self.shared.snapshot_failed(self.replica.index, Some(error.to_string()));
        self.uploader.give_up_if_full();
        let after = Instant::now() + wait;
        failures.after = Some(after);
        Next::At(after)
    }
}

impl Job for Snapshotter {
    fn run(&self) -> Next {
        if !self.uploader.is_settled() {
            return Next::WhenWoken;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(after) = failures.after.filter(|after| *after > Instant::now()) {
            return Next::At(after);
        }
        match self.keep() {
            Ok(next) => {
                *failures = Failures::default();
                next
            }
            Err(error) => self.failed(&error, &mut failures),
        }
    }
}
