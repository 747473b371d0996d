//! Snapshots beside running replication: when one is due, and how it is made of a view of the
//! database and goes straight to storage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ltx::{Encoder, Header, Level, RollingSum, Tag, Timestamp, Txid, TxidRange};
use sqlite::PinnedView;
use storage::{Object, Storage};

use crate::Error;
use crate::image;
use crate::inventory::Inventory;
use crate::retention::age;
use crate::shared::Moment;

/// A snapshot is due once a restore has to read this many times as much on top of it.
const LOG_FACTOR: u64 = 4;
/// But not before it has to read this many bytes.
const LOG_MIN: u64 = 64 << 20;

/// When the next snapshot is due; never, if the newest one holds everything. What another program
/// made proves nothing, so the first one after it does not wait.
pub(crate) fn due(inventory: &Inventory, interval: Duration, now: Moment) -> Option<Instant> {
    if inventory.is_borrowed() {
        return Some(now.instant);
    }
    let last = Level::all().filter_map(|level| inventory.last(level)).max()?;
    let Some(newest) = inventory.newest_snapshot() else { return Some(now.instant) };
    if newest.object.txids.max >= last {
        return None;
    }
    if inventory.log_bytes() > LOG_MIN.max(newest.object.size.saturating_mul(LOG_FACTOR)) {
        return Some(now.instant);
    }
    let by_clock = now.instant + interval.saturating_sub(age(newest.object.created, now.time));
    // A clock that went back makes it no younger.
    Some(by_clock.min(newest.since + interval))
}

/// The database at one captured transaction.
#[derive(Debug)]
pub(crate) struct Source {
    view: PinnedView,
    pub(crate) txid: Txid,
    timestamp: Timestamp,
    /// What the pages must add up to, if that is known.
    tag: Option<Tag>,
    recalled: AtomicBool,
    /// Dropped last: as long as it stands, files of the view may be open.
    open: Arc<()>,
}

impl Source {
    pub(crate) fn new(
        view: PinnedView,
        txid: Txid,
        timestamp: Timestamp,
        tag: Option<Tag>,
    ) -> Self {
        Source {
            view,
            txid,
            timestamp,
            tag,
            recalled: AtomicBool::new(false),
            open: Arc::default(),
        }
    }

    /// Stands as long as the view's files are open.
    pub(crate) fn open(&self) -> Weak<()> {
        Arc::downgrade(&self.open)
    }

    /// Somebody needs the database for something else: what is being made of it is given up.
    pub(crate) fn recall(&self) {
        self.recalled.store(true, Ordering::Relaxed);
    }

    fn header(&self, pages: u32) -> Header {
        let txids = TxidRange { min: Txid::FIRST, max: self.txid };
        let mut header = Header::new(self.view.page_size(), pages, txids, self.timestamp);
        if let Some(tag) = self.tag {
            header.set_tag(tag);
        }
        header
    }

    /// Stores the snapshot. Nothing is stored unless it is the state that was captured.
    pub(crate) fn store(&self, storage: &dyn Storage) -> Result<Object, Error> {
        let view = self.view.view()?;
        let header = self.header(view.pages());
        let upload = storage.create(Level::SNAPSHOT, header.txids, self.timestamp)?;
        let mut encoder = Encoder::new(upload, header)?;
        let mut sum = RollingSum::new();
        image::for_each_piece(&view, None, |piece| {
            if self.recalled.load(Ordering::Relaxed) {
                return Err(Error::Recalled);
            }
            piece.sums.iter().flatten().for_each(|page| sum.add(*page));
            Ok(encoder.append(&piece.run)?)
        })?;
        if self.tag.is_some_and(|tag| tag.sum != sum.checksum()) {
            return Err(Error::Discontinuity(format!(
                "the pages of the database are not what was captured up to {}",
                self.txid
            )));
        }
        let (upload, _) = encoder.finish()?;
        Ok(upload.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::inventory::tests::object;

    #[test]
    fn one_from_the_future_puts_the_next_off_by_an_interval_at_most() {
        const INTERVAL: Duration = Duration::from_secs(60);
        let listed = Instant::now();
        let inventory = Inventory::listed(&[object(9, 1, 10), object(0, 11, 11)], listed);
        let after = |seconds| Moment {
            instant: listed + Duration::from_secs(seconds),
            time: SystemTime::UNIX_EPOCH,
        };
        for seconds in [0, 30, 90] {
            let due = due(&inventory, INTERVAL, after(seconds));
            assert_eq!(due, Some(listed + INTERVAL), "after {seconds} s");
        }
    }
}
