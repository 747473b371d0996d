//! One database: what it is doing, and what it does next.

mod attach;
mod check;
mod compare;
mod decide;
mod left;
mod rest;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ltx::{Level, Tag, Timestamp, Txid, TxidRange};
use sqlite::wal::frame_offset;
use sqlite::{Imprint, Live, Placement, Tip};

use crate::Error;
use crate::capture::History;
use crate::checkpointer::{self, Checkpointer, Pace, Urgency};
use crate::leaving::Leaving;
use crate::local::Local;
use crate::options::DatabaseOptions;
use crate::position::{Advance, Position};
use crate::scheduler::{Job, JobId, Next};
use crate::seats::{Seat, Seats};
use crate::shared::{Moment, Shared};
use crate::snapshot::Source;
use crate::status::DatabaseState;
use crate::upload::{Pending, Uploader};
use crate::views::Views;
use crate::watch::Watch;
use compare::discontinuity;
use rest::{MAX_SLOWNESS, Resting};

/// While commits come in, how often the WAL is looked at for its size.
const BUSY_LOOK: Duration = Duration::from_millis(5);
/// The same while it grows fast.
const FAST_LOOK: Duration = Duration::from_millis(1);
/// A write to the WAL is seen before its commit is: how soon to look for that, the first time.
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// A commit that takes longer than this to follow its last write, as on a disk that syncs slowly,
/// is found by the slow look.
const LAST_LOOK: Duration = Duration::from_millis(1024);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long to wait to be told of a free seat.
const SEAT_PATIENCE: Duration = Duration::from_secs(5);
/// How often to ask whether the one image at a time may be ours.
const IMAGE_TURN: Duration = Duration::from_millis(500);
/// Failures in a row after which everything is opened anew.
const FAILURES_TO_DETACH: u32 = 3;
/// Looks in a row that find nothing, after which a database may be left alone.
const QUIET_LOOKS: u32 = 2;

/// What a database's job needs of the threads around it.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) watch: Option<Watch>,
    /// Views for snapshots.
    pub(crate) views: Arc<Views>,
    /// Which databases may be attached.
    pub(crate) seats: Arc<Seats>,
    /// One large image at a time, so that small databases need not wait for large ones.
    pub(crate) images: Arc<Mutex<()>>,
}

/// The capturing side of a database.
pub(crate) struct Database {
    options: DatabaseOptions,
    local: Arc<Local>,
    shared: Arc<Shared>,
    uploaders: Vec<Arc<Uploader>>,
    around: Surroundings,
    id: OnceLock<JobId>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attached: Option<Attached>,
    /// Never while it is attached.
    resting: Option<Resting>,
    /// The database is not there, and what was captured of it before goes out.
    rest_queued: bool,
    failures: u32,
}

/// A database that is pinned.
struct Attached {
    live: Live,
    /// Given back after everything was closed.
    _seat: Seat,
    history: History,
    checkpointer: Checkpointer,
    leaving: Leaving,
    /// The pin was moved for a comparison that failed: the position proves nothing any more.
    lost: bool,
    last_tip: Tip,
    pace: Pace,
    last_look: Instant,
    next_look: Instant,
    since: Instant,
    /// Looks in a row that found nothing.
    quiet_looks: u32,
    /// A write woke us, and its commit is to be looked for after this time.
    awaiting: Option<Duration>,
    next_sync: Instant,
    next_placement: Instant,
    /// When a few pages are compared with their sums.
    next_check: Instant,
    /// How the database file looked last.
    imprint: Option<Imprint>,
    /// Somebody is writing to it past SQLite.
    overwritten: bool,
}

impl Database {
    pub(crate) fn new(
        options: DatabaseOptions,
        local: Arc<Local>,
        shared: Arc<Shared>,
        uploaders: Vec<Arc<Uploader>>,
        around: Surroundings,
    ) -> Self {
        let (id, state) = (OnceLock::new(), Mutex::default());
        Database { options, local, shared, uploaders, around, id, state }
    }

    /// Tells the database by which name it is woken.
    pub(crate) fn named(&self, id: JobId) {
        let _ = self.id.set(id);
    }

