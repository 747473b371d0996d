//! One database: what it is doing, and what it does next.

mod attach;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ltx::{Level, TxidRange};
use sqlite::wal::frame_offset;
use sqlite::{Live, Placement, Tip};
use storage::Storage;

use crate::Error;
use crate::capture::History;
use crate::checkpointer::{self, Checkpointer, Pace, Urgency};
use crate::image::ImagePlan;
use crate::local::Local;
use crate::position::{Advance, Position};
use crate::scheduler::{Job, JobId, Next, Waker};
use crate::shared::{Moment, Shared};
use crate::upload::{Pending, Uploader};
use crate::watch::Watch;

/// While commits come in, how often the WAL is looked at for its size.
const BUSY_LOOK: Duration = Duration::from_millis(5);
/// The same while it grows fast.
const FAST_LOOK: Duration = Duration::from_millis(1);
/// Frames in a millisecond that are fast.
const FAST_GROWTH: u128 = 8;
/// A write to the WAL is seen before its commit is: how soon to look for that, the first time.
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// A commit that takes longer than this to follow its last write is found by the slow look.
const LAST_LOOK: Duration = Duration::from_millis(128);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How often to ask whether the one image at a time may be ours.
const IMAGE_TURN: Duration = Duration::from_millis(500);
/// Failures in a row after which everything is opened anew.
const FAILURES_TO_DETACH: u32 = 3;

/// A database to replicate, and how.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// The database file. It need not exist yet.
    pub path: PathBuf,
    /// Its local state directory, if not `.<name>-litestream` beside it.
    pub meta: Option<PathBuf>,
    /// Its replica.
    pub storage: Arc<dyn Storage>,
    /// Commits that follow others within this time are captured together.
    pub sync_interval: Duration,
    /// How often is looked for what no event tells.
    pub monitor_interval: Duration,
    /// How long committed pages may stay in the WAL alone; zero: as long as it is short.
    pub checkpoint_interval: Duration,
    /// Frames from which the WAL is copied back and started anew.
    pub checkpoint_pages: u32,
    /// How long to wait for locks of others.
    pub busy_timeout: Duration,
}

impl DatabaseOptions {
    /// The defaults for a database and its replica.
    pub fn new(path: impl Into<PathBuf>, storage: Arc<dyn Storage>) -> Self {
        DatabaseOptions {
            path: path.into(),
            meta: None,
            storage,
            sync_interval: Duration::from_secs(1),
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_pages: 1000,
            busy_timeout: Duration::from_secs(1),
        }
    }
}

/// What a database's job needs of the threads around it.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) watch: Option<Watch>,
    pub(crate) uploads: Waker,
    pub(crate) upload_job: JobId,
    /// One large image at a time, so that small databases need not wait for large ones.
    pub(crate) images: Arc<Mutex<()>>,
}

/// The capturing side of a database.
pub(crate) struct Database {
    options: DatabaseOptions,
    local: Arc<Local>,
    shared: Arc<Shared>,
    uploader: Arc<Uploader>,
    around: Surroundings,
    id: OnceLock<JobId>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attached: Option<Attached>,
    failures: u32,
}

/// A database that is pinned.
struct Attached {
    live: Live,
    history: History,
    checkpointer: Checkpointer,
    /// The pin was moved for a comparison that failed: the position proves nothing any more.
    lost: bool,
    last_tip: Tip,
    pace: Pace,
    last_look: Instant,
    next_look: Instant,
    /// A write woke us, and its commit is to be looked for after this time.
    awaiting: Option<Duration>,
    next_sync: Instant,
    next_placement: Instant,
}

impl Database {
    pub(crate) fn new(
        options: DatabaseOptions,
        local: Arc<Local>,
        shared: Arc<Shared>,
        uploader: Arc<Uploader>,
        around: Surroundings,
    ) -> Self {
        let (id, state) = (OnceLock::new(), Mutex::default());
        Database { options, local, shared, uploader, around, id, state }
    }

    /// Tells the database by which name it is woken.
    pub(crate) fn named(&self, id: JobId) {
        let _ = self.id.set(id);
    }

    fn step(&self, state: &mut State) -> Result<Next, Error> {
        if self.shared.broken.swap(false, Ordering::SeqCst) {
            tracing::warn!(db = %self.options.path.display(), "starting over from the replica's end");
            state.attached = None;
        }
        if let Some(attached) = &mut state.attached
            && !self.is_usable(attached)?
        {
            state.attached = None;
        }
        let looked = Instant::now();
        let attached = match &mut state.attached {
            Some(attached) => attached,
            none => match self.attach()? {
                Some(attached) => none.insert(attached),
                None => {
                    self.shared.missing(looked);
                    return Ok(Next::At(Instant::now() + self.options.monitor_interval));
                }
            },
        };
        self.follow(attached)
    }

