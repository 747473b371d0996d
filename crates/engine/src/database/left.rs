//! A database whose checkpoints are left to its application.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlite::Tip;
use sqlite::wal::frame_offset;

use super::{Attached, Database, discontinuity};
use crate::Error;
use crate::leaving::Step;
use crate::scheduler::Next;
use crate::shared::Moment;

/// Files that are made durable together; most are in the replica before.
const MOST_UNSYNCED: usize = 64;
/// How long to try at a time to let the WAL start anew.
const PATIENCE: Duration = Duration::from_millis(1);

impl Database {
    /// A look at a database whose checkpoints are left to its application, or may be. `None`: they
    /// are ours.
    pub(super) fn follow_left(&self, attached: &mut Attached) -> Result<Option<Next>, Error> {
        let moment = Moment::now();
        if attached.live.gave_way() && !attached.leaving.is_on() {
            return self.end_leaving(attached, moment); // which failed the last time
        }
        if !attached.leaving.is_wanted(moment.instant) {
            return Ok(None);
        }
        let tip = match attached.live.tip() {
            Ok(tip) if !self.is_asked(attached, moment.instant) => tip,
            _ => return self.end_leaving(attached, moment),
        };
        let bytes = frame_offset(attached.live.page_size(), tip.frame + 1);
        self.shared.wal_bytes(bytes);
        (attached.last_tip, attached.last_look) = (tip, moment.instant);
        match attached.next_sync <= moment.instant {
            true => self.capture_left(attached, &tip, moment)?,
            false => self.shared.uncaptured(moment.instant),
        }
        let backfilled = attached.live.backfilled()?;
        let mut step = attached.leaving.plan(&tip, bytes, backfilled, moment.instant);
        match step {
            Step::GiveWay => {
                let done = attached.live.give_way()?;
                if done && !attached.leaving.is_on() {
                    let db = self.options.path.display();
                    tracing::debug!(%db, "checkpoints are left to the application");
                }
                attached.leaving.gave_way(done, moment.instant);
                if !done {
                    step = Step::TakeBack;
                }
            }
            Step::LetRestart => step = self.let_restart(attached)?,
            Step::Wait | Step::TakeBack => {}
        }
        if step == Step::TakeBack {
            return self.end_leaving(attached, moment);
        }
        self.offer_left(attached, moment);
        let look = attached.leaving.next_look(&tip, moment.instant);
        Ok(Some(Next::At(look.min(attached.next_sync))))
    }

    fn end_leaving(&self, attached: &mut Attached, moment: Moment) -> Result<Option<Next>, Error> {
        let captures = attached.live.gave_way();
        self.take_back(attached)?;
        // Else what is there may be older than this moment, and is offered by whoever captures next.
        if captures {
            self.offer_left(attached, moment);
        }
        Ok(None)
    }

    /// Offers what has become a file. All of it was read after this moment.
    fn offer_left(&self, attached: &mut Attached, moment: Moment) {
        if attached.history.fresh.is_empty() {
            return;
        }
        let is_all = attached.history.kept.is_none() && self.is_in_place(attached);
        self.offer(attached, Some(moment).filter(|_| is_all));
    }

    /// Whether something is to be done that needs a pin.
    fn is_asked(&self, attached: &Attached, now: Instant) -> bool {
        self.shared.forced.load(Ordering::SeqCst)
            || self.around.views.is_asked()
            || attached.next_check <= now
            || (self.around.seats.are_scarce() && self.around.seats.are_wanted())
    }

    /// Makes a file of everything up to `tip`.
    fn capture_left(
        &self,
        attached: &mut Attached,
        tip: &Tip,
        moment: Moment,
    ) -> Result<(), Error> {
        let Attached { live, history, .. } = &mut *attached;
        let captured =
            history.keep_up(live, &self.local, tip).and_then(|()| history.store_kept(&self.local));
        if let Err(error) = captured {
            let reason = discontinuity(error)?;
            self.rebase(attached, &reason)?;
        }
        if attached.history.unsynced.len() >= MOST_UNSYNCED {
            attached.history.sync(&self.local)?;
        }
        let covers = Some(moment).filter(|_| self.is_in_place(attached));
        self.offer(attached, covers);
        if let Some(moment) = covers {
            self.took_note(moment, false);
        }
        attached.next_sync = moment.instant + self.options.sync_interval;
        Ok(())
    }

    /// Lets the WAL start anew, with everything in it kept.
    fn let_restart(&self, attached: &mut Attached) -> Result<Step, Error> {
        let Attached { live, history, leaving, .. } = &mut *attached;
        let restart =
            live.let_restart(PATIENCE, |live, tip| history.keep_up(live, &self.local, &tip));
        match restart {
            Ok(restart) => Ok(leaving.restarted(restart, Instant::now())),
            Err(error) => {
                let reason = discontinuity(error)?;
                self.rebase(attached, &reason)?;
                Ok(Step::TakeBack)
            }
        }
    }

    /// Makes checkpoints ours again: a pin stands, and everything that was kept is in a file.
    pub(super) fn take_back(&self, attached: &mut Attached) -> Result<(), Error> {
        let Attached { live, history, leaving, .. } = &mut *attached;
        let taken = match live.gave_way() {
            true => live.take_back(|live, tip| history.keep_up(live, &self.local, &tip)),
            false => Ok(()),
        };
        if leaving.is_on() {
            tracing::debug!(db = %self.options.path.display(), "checkpoints are ours again");
        }
        leaving.took_back();
        if let Err(error) = taken.and_then(|()| history.store_kept(&self.local)) {
            let reason = discontinuity(error)?;
            self.rebase(attached, &reason)?;
        }
        Ok(())
    }
}
