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

/// WAL bytes past which writers are stopped for a moment. A commit costs its writer more while the
/// WAL is being written to the disk than the moments cost, so they are few.
const HARD_LIMIT: u64 = 24 << 20;
/// WAL bytes past which nothing is prepared any more: writers are stopped, for longer if need be.
const URGENT_LIMIT: u64 = 32 << 20;
/// Bytes of the WAL that are written to the disk together, ahead of the checkpoint that would wait
/// for them.
const PIECE: u64 = 1 << 20;
/// Bytes that may be left to write to the disk while writers are stopped.
const SHORT_REST: u64 = 512 << 10;
/// Tries to leave no more. A fast writer adds about as much as each of them writes.
const WRITES: u32 = 2;
/// Pages that may be left to copy back while writers are stopped.
const FEW_PAGES: usize = 512;
/// Checkpoints beside the writers that are to leave no more.
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
    /// When it may be tried again.
    soft_from: Instant,
    hard_from: Instant,
    parked: Option<Position>,
    /// End of the part of the WAL that was written to disk.
    written: u64,
    /// How long writers were stopped, since somebody last took note.
    pub(crate) held: Option<Duration>,
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

/// Frames in a millisecond that are fast.
pub(crate) const FAST_GROWTH: u32 = 8;

/// How fast commits come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With gaps in which a checkpoint may be finished.
    Slow,
    /// Without.
    Fast,
}

impl Pace {
    /// How fast they came between two moments.
    pub(crate) fn between(before: &Tip, now: &Tip, elapsed: Duration) -> Pace {
        // Of a WAL that has started anew since, what is in it now.
        let known = if before.salts == now.salts { before.frame } else { 0 };
        let frames = now.frame.abs_diff(known);
        match u128::from(frames) >= u128::from(FAST_GROWTH) * elapsed.as_millis().max(1) {
            true => Pace::Fast,
            false => Pace::Slow,
        }
    }
}

/// Why a WAL is not copied back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It is.
    Nothing,
    /// More was committed meanwhile.
    Commits,
    /// Other readers need what it would overwrite, which no stop of the writers changes.
    Readers,
}

impl Checkpointer {
    pub(crate) fn new(soft_frames: u32, interval: Option<Duration>, now: Instant) -> Self {
        Checkpointer {
            soft_frames,
            interval,
            last: now,
            soft_from: now,
            hard_from: now,
            parked: None,
            written: 0,
            held: None,
            misses: 0,
        }
    }

    /// How urgent a checkpoint is with a WAL that ends at `tip`.
    pub(crate) fn urgency(&self, page_size: PageSize, tip: &Tip, now: Instant) -> Urgency {
        if tip.frame == 0 || self.parked == Some(Position::at(tip)) {
            return Urgency::None;
        }
        let due = self.interval.is_some_and(|interval| now >= self.last + interval);
        if frame_offset(page_size, tip.frame + 1) >= HARD_LIMIT && now >= self.hard_from {
            Urgency::Hard
        } else if (tip.frame >= self.soft_frames || due) && now >= self.soft_from {
            Urgency::Soft
        } else {
            Urgency::None
        }
    }