    fn step(&self, state: &mut State) -> Result<Next, Error> {
        if self.shared.broken.swap(false, Ordering::SeqCst) {
            tracing::warn!(db = %self.options.path.display(), "starting over from the replica's end");
            (state.attached, state.resting, state.rest_queued) = (None, None, false);
        }
        if let Some(resting) = &state.resting {
            if let Some(next) = self.rest_on(resting) {
                return Ok(next);
            }
            match self.wake(resting) {
                Err(error @ (Error::Turn | Error::Crowded)) => return Err(error),
                woken => {
                    state.resting = None;
                    state.attached = woken?;
                }
            }
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
                Some(attached) => {
                    state.rest_queued = false;
                    none.insert(attached)
                }
                None => {
                    if !state.rest_queued {
                        self.queue_rest()?;
                        state.rest_queued = true;
                    }
                    self.shared.missing(looked);
                    return Ok(Next::At(Instant::now() + self.options.monitor_interval));
                }
            },
        };
        if let Some(reason) = self.shared.take_doubt() {
            self.rebase(attached, &reason)?;
        }
        let next = match self.follow_left(attached)? {
            Some(next) => next,
            None => self.follow(attached)?,
        };
        self.rest_if_due(state)?;
        Ok(match &state.resting {
            Some(resting) => resting.next(self.options.monitor_interval),
            None => next,
        })
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
        match placement {
            Placement::Same => return self.look_over(attached).map(|()| true),
            // Whoever fills it again need not leave anything else by which that is seen.
            Placement::Truncated => self.shared.keep_doubt("it was emptied".to_string()),
            Placement::Missing | Placement::Replaced => {}
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
        attached.history.store_kept(&self.local)?;
        self.offer(attached, None);
        let tip = attached.live.tip()?;
        if let Advance::After(frame) = attached.history.position.advance_pinned(&tip) {
            attached.history.capture(&attached.live, &self.local, &tip, frame)?;
        }
        self.offer(attached, None);
        Ok(())
    }

