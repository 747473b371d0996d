//! A barrier: what stands in the pin's place while checkpoints are left to the application.
//!
//! It is a shared lock on a read mark that no reader uses. Whoever would start the WAL anew needs
//! all marks for itself, so that no frame is overwritten; but only the *value* of a mark limits how
//! much may be copied back, and an unused one has none. So the application copies its WAL back by
//! itself. To let it start anew, the lock of READ0 is taken in a moment at which everything is
//! copied back and captured: from then on nothing more can be copied back, hence nothing that is
//! committed later be overwritten, as under every parked pin. No writer is stopped for any of it.

use std::time::{Duration, Instant};

use super::{Live, begin, end};
use crate::shm_lock::{self, Lock};
use crate::{Error, Result, Tip};

/// Marks to try; the last ones are the last that readers take.
const MARKS: [u8; 3] = [4, 3, 2];
const READ0: Lock = Lock::Mark(0);
/// How long to look whether the WAL starts anew, before the application is taken to pause.
const SETTLE: Duration = Duration::from_micros(100);
/// How long a checkpoint of the application may take, and for each page: one that syncs takes longer.
const COPY_PATIENCE: Duration = Duration::from_millis(1);
const PAGE_PATIENCE: Duration = Duration::from_micros(4);

/// What stands in the pin's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barrier {
    /// The lock of an unused mark.
    Mark(u8),
    /// The lock of READ0: the WAL may start anew once.
    Parked,
}

/// What came of an attempt to let the WAL start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It may, from this tip on, unless a commit was faster.
    Allowed(Tip),
    /// The application has not begun to copy back.
    Early,
    /// There was no moment for it.
    Missed,
    /// The application takes its time to copy back.
    Slow,
}

impl Live {
    /// Lets the application checkpoint: a barrier takes the pin's place. `false`: there is no mark
    /// to be had, and what stood before stays.
    pub fn give_way(&mut self) -> Result<bool> {
        if matches!(self.barrier, Some(Barrier::Mark(_))) {
            return Ok(true);
        }
        self.hold_checkpoints(false);
        for mark in MARKS {
            if !shm_lock::take(&self.writer, Lock::Mark(mark)) {
                continue;
            }
            // Only who has it for itself may change its value, so it stays as it is from here on.
            let unused = self.index.is_unused(mark);
            if !matches!(unused, Ok(true)) {
                shm_lock::give_back(&self.writer, Lock::Mark(mark));
                unused?;
                continue;
            }
            match self.barrier.replace(Barrier::Mark(mark)) {
                Some(_) => shm_lock::give_back(&self.writer, READ0),
                None => end(&self.pin, &self.path)?,
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether a barrier stands in the pin's place.
    pub fn gave_way(&self) -> bool {
        self.barrier.is_some()
    }

    /// Takes a pin again, lets `capture` save everything up to the tip that it is given, and only
    /// then gives up the barrier. If `capture` fails, the barrier stays.
    pub fn take_back<T, E: From<Error>>(
        &mut self,
        capture: impl FnOnce(&Live, Tip) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        begin(&self.pin, &self.path)?;
        let captured = self.tip().map_err(E::from).and_then(|tip| capture(self, tip));
        match captured {
            Ok(_) => self.replace_barrier(None),
            Err(_) => end(&self.pin, &self.path)?,
        }
        captured
    }

    /// Lets the next writer start the WAL anew, once everything in it is copied back and saved by
    /// `capture`, which is called for each tip on the way there.
    pub fn let_restart<E: From<Error>>(
        &mut self,
        patience: Duration,
        mut capture: impl FnMut(&Live, Tip) -> std::result::Result<(), E>,
    ) -> std::result::Result<Restart, E> {
        capture(self, self.tip()?)?;
        if let Some(restart) = self.await_copying(Instant::now() + patience)? {
            return Ok(restart);
        }
        let began = Instant::now();
        while matches!(self.barrier, Some(Barrier::Mark(_))) && began.elapsed() < patience {
            let tip = self.tip()?;
            capture(self, tip)?;
            let asked = Instant::now();
            // Whoever copies back has it for itself.
            while !shm_lock::take(&self.writer, READ0) {
                if asked.elapsed() >= COPY_PATIENCE {
                    return Ok(Restart::Slow);
                }
                std::thread::yield_now();
            }
            let stands = self.is_copied(&tip);
            if !matches!(stands, Ok(true)) {
                shm_lock::give_back(&self.writer, READ0);
                stands?;
                continue;
            }
            self.replace_barrier(Some(Barrier::Parked));
            if !self.was_too_late(&tip)? || !self.give_way()? {
                return Ok(Restart::Allowed(tip));
            }
        }
        Ok(Restart::Missed)
    }

    /// Whether all up to this tip is copied back, and it is still the last commit.
    fn is_copied(&self, tip: &Tip) -> Result<bool> {
        Ok(self.index.backfilled()? == tip.frame && self.tip()? == *tip)
    }

    /// Whether the next commit had begun before the barrier fell: it is behind the others then.
    fn was_too_late(&self, tip: &Tip) -> Result<bool> {
        let began = Instant::now();
        loop {
            let now = self.tip()?;
            if now != *tip {
                return Ok(now.salts == tip.salts);
            }
            if began.elapsed() >= SETTLE {
                return Ok(false);
            }
            std::thread::yield_now();
        }
    }

    /// Waits for the first checkpoint of the application to begin, and to end.
    fn await_copying(&self, deadline: Instant) -> Result<Option<Restart>> {
        let mut begun: Option<(Instant, Duration)> = None;
        while self.index.backfilled()? == 0 {
            let now = Instant::now();
            match begun {
                Some((since, patience)) if now >= since + patience => {
                    return Ok(Some(Restart::Slow));
                }
                None if self.index.backfill_attempted()? > 0 => {
                    let pages = self.index.last_frames(0, self.tip()?.frame)?.len();
                    begun = Some((now, COPY_PATIENCE + PAGE_PATIENCE * pages as u32));
                }
                None if now >= deadline => return Ok(Some(Restart::Early)),
                _ => std::thread::yield_now(),
            }
        }
        Ok(None)
    }

    pub(super) fn replace_barrier(&mut self, barrier: Option<Barrier>) {
        let lock = match std::mem::replace(&mut self.barrier, barrier) {
            Some(Barrier::Mark(mark)) => Lock::Mark(mark),
            Some(Barrier::Parked) => READ0,
            None => return,
        };
        shm_lock::give_back(&self.writer, lock);
    }
}