    /// Writes a growing WAL to the disk in pieces, so that no checkpoint has to wait for all of it.
    pub(crate) fn write_behind(&mut self, live: &Live, tip: &Tip) -> Result<(), Error> {
        let end = frame_offset(live.page_size(), tip.frame + 1);
        let start = if end < self.written { 0 } else { self.written };
        if end - start >= PIECE {
            self.write_out(live, tip)?;
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
        if self.copy_back(live, history, local)? != Left::Nothing {
            self.soft_from = self.last + SOFT_RETRY;
        }
        Ok(())
    }

    /// Does the same, and stops writers for the last part of it if they leave no gap.
    pub(crate) fn hard(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
        pace: Pace,
    ) -> Result<(), Error> {
        self.last = Instant::now();
        let mut left = Left::Commits;
        if pace == Pace::Slow {
            for _ in 0..ROUNDS {
                let (began, before) = (Instant::now(), live.tip()?);
                rotate(live, history, local)?;
                left = self.copy_back(live, history, local)?;
                if left == Left::Readers && met_writer(live, &before, began.elapsed())? {
                    left = Left::Commits;
                    break;
                }
                if left != Left::Commits {
                    break;
                }
            }
        }
        if left == Left::Commits {
            left = self.stopping_writers(live, history, local)?;
        }
        if left == Left::Nothing {
            self.misses = 0;
        } else {
            let wait = HARD_RETRY.saturating_mul(1 << self.misses.min(6));
            self.hard_from = Instant::now() + wait;
            self.misses += 1;
        }
        Ok(())
    }

    fn stopping_writers(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
    ) -> Result<Left, Error> {
        for _ in 0..ROUNDS {
            self.write_out_rest(live)?;
            let tip = live.tip()?;
            if live.changes(live.backfilled()?, &tip)?.len() <= FEW_PAGES || is_urgent(live, &tip) {
                break;
            }
            move_pin(live, history, local)?;
            live.checkpoint()?;
        }
        let mut held = Duration::ZERO;
        let stopped = live.with_writers_stopped(PATIENCE, |live| {
            let began = Instant::now();
            move_pin(live, history, local)?;
            let left = self.copy_back(live, history, local);
            held = began.elapsed();
            left
        })?;
        self.held = stopped.map(|_| held);
        history.sync(local)?;
        tracing::debug!(
            db = %live.path().display(), ?held, left = ?stopped,
            "writers stopped for a checkpoint"
        );
        Ok(stopped.unwrap_or(Left::Commits))
    }

    /// Leaves little for the next sync of the WAL to wait for.
    fn write_out_rest(&mut self, live: &Live) -> Result<(), Error> {
        for _ in 0..WRITES {
            let tip = live.tip()?;
            let rest = self.write_out(live, &tip)?;
            if rest <= SHORT_REST || is_urgent(live, &tip) {
                break;
            }
        }
        Ok(())
    }

    /// Writes what was added to the WAL to the disk, and says how much that was.
    fn write_out(&mut self, live: &Live, tip: &Tip) -> Result<u64, Error> {
        let end = frame_offset(live.page_size(), tip.frame + 1);
        let start = if end < self.written { 0 } else { self.written };
        live.wal().write_out(start..end);
        // The database has next to nothing to write; the disk's own cache is what is emptied.
        live.file().sync()?;
        self.written = end;
        Ok(end - start)
    }

    /// Copies the WAL back as far as the pin allows. If that is all of it, a rotation lets the
    /// next writer start the WAL anew.
    fn copy_back(
        &mut self,
        live: &mut Live,
        history: &mut History,
        local: &Local,
    ) -> Result<Left, Error> {
        if !live.checkpoint()?.is_complete() {
            let blocked = live.backfilled()? < history.position.frame;
            return Ok(if blocked { Left::Readers } else { Left::Commits });
        }
        move_pin(live, history, local)?;
        if live.backfilled()? != history.position.frame {
            return Ok(Left::Commits);
        }
        self.parked = Some(history.position);
        Ok(Left::Nothing)
    }
}

/// Whether the reader that a checkpoint met is the writer itself, at a commit that came meanwhile: a
/// disk that was busy for a moment makes a fast one look slow.
fn met_writer(live: &Live, before: &Tip, elapsed: Duration) -> Result<bool, Error> {
    let tip = live.tip()?;
    let is_late = tip.salts == before.salts && live.backfilled()? >= before.frame;
    Ok(is_late && Pace::between(before, &tip, elapsed) == Pace::Fast)
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

#[cfg(test)]
mod tests {
    use sqlite::{Salts, WalChecksum};

    use super::*;

    fn tip(salt: u32, frame: u32) -> Tip {
        Tip { salts: Salts(salt, salt), frame, checksum: WalChecksum(1, 1), pages: 9, change: 1 }
    }

    #[test]
    fn a_wal_that_starts_anew_makes_no_writer_look_slow() {
        let ms = Duration::from_millis;
        let pace = |before, now, elapsed| Pace::between(&before, &now, ms(elapsed));
        assert_eq!(pace(tip(1, 1000), tip(1, 1080), 10), Pace::Fast);
        assert_eq!(pace(tip(1, 1000), tip(1, 1079), 10), Pace::Slow);
        assert_eq!(pace(tip(1, 1000), tip(2, 1000), 10), Pace::Fast);
        assert_eq!(pace(tip(1, 1000), tip(2, 10), 10), Pace::Slow);
    }

    #[test]
    fn what_is_urgent_waits_for_nothing_that_is_not() {
        let (now, size) = (Instant::now(), PageSize::new(4096).unwrap());
        let mut checkpointer = Checkpointer::new(1000, None, now);
        let tip = |frame| tip(1, frame);
        let large = (HARD_LIMIT / 4096) as u32;
        assert_eq!(checkpointer.urgency(size, &tip(999), now), Urgency::None);
        assert_eq!(checkpointer.urgency(size, &tip(1000), now), Urgency::Soft);
        checkpointer.soft_from = now + SOFT_RETRY;
        assert_eq!(checkpointer.urgency(size, &tip(1000), now), Urgency::None);
        assert_eq!(checkpointer.urgency(size, &tip(large), now), Urgency::Hard);
        checkpointer.hard_from = now + HARD_RETRY;
        assert_eq!(checkpointer.urgency(size, &tip(large), now), Urgency::None);
        assert_eq!(checkpointer.urgency(size, &tip(large), now + HARD_RETRY), Urgency::Hard);
    }
}
