//! A database that is left alone until something changes, so that there can be many.
//!
//! Nothing of it is open and nothing pins its WAL. The next write to one of its files wakes us; a
//! look from time to time finds what no event tells. It is attached again then, and goes on only
//! if the WAL still holds what was captured last, as after a restart; else it is compared.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use ltx::Txid;
use sqlite::{Live, Placement};

use super::{Attached, Database, QUIET_LOOKS, State};
use crate::Error;
use crate::checkpointer::Urgency;
use crate::position::Advance;
use crate::scheduler::Next;
use crate::seats::Seat;
use crate::shared::Moment;
use crate::start::Last;

/// A write that comes after a look must change the WAL's time, however coarse that is.
const SETTLED: Duration = Duration::from_secs(1);
/// Longest time between two looks, as a multiple of the usual one.
pub(super) const MAX_SLOWNESS: u32 = 16;

/// How long a busy database keeps its seat when others wait for one.
const SEAT_TIME: Duration = Duration::from_secs(5);

/// A database at rest.
#[derive(Debug)]
pub(super) struct Resting {
    /// What was captured last.
    txid: Txid,
    looks: Looks,
}

/// How its files looked then.
#[derive(Debug)]
enum Looks {
    /// As long as they look the same, nothing has happened.
    Like([(PathBuf, Option<Trace>); 2]),
    /// Written to so lately that another write would not be seen by its time: it lets others have
    /// their turn, and is looked at soon.
    Fresh,
    /// There was more to come: it lets others have their turn only.
    Busy,
}

/// By what is seen that a file was written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Trace {
    fn of(path: &Path) -> io::Result<Option<Trace>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Trace::from(metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a write now would be seen by the time of the file.
    fn is_settled(&self) -> bool {
        let seconds = self.modified.0.try_into().map_or(Duration::MAX, Duration::from_secs);
        let age = SystemTime::UNIX_EPOCH.checked_add(seconds).map(|it| it.elapsed());
        matches!(age, Some(Ok(age)) if age > SETTLED + Duration::from_secs(1))
    }
}