    /// Captures what is new, keeps the WAL small, and says when to look again.
    fn follow(&self, attached: &mut Attached) -> Result<Next, Error> {
        // What could not be stored the last time.
        attached.history.store_kept(&self.local)?;
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
            Advance::After(_) => self.shared.uncaptured(moment.instant),
            Advance::Broken(reason) => {
                self.rebase(attached, &reason)?;
                captured_all = true;
            }
        }
        let covers = Some(moment).filter(|_| captured_all && self.is_in_place(attached));
        let offered = self.offer(attached, covers);
        if let Some(moment) = covers {
            if !offered {
                self.uploaders.iter().for_each(|uploader| uploader.nothing_new(moment, forced));
            }
            self.took_note(moment, forced);
        }
        if forced {
            // Only now is what somebody waits for in the queue.
            self.uploaders.iter().for_each(|uploader| uploader.hurry());
        }
        if captured_all {
            self.spot_check(attached, &tip)?;
            self.offer(attached, covers);
        }
        if self.around.views.is_asked() {
            self.give_view(attached, covers)?;
        }
        if urgency == Urgency::Hard || (urgency == Urgency::Soft && captured_all) {
            self.checkpoint(attached, urgency, covers)?;
        }
        if urgency != Urgency::Hard {
            attached.checkpointer.write_behind(&attached.live, &tip)?;
        }
        self.shared.wal_bytes(frame_offset(page_size, tip.frame + 1));
        self.next(attached, &tip, captured_all)
    }

    /// Whether what is captured here says anything of the database at the path. If not, that comes
    /// next.
    fn is_in_place(&self, attached: &mut Attached) -> bool {
        let in_place = attached.live.placement().is_ok_and(|it| it == Placement::Same);
        if !in_place {
            attached.next_placement = Instant::now();
            self.shared.wake_capture();
        }
        in_place
    }

    /// Everything was captured that was there at this moment.
    pub(crate) fn took_note(&self, moment: Moment, asked: bool) {
        self.shared.count(|counts| {
            counts.syncs += 1;
            counts.sync_time += moment.instant.elapsed();
        });
        self.shared.captured_all(moment.instant, asked);
    }

    fn capture(&self, attached: &mut Attached, tip: &Tip, after: u32) -> Result<(), Error> {
        let Attached { live, history, .. } = attached;
        let bytes = u64::from(tip.frame - after) * live.page_size().bytes() as u64;
        match history.capture(live, &self.local, tip, after) {
            Ok(()) => {
                self.shared.count(|counts| counts.wal_bytes += bytes);
                Ok(())
            }
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
        covers: Option<Moment>,
    ) -> Result<(), Error> {
        let Attached { live, history, checkpointer, pace, .. } = attached;
        let began = Instant::now();
        let done = match urgency {
            Urgency::Hard => checkpointer.hard(live, history, &self.local, *pace),
            _ => checkpointer.soft(live, history, &self.local),
        };
        let held = checkpointer.held.take();
        self.shared.count(|counts| counts.checkpointed(began.elapsed(), done.is_ok(), held));
        if let Err(error) = done {
            let reason = discontinuity(error)?;
            self.rebase(attached, &reason)?;
        }
        self.offer(attached, covers);
        self.look_over(attached)
    }

    /// Tells the uploader of new transactions, if there are any. The last one `covers` what was
    /// committed before.
    fn offer(&self, attached: &mut Attached, covers: Option<Moment>) -> bool {
        let since = Instant::now();
        let fresh = std::mem::take(&mut attached.history.fresh);
        let Some((last, _)) = fresh.last() else { return false };
        let pending = |(txid, created): &(Txid, Timestamp)| Pending {
            level: Level::L0,
            txids: TxidRange::single(*txid),
            created: *created,
            since,
            covers: covers.filter(|_| txid == last),
        };
        for uploader in &self.uploaders {
            uploader.push(fresh.iter().map(pending));
        }
        self.shared.captured(*last);
        true
    }

    /// Captures up to a view of the whole database, and gives that to those who make snapshots.
    fn give_view(&self, attached: &mut Attached, covers: Option<Moment>) -> Result<(), Error> {
        let view = attached.live.pin_view(self.options.busy_timeout)?;
        let tip = view.tip();
        match attached.history.position.advance_pinned(&tip) {
            Advance::None => attached.history.position = Position::at(&tip),
            Advance::After(frame) => self.capture(attached, &tip, frame)?,
            Advance::Broken(reason) => self.rebase(attached, &reason)?,
        }
        self.offer(attached, covers);
        let history = &attached.history;
        if history.position == Position::at(&tip) {
            let sum = history.sums.as_ref().map(|sums| sums.state().sum.checksum());
            let tag = sum.map(|sum| Tag { sum, lineage: history.lineage });
            let (txid, timestamp) = (history.txid, history.timestamp);
            self.around.views.give(Source::new(view, txid, timestamp, tag));
            self.uploaders.iter().for_each(|uploader| uploader.replica.wake_keepers());
        }
        Ok(())
    }

    /// When to look again. With nothing left to do, the next write wakes us.
    fn next(&self, attached: &mut Attached, tip: &Tip, captured_all: bool) -> Result<Next, Error> {
        let now = Instant::now();
        let mut again = now + self.options.monitor_interval;
        if !captured_all {
            again = again.min(attached.next_sync);
        }
        let quiet = *tip == attached.last_tip;
        attached.pace = Pace::between(&attached.last_tip, tip, now - attached.last_look);
        attached.leaving.note(attached.pace);
        attached.last_look = now;
        attached.last_tip = *tip;
        if !quiet {
            // Another may be on its way already, whose write to the WAL no event tells any more.
            attached.awaiting = Some(BUSY_LOOK);
        } else if now < attached.next_look && attached.awaiting.is_none() {
            attached.awaiting = Some(FIRST_LOOK);
        }
        // Half of the usual threshold: held before the first try in vain.
        attached.live.hold_checkpoints(!quiet && tip.frame >= self.options.checkpoint_pages / 2);
        let resting = quiet && attached.awaiting.is_none();
        attached.quiet_looks = if resting { attached.quiet_looks + 1 } else { 0 };
        if !quiet {
            let look = if attached.pace == Pace::Fast { FAST_LOOK } else { BUSY_LOOK };
            attached.next_look = again.min(now + look);
            return Ok(Next::At(attached.next_look));
        }
        if self.arm(attached.live.path(), attached.live.wal_path()) {
            let slowness = 1 << attached.quiet_looks.min(MAX_SLOWNESS.ilog2());
            let slow = now + self.options.monitor_interval * slowness;
            // What waits for its time goes out then, though nothing more comes.
            again = if captured_all { slow } else { slow.min(attached.next_sync) };
        }
        if let Some(wait) = attached.awaiting {
            again = again.min(now + wait);
            attached.awaiting = Some(wait * 2).filter(|wait| *wait <= LAST_LOOK);
        }
        // Written to just before the watch was armed, or replaced?
        if attached.live.tip()? != *tip || attached.live.placement()? != Placement::Same {
            attached.next_placement = now;
            again = now;
        }
        attached.next_look = again;
        Ok(Next::At(again))
    }

    /// Has the next write to the WAL wake us, or what becomes of the files. Without that, the slow
    /// look must do.
    fn arm(&self, database: &Path, wal: &Path) -> bool {
        let (Some(watch), Some(id)) = (&self.around.watch, self.id.get()) else { return false };
        let armed = watch.arm_write(wal, *id).and_then(|()| watch.arm_loss(database, *id));
        if let Err(error) = &armed {
            tracing::debug!(db = %database.display(), %error, "no watch on the database");
        }
        armed.is_ok()
    }
}

impl Job for Database {
    fn run(&self) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.step(&mut state) {
            Ok(next) => {
                if state.failures > 0 && (state.attached.is_some() || state.resting.is_some()) {
                    self.shared.set_state(DatabaseState::Replicating);
                }
                state.failures = 0;
                next
            }
            Err(Error::Crowded) => Next::At(Instant::now() + SEAT_PATIENCE),
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
                self.shared.capture_failed(&error);
                Next::At(Instant::now() + wait)
            }
        }
    }
}
