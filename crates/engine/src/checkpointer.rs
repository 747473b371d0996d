//! Keeps the WAL small without stopping the writer, or for moments only.
//!
//! The application cannot checkpoint past our pin, so we do it, and only ever `PASSIVE`: after a
//! rotation of the pin everything captured may be copied into the database file; when all of it
//! is, a second rotation parks the pin so that the next writer starts the WAL anew. Under a writer
//! that never pauses that moment does not come by itself: past a hard limit the write lock is
//! held for as long as the short rest of the WAL takes.

use std::time::{Duration, Instant};

use ltx::PageSize;
use sqlite::wal::frame_offset;
use sqlite::{Live, Tip};

use crate::Error;
use crate::capture::History;
use crate::local::Local;
use crate::position::{Advance, Position};

/// WAL bytes past which writers are stopped for a moment.
const HARD_LIMIT: u64 = 16 << 20;
/// WAL bytes past which nothing is prepared any more: writers are stopped, for longer if need be.
const URGENT_LIMIT: u64 = 32 << 20;
/// WAL bytes after which they are written to disk ahead of a checkpoint that will wait for them.
/// Smaller pieces slow the writer down more than they shorten the last one.
const WRITE_BEHIND: u64 = 6 << 20;
/// Bytes that may be left to do while writers are stopped.
const SHORT_REST: u64 = 2 << 20;
/// A sync that took no longer leaves little to sync after it.
const SHORT_SYNC: Duration = Duration::from_millis(3);
/// Rounds that try to make the rest that short.
const ROUNDS: u32 = 4;
/// How long to try for the write lock.
const PATIENCE: Duration = Duration::from_millis(25);
/// After a try in vain.
const HARD_RETRY: Duration = Duration::from_millis(20);
/// After a checkpoint that other readers kept from finishing.
const SOFT_RETRY: Duration = Duration::from_secs(1);

/// When the WAL is to be copied back and started anew.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    soft_frames: u32,
    interval: Option<Duration>,
    last: Instant,
    not_before: Instant,
    parked: Option<Position>,
    /// End of the part of the WAL that was written to disk.
    written: u64,
    /// Tries in a row that did not end in a WAL that is copied back whole.
    misses: u32,
}

/// How urgent a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// There is nothing to gain.
    None,
    /// When it costs nobody anything.
    Soft,
    /// Now.
    Hard,
}

impl Checkpointer {
    pub(crate) fn new(soft_frames: u32, interval: Option<Duration>, now: Instant) -> Self {
        Checkpointer {
            soft_frames,
            interval,
            last: now,
            not_before: now,
            parked: None,
            written: 0,
            misses: 0,
        }
    }

    /// How urgent a checkpoint is with a WAL that ends at `tip`.
    pub(crate) fn urgency(&self, page_size: PageSize, tip: &Tip, now: Instant) -> Urgency {
        if tip.frame == 0 || now < self.not_before || self.parked == Some(Position::at(tip)) {
            return Urgency::None;
        }
        let due = self.interval.is_some_and(|interval| now >= self.last + interval);
        if frame_offset(page_size, tip.frame + 1) >= HARD_LIMIT {
            Urgency::Hard
        } else if tip.frame >= self.soft_frames || due {
            Urgency::Soft
        } else {
            Urgency::None
        }
    }

    /// Writes a growing WAL to disk in pieces, so that no checkpoint has to wait for all of it.
    pub(crate) fn write_behind(&mut self, live: &Live, tip: &Tip) -> Result<(), Error> {
        let end = frame_offset(live.page_size(), tip.frame + 1);
        if end < self.written {
            self.written = 0;
        }
        if end >= HARD_LIMIT / 3 && end - self.written >= WRITE_BEHIND {
            live.wal().sync()?;
            self.written = end;
        }
        Ok(())
    }

    /// Copies back what is captured, and parks the pin if nothing is left.
    pub(crate) fn soft(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
    ) -> Result<(), Error> {
        self.last = Instant::now();
        rotate(live, history, local)?;
        self.copy_back(live, history, local)?;
        if self.parked != Some(history.position) {
            self.not_before = self.last + SOFT_RETRY;
        }
        Ok(())
    }

    /// Does the same with writers stopped for the last part of it.
    pub(crate) fn hard(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
    ) -> Result<(), Error> {
        self.last = Instant::now();
        for _ in 0..ROUNDS {
            rotate(live, history, local)?;
            live.checkpoint()?;
            let tip = live.tip()?;
            let rest = tip.frame.saturating_sub(history.position.frame);
            let short = frame_offset(live.page_size(), rest + 1) <= SHORT_REST;
            if short || is_urgent(live, &tip) {
                break;
            }
        }
        // SQLite syncs the database only when all is copied back, under the lock in our case.
        for _ in 0..ROUNDS {
            if is_urgent(live, &live.tip()?) {
                break;
            }
            let began = Instant::now();
            live.file().sync()?;
            live.wal().sync()?;
            if began.elapsed() < SHORT_SYNC {
                break;
            }
        }
        let mut held = Duration::ZERO;
        let stopped = live.with_writers_stopped(PATIENCE, |live| {
            let began = Instant::now();
            move_pin(live, history, local)?;
            let copied = self.copy_back(live, history, local);
            held = began.elapsed();
            copied
        })?;
        history.sync(local)?;
        if self.parked == Some(history.position) {
            self.misses = 0;
        } else {
            let wait = HARD_RETRY.saturating_mul(1 << self.misses.min(6));
            self.not_before = Instant::now() + wait;
            self.misses += 1;
        }
        tracing::debug!(
            db = %live.path().display(), ?held, stopped = stopped.is_some(),
            "writers stopped for a checkpoint"
        );
        Ok(())
    }

    /// Copies the WAL back as far as the pin allows. If that is all of it, a rotation lets the
    /// next writer start the WAL anew.
    fn copy_back(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
    ) -> Result<(), Error> {
        if !live.checkpoint()?.is_complete() {
            return Ok(());
        }
        move_pin(live, history, local)?;
        if live.backfilled()? == history.position.frame {
            self.parked = Some(history.position);
        }
        Ok(())
    }
}

fn is_urgent(live: &Live, tip: &Tip) -> bool {
    frame_offset(live.page_size(), tip.frame + 1) >= URGENT_LIMIT
}

/// Moves the pin to the tip, and makes everything up to it durable.
fn rotate(live: &mut Live, history: &mut History, local: &Local) -> Result<(), Error> {
    move_pin(live, history, local)?;
    history.sync(local)
}

/// Moves the pin to the tip. Everything up to it is captured before the old pin goes: what that
/// one kept may be overwritten afterwards.
///
/// A power cut may take the captured file, but then the database has its pages: they were synced
/// by the checkpoint that allowed the overwriting, and are found by comparing.
fn move_pin(live: &mut Live, history: &mut History, local: &Local) -> Result<(), Error> {
    live.rotate(|live, tip| match history.position.advance_pinned(&tip) {
        Advance::None => {
            history.position = Position::at(&tip);
            Ok(())
        }
        Advance::After(frame) => history.capture(live, local, &tip, frame),
        Advance::Broken(reason) => Err(Error::Discontinuity(reason)),
    })
}

/// Lets SQLite mend a WAL-index that a writer left half written when it died.
pub(crate) fn mend(live: &mut Live, history: &mut History, local: &Local) -> Result<(), Error> {
    live.hold_checkpoints(false);
    rotate(live, history, local)
}