impl From<Metadata> for Trace {
    fn from(metadata: Metadata) -> Trace {
        Trace {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Resting {
    /// When to look whether something has happened.
    pub(super) fn next(&self, monitor_interval: Duration) -> Next {
        let now = Instant::now();
        match self.looks {
            // Written to just before the watch was armed?
            Looks::Like(_) if self.unchanged().is_none() => Next::At(now),
            Looks::Like(_) => Next::About(now + monitor_interval * MAX_SLOWNESS),
            Looks::Fresh => Next::About(now + SETTLED),
            Looks::Busy => Next::At(now),
        }
    }

    /// The database and its WAL, if both look as they did.
    fn unchanged(&self) -> Option<[&Path; 2]> {
        let Looks::Like(files) = &self.looks else { return None };
        let same = |(path, trace): &(PathBuf, Option<Trace>)| {
            Trace::of(path).is_ok_and(|now| now == *trace)
        };
        let [(database, _), (wal, _)] = files;
        files.iter().all(same).then_some([database, wal])
    }
}

impl Database {
    /// Leaves a database alone if there are others and nothing is to be done, or if its time is up.
    pub(super) fn rest_if_due(&self, state: &mut State) -> Result<(), Error> {
        let Some(attached) = &state.attached else { return Ok(()) };
        let seats = &self.around.seats;
        if !seats.are_scarce() || !self.around.views.is_idle() {
            return Ok(());
        }
        let wanted = seats.are_wanted();
        let quiet_looks = if wanted { 1 } else { QUIET_LOOKS };
        if attached.quiet_looks >= quiet_looks {
            self.rest(state)
        } else if wanted && attached.since.elapsed() >= SEAT_TIME {
            self.leave(state, Looks::Busy)
        } else {
            Ok(())
        }
    }

    /// Leaves it alone, unless something has just happened to it.
    fn rest(&self, state: &mut State) -> Result<(), Error> {
        let Some(attached) = &mut state.attached else { return Ok(()) };
        if attached.live.backfilled()? < attached.last_tip.frame {
            self.checkpoint(attached, Urgency::Soft, None)?;
        }
        let trace = |path: &Path| {
            let trace = Trace::of(path).map_err(|error| Error::local(path, error))?;
            Ok::<_, Error>((path.to_path_buf(), trace))
        };
        let files = [trace(&self.options.path)?, trace(attached.live.wal_path())?];
        // What is written to an empty WAL makes it larger, or ends in the database file.
        let [(_, database), (_, wal)] = &files;
        let by_database = |wal: &Trace| wal.size == 0 && database.is_none_or(|it| it.is_settled());
        let settled = wal.is_none_or(|wal| by_database(&wal) || wal.is_settled());
        // Looked at after the traces were taken: what comes later changes them.
        if attached.live.placement()? != Placement::Same {
            return Ok(()); // they are another database's
        }
        let tip = attached.live.tip()?;
        let at_end = attached.history.position.advance_pinned(&tip) == Advance::None;
        match (at_end, settled) {
            (true, true) => self.leave(state, Looks::Like(files)),
            (true, false) if self.around.seats.are_wanted() => self.leave(state, Looks::Fresh),
            _ => Ok(()),
        }
    }

    fn leave(&self, state: &mut State, looks: Looks) -> Result<(), Error> {
        let Some(attached) = &mut state.attached else { return Ok(()) };
        self.take_back(attached)?;
        self.offer(attached, None);
        if !attached.history.fresh.is_empty() {
            return Ok(());
        }
        self.look_over(attached)?;
        if attached.overwritten || !attached.history.fresh.is_empty() {
            return Ok(()); // it was not what it was taken for
        }
        attached.history.sync(&self.local)?;
        let txid = attached.history.txid;
        self.arm(attached.live.path(), attached.live.wal_path());
        state.attached = None;
        self.local.unlock();
        state.resting = Some(Resting { txid, looks });
        tracing::debug!(db = %self.options.path.display(), %txid, "at rest");
        Ok(())
    }

    /// Goes on resting, if nothing has happened.
    pub(super) fn rest_on(&self, resting: &Resting) -> Option<Next> {
        let moment = Moment::now();
        if self.shared.is_doubted() || self.around.views.is_asked() {
            return None;
        }
        let [database, wal] = resting.unchanged()?;
        // An event that meant nothing has disarmed the watch.
        self.arm(database, wal);
        resting.unchanged()?;
        let forced = self.shared.forced.swap(false, Ordering::SeqCst);
        self.took_note(moment, forced);
        for uploader in &self.uploaders {
            if forced {
                uploader.hurry();
            }
            uploader.nothing_new(moment, forced);
        }
        Some(resting.next(self.options.monitor_interval))
    }

    /// A right to be attached, or the promise to be woken for it.
    pub(super) fn seat(&self) -> Result<Seat, Error> {
        self.around.seats.take(self.shared.capture.get()).ok_or(Error::Crowded)
    }

    /// Attaches to a database that rested. `None`: nobody knows how it goes on.
    pub(super) fn wake(&self, resting: &Resting) -> Result<Option<Attached>, Error> {
        let moment = Moment::now();
        let seat = self.seat()?;
        self.local.lock()?;
        if self.local.files()?.last().map(|last| last.txids.max) != Some(resting.txid) {
            return Ok(None);
        }
        let mut live = match Live::attach(&self.options.path, &self.live_options()) {
            Ok(live) => live,
            Err(sqlite::Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let last = Last::read(&self.local, resting.txid)?;
        if last.header.page_size != live.page_size() {
            return Ok(None); // a snapshot begins a chain of its own, and is queued with all the rest
        }
        let imprint = live.imprint()?;
        let history = self.resume(&mut live, &last, imprint)?;
        let mut attached = self.attached(live, history, imprint, seat)?;
        self.offer(&mut attached, Some(moment));
        Ok(Some(attached))
    }
}
