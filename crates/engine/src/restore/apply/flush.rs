//! Keeping the disk busy while pages are still being decoded, so that the last sync finds little.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::work::{Failure, Shared};
use crate::restore::Error;

/// Bytes of files read between two syncs.
const EVERY: u64 = 64 << 20;

/// Counts what is done with, and tells the flusher when it is much.
pub(super) struct Written {
    bytes: AtomicU64,
    tick: Sender<()>,
}

impl Written {
    /// The counter, and what the flusher listens to.
    pub(super) fn new() -> (Written, Receiver<()>) {
        let (tick, ticks) = bounded(1);
        (Written { bytes: AtomicU64::new(0), tick }, ticks)
    }

    pub(super) fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY != (before + bytes) / EVERY {
            // A flusher that is still busy will take these bytes along next time.
            let _ = self.tick.try_send(());
        }
    }
}

/// Syncs what is written, time and again, until no more can come.
///
/// An error counts, since the system reports it only once.
pub(super) fn run(shared: &Shared<'_>, ticks: &Receiver<()>) {
    for () in ticks {
        if let Err(error) = shared.apply.out.sync_data() {
            shared.fail(Failure::of(Error::output(shared.apply.path, error)));
        }
    }
}