    /// Whether the files that we hold open are still the database, as far as was looked lately.
    fn is_usable(&self, attached: &mut Attached) -> Result<bool, Error> {
        if attached.lost {
            return Ok(false);
        }
        if Instant::now() < attached.next_placement {
            return Ok(true);
        }
        attached.next_placement = Instant::now() + self.options.monitor_interval;
        let placement = attached.live.placement()?;
        if placement == Placement::Same {
            return Ok(true);
        }
        let db = self.options.path.display();
        tracing::warn!(%db, ?placement, "the database was replaced or removed");
        if let Err(error) = self.capture_rest(attached) {
            tracing::warn!(%db, %error, "its last commits could not be captured");
        }
        Ok(false)
    }

    /// What was committed to a database that is gone from its path: we still hold it open.
    fn capture_rest(&self, attached: &mut Attached) -> Result<(), Error> {
        let moment = Moment::now();
        let tip = attached.live.tip()?;
        if let Advance::After(frame) = attached.history.position.advance_pinned(&tip) {
            attached.history.capture(&attached.live, &self.local, &tip, frame)?;
            self.offer(attached, moment);
        }
        Ok(())
    }

    /// Captures what is new, keeps the WAL small, and says when to look again.
    fn follow(&self, attached: &mut Attached) -> Result<Next, Error> {
        let forced = self.shared.forced.swap(false, Ordering::SeqCst);
        let moment = Moment::now();
        let tip = match attached.live.tip() {
            Ok(tip) => tip,
            Err(_) => {
                checkpointer::mend(&mut attached.live, &mut attached.history, &self.local)?;
                attached.live.tip()?
            }
        };
        let page_size = attached.live.page_size();
        let urgency = attached.checkpointer.urgency(page_size, &tip, moment.instant);
        let due = forced || urgency == Urgency::Hard || attached.next_sync <= moment.instant;
        let mut captured_all = false;
        match attached.history.position.advance_pinned(&tip) {
            Advance::None => {
                attached.history.position = Position::at(&tip);
                captured_all = true;
            }
            Advance::After(frame) if due => {
                self.capture(attached, &tip, frame)?;
                attached.next_sync = moment.instant + self.options.sync_interval;
                captured_all = true;
            }
            Advance::After(_) => {}
            Advance::Broken(reason) => {
                self.rebase(attached, &reason)?;
                captured_all = true;
            }
        }
        if !self.offer(attached, moment) && captured_all {
            self.uploader.nothing_new(moment, forced);
            if forced {
                self.around.uploads.wake(self.around.upload_job);
            }
        }
        if urgency == Urgency::Hard || (urgency == Urgency::Soft && captured_all) {
            self.checkpoint(attached, urgency, moment)?;
        }
        if urgency != Urgency::Hard {
            attached.checkpointer.write_behind(&attached.live, &tip)?;
        }
        self.shared.wal_bytes(frame_offset(page_size, tip.frame + 1));
        self.next(attached, &tip, captured_all)
    }

    fn capture(&self, attached: &mut Attached, tip: &Tip, after: u32) -> Result<(), Error> {
        let Attached { live, history, .. } = attached;
        match history.capture(live, &self.local, tip, after) {
            Ok(()) => Ok(()),
            Err(error) => {
                let reason = discontinuity(error)?;
                self.rebase(attached, &reason)
            }
        }
    }

    fn checkpoint(
        &self,
        attached: &mut Attached,
        urgency: Urgency,
        moment: Moment,
    ) -> Result<(), Error> {
        let Attached { live, history, checkpointer, pace, .. } = attached;
        let done = match urgency {
            Urgency::Hard => checkpointer.hard(live, history, &self.local, *pace),
            _ => checkpointer.soft(live, history, &self.local),
        };
        if let Err(error) = done {
            let reason = discontinuity(error)?;
            self.rebase(attached, &reason)?;
        }
        self.offer(attached, moment);
        Ok(())
    }

    /// Tells the uploader of new transactions, if there are any; each holds at least what was
    /// committed by `moment`.
    fn offer(&self, attached: &mut Attached, moment: Moment) -> bool {
        let fresh = std::mem::take(&mut attached.history.fresh);
        for (txid, created) in &fresh {
            self.uploader.push(Pending {
                level: Level::L0,
                txids: TxidRange::single(*txid),
                created: *created,
                as_of: moment,
            });
        }
        let Some((last, _)) = fresh.last() else { return false };
        self.shared.captured(*last);
        self.around.uploads.wake(self.around.upload_job);
        true
    }

    /// When to look again. With nothing left to do, the next write wakes us.
    fn next(&self, attached: &mut Attached, tip: &Tip, captured_all: bool) -> Result<Next, Error> {
        let now = Instant::now();
        let mut again = now + self.options.monitor_interval;
        if !captured_all {
            again = again.min(attached.next_sync);
        }
        let quiet = *tip == attached.last_tip;
        attached.pace = pace(&attached.last_tip, tip, now - attached.last_look);
        attached.last_look = now;
        attached.last_tip = *tip;
        if !quiet {
            attached.awaiting = None;
        } else if now < attached.next_look && attached.awaiting.is_none() {
            attached.awaiting = Some(FIRST_LOOK);
        }
        // Half of the usual threshold: held before the first try in vain.
        attached.live.hold_checkpoints(!quiet && tip.frame >= self.options.checkpoint_pages / 2);
        if !quiet {
            let look = if attached.pace == Pace::Fast { FAST_LOOK } else { BUSY_LOOK };
            attached.next_look = again.min(now + look);
            return Ok(Next::At(attached.next_look));
        }
        self.arm(&attached.live);
        if let Some(wait) = attached.awaiting {
            again = again.min(now + wait);
            attached.awaiting = Some(wait * 2).filter(|wait| *wait <= LAST_LOOK);
        }
        if attached.live.tip()? != *tip {
            again = now; // written to just before the watch was armed
        }
        attached.next_look = again;
        Ok(Next::At(again))
    }

    /// Has the next write to the WAL wake us. Without that, the slow look must do.
    fn arm(&self, live: &Live) {
        let (Some(watch), Some(id)) = (&self.around.watch, self.id.get()) else { return };
        if let Err(error) = watch.arm(live.wal_path(), *id) {
            tracing::debug!(db = %live.path().display(), %error, "no watch on the WAL");
        }
    }

    /// Goes on from a comparison of the database with the last known state.
    fn rebase(&self, attached: &mut Attached, reason: &str) -> Result<(), Error> {
        attached.lost = true;
        let mut history = self.compare(&mut attached.live, &attached.history, reason)?;
        attached.lost = false;
        // What was captured before and nobody was told of yet comes first.
        history.fresh.splice(..0, attached.history.fresh.drain(..));
        history.unsynced.splice(..0, attached.history.unsynced.drain(..));
        attached.history = history;
        Ok(())
    }

    /// Makes the last known state and the database equal again by comparing their pages.
    fn compare(&self, live: &mut Live, history: &History, reason: &str) -> Result<History, Error> {
        let db = self.options.path.display();
        tracing::warn!(%db, reason, after = %history.txid, "comparing the whole database with the last known state");
        let plan = ImagePlan {
            txid: history.txid.next(),
            begins: false,
            lineage: history.lineage,
            not_before: Some(history.timestamp),
            base: history.sums.as_ref(),
        };
        let compared = self.image(live, &plan)?;
        self.shared.rebased();
        Ok(compared)
    }
}

impl Job for Database {
    fn run(&self) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.step(&mut state) {
            Ok(next) => {
                state.failures = 0;
                next
            }
            Err(Error::Turn) => Next::At(Instant::now() + IMAGE_TURN),
            Err(error) => {
                self.shared.forced.store(true, Ordering::SeqCst);
                state.failures += 1;
                match &state.attached {
                    // Let the application checkpoint for itself until we can again.
                    Some(_) if state.failures >= FAILURES_TO_DETACH => state.attached = None,
                    Some(attached) => attached.live.hold_checkpoints(false),
                    None => {}
                }
                let doubled = FIRST_BACKOFF.saturating_mul(1 << state.failures.min(10));
                let wait = doubled.min(MAX_BACKOFF);
                tracing::error!(db = %self.options.path.display(), %error, retry_in = ?wait, "replication failed");
                self.shared.capture_failed(error.to_string());
                Next::At(Instant::now() + wait)
            }
        }
    }
}

fn pace(before: &Tip, now: &Tip, elapsed: Duration) -> Pace {
    let frames = u128::from(now.frame.abs_diff(before.frame));
    match frames >= FAST_GROWTH * elapsed.as_millis().max(1) {
        true => Pace::Fast,
        false => Pace::Slow,
    }
}

/// The reason if the error means that the history does not continue; any other error stays one.
fn discontinuity(error: Error) -> Result<String, Error> {
    match error {
        Error::Discontinuity(reason) => Ok(reason),
        Error::Database(sqlite::Error::Discontinuity { reason, .. }) => Ok(reason),
        error => Err(error),
    }
}
