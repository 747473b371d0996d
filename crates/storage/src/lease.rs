//! The right to write to a replica, which one process has at a time.
//!
//! It is the object `lock.json` beside the levels, as Litestream's library writes it, replaced under
//! a condition only: whoever writes it knows that nobody else did in between. It runs out by itself;
//! time is measured by this machine's own clock, which also counts while a process is stopped or the
//! machine sleeps, so that clocks that differ do no harm.

mod process;
mod record;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::{Condition, Error, Result, Storage, Version, layout};
use record::Record;

/// Parts of its time after which a lease is renewed.
const RENEWALS: u32 = 3;
/// Parts of its time in which another attempt is made after one that failed.
const LOOKS: u32 = 10;
/// The part of its time that nothing new is begun in: what is under way shall arrive before others
/// may come.
const MARGIN: u32 = 6;

/// A lease on a replica, or the wish for one.
pub struct Lease {
    storage: Arc<dyn Storage>,
    time: Duration,
    id: String,
    /// Names the local state that is written from.
    writer: String,
    state: Mutex<State>,
    /// One change of the object at a time.
    changes: Mutex<()>,
    /// Whether the storage was seen to keep to conditions.
    tried: AtomicBool,
    when_lost: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
enum State {
    /// It is not ours yet. What was last seen of somebody else's, and since when.
    Sought(Option<(Version, Duration)>),
    /// It is ours; `writer` wrote last.
    Held { version: Version, generation: u64, until: Duration, writer: String },
    /// It went to another.
    Lost { owner: String },
    /// We gave it back.
    Released,
}

/// What an attempt to get a lease came to.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Got,
    /// Somebody has it, and may be dead.
    Taken,
    /// Somebody has it, and renews it.
    Alive {
        owner: String,
    },
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("on", &self.storage.url()).finish_non_exhaustive()
    }
}

impl Lease {
    /// A lease that runs out after `time` unless it is renewed. `writer` names the local state that
    /// is written from. `when_lost` hears when another has it.
    pub fn new(
        storage: Arc<dyn Storage>,
        time: Duration,
        writer: String,
        when_lost: impl Fn() + Send + Sync + 'static,
    ) -> Lease {
        let id = format!("{:032x}", fastrand::u128(..));
        let (state, when_lost) = (Mutex::new(State::Sought(None)), Box::new(when_lost));
        let (changes, tried) = (Mutex::default(), AtomicBool::new(false));
        Lease { storage, time, id, writer, state, changes, tried, when_lost }
    }

    /// Gets it. Somebody else's is waited for until it was renewed, which is an error, or has run
    /// out. `stop` ends the wait.
    pub fn acquire(&self, stop: &AtomicBool) -> Result<()> {
        self.try_conditions()?;
        let mut told = false;
        loop {
            match self.seek()? {
                Attempt::Got => return Ok(()),
                Attempt::Alive { .. } => return self.check(),
                Attempt::Taken if stop.load(Ordering::SeqCst) => return self.check(),
                Attempt::Taken => {}
            }
            if !told {
                let (replica, at_most) = (self.url(), self.time);
                tracing::warn!(
                    replica,
                    ?at_most,
                    "another writer has the lease: waiting whether it lives"
                );
                told = true;
            }
            thread::park_timeout(self.time / LOOKS);
        }
    }

    /// Keeps it from running out, on a thread of its own, as long as it exists. One that is not
    /// ours yet is sought there, at once unless somebody is about to [`Lease::acquire`] it.
    pub fn keep(self: &Arc<Self>, at_once: bool) -> std::io::Result<()> {
        let lease = Arc::downgrade(self);
        let wait = if at_once { Duration::ZERO } else { self.time / RENEWALS };
        let renew = move || {
            thread::park_timeout(wait);
            while let Some(lease) = lease.upgrade() {
                let wait = lease.renew();
                drop(lease);
                thread::park_timeout(wait);
            }
        };
        thread::Builder::new().name("lease".into()).spawn(renew).map(drop)
    }

    /// An error, unless it is ours now.
    pub fn check(&self) -> Result<()> {
        let reason = match &*self.lock() {
            State::Held { until, .. } if now() < *until => return Ok(()),
            State::Held { .. } => "it has run out, since it could not be renewed".to_owned(),
            State::Sought(_) => "it is not ours yet".to_owned(),
            State::Lost { owner } => format!("{owner} has it"),
            State::Released => "it was given back".to_owned(),
        };
        Err(Error::Unleased { url: self.url(), reason })
    }

    /// The same before something is written; who wrote last is noted before that is somebody else.
    pub(crate) fn check_to_write(&self) -> Result<()> {
        self.check()?;
        if !self.has_other_writer() {
            return Ok(());
        }
        // Only the first write has to wait for a renewal that is under way.
        let _one = self.one_change();
        self.check()?;
        let held = match &*self.lock() {
            State::Held { version, generation, writer, .. } if *writer != self.writer => {
                (version.clone(), *generation)
            }
            _ => return Ok(()),
        };
        let (version, generation) = held;
        match self.take(Condition::Unchanged(version), generation + 1, &self.writer) {
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {
                self.look_whose()?;
                let reason = "it changed meanwhile".to_owned();
                Err(Error::Unleased { url: self.url(), reason })
            }
            taken => taken,
        }
    }

    /// Whether it is ours, but another wrote here since we did.
    pub(crate) fn has_other_writer(&self) -> bool {
        matches!(&*self.lock(), State::Held { writer, .. } if *writer != self.writer)
    }

    /// Whether another has it for good.
    pub fn is_lost(&self) -> bool {
        matches!(&*self.lock(), State::Lost { .. })
    }

    /// Gives it back, if it is ours.
    pub fn release(&self) {
        let mut state = self.lock();
        if let State::Held { version, generation, until, writer } = &*state
            && now() < *until
        {
            let record = self.record(*generation, SystemTime::UNIX_EPOCH, writer);
            let condition = Condition::Unchanged(version.clone());
            if let Err(error) = self.storage.put_if(layout::LEASE, &record, &condition) {
                tracing::warn!(replica = self.url(), %error, "the lease was not given back: it runs out by itself");
            }
        }
        *state = State::Released;
    }

    /// Renews it, or looks whether it can be had. Gives the time until that is to be done again.
    fn renew(&self) -> Duration {
        let _one = self.one_change();
        let held = match &*self.lock() {
            State::Held { version, generation, writer, .. } => {
                Some((version.clone(), *generation, writer.clone()))
            }
            State::Sought(_) => None,
            State::Lost { .. } | State::Released => return Duration::MAX,
        };
        let renewed = match held {
            None => {
                let sought = self.try_conditions().and_then(|()| self.seek());
                sought.map(|attempt| attempt == Attempt::Got)
            }
            Some((version, generation, writer)) => {
                match self.take(Condition::Unchanged(version), generation + 1, &writer) {
                    Err(Error::Conflict { .. } | Error::NotFound { .. }) => self.look_whose(),
                    taken => taken.map(|()| true),
                }
            }
        };
        match renewed {
            Ok(true) => return self.time / RENEWALS,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(replica = self.url(), %error, "the lease could not be renewed");
            }
        }
        self.time / LOOKS
    }

    /// Once, since a storage may take conditions and write all the same.
    fn try_conditions(&self) -> Result<()> {
        if !self.tried.load(Ordering::SeqCst) && !self.storage.keeps_conditions()? {
            let reason =
                "it does not keep to conditions, so that a lease on it would be worth nothing";
            return Err(Error::Unsupported { url: self.url(), reason: reason.into() });
        }
        self.tried.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// One attempt to get it.
    fn seek(&self) -> Result<Attempt> {
        let (body, version) = match self.storage.get_versioned(layout::LEASE) {
            // Nobody wrote under a lease before.
            Err(Error::NotFound { .. }) => {
                return self.take_first(Condition::Absent, 1, &self.writer);
            }
            found => found?,
        };
        let record = Record::parse(&body);
        let next = record.generation.saturating_add(1);
        if record.id == self.id || record.is_over() {
            return self.take_first(Condition::Unchanged(version), next, &record.writer);
        }
        let seen = match &*self.lock() {
            State::Sought(seen) => seen.clone(),
            _ => None,
        };
        match seen {
            Some((before, since)) if before == version => {
                if now().saturating_sub(since) < record.time().max(self.time) {
                    return Ok(Attempt::Taken);
                }
                let (replica, owner) = (self.url(), &record.owner);
                tracing::warn!(replica, owner, "a lease that nobody renews is taken over");
                self.take_first(Condition::Unchanged(version), next, &record.writer)
            }
            Some(_) => {
                self.lost(&record.owner);
                Ok(Attempt::Alive { owner: record.owner })
            }
            None => {
                *self.lock() = State::Sought(Some((version, now())));
                Ok(Attempt::Taken)
            }
        }
    }

    /// Takes it for the first time, unless somebody was faster.
    fn take_first(&self, condition: Condition, generation: u64, writer: &str) -> Result<Attempt> {
        match self.take(condition, generation, writer) {
            Ok(()) => Ok(Attempt::Got),
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => Ok(Attempt::Taken),
            Err(error) => Err(error),
        }
    }

    fn take(&self, condition: Condition, generation: u64, writer: &str) -> Result<()> {
        // Its time begins before others may see it.
        let asked = now();
        let record = self.record(generation, SystemTime::now() + self.time, writer);
        let version = self.storage.put_if(layout::LEASE, &record, &condition)?;
        let until = asked + self.time - self.time / MARGIN;
        let mut state = self.lock();
        if !matches!(&*state, State::Released) {
            *state = State::Held { version, generation, until, writer: writer.to_owned() };
        }
        Ok(())
    }

    /// It is not as we left it: whether it is ours all the same, by a renewal whose answer did not
    /// reach us.
    fn look_whose(&self) -> Result<bool> {
        let (owner, found) = match self.storage.get_versioned(layout::LEASE) {
            Ok((body, version)) => {
                let record = Record::parse(&body);
                let ours = record.id == self.id;
                (record.owner, ours.then_some((version, record.generation, record.writer)))
            }
            Err(Error::NotFound { .. }) => {
                ("nobody any more: somebody deleted it".to_owned(), None)
            }
            Err(error) => return Err(error),
        };
        let Some((version, generation, writer)) = found else {
            self.lost(&owner);
            return Ok(false);
        };
        if let State::Held { version: known, generation: counted, writer: last, .. } =
            &mut *self.lock()
        {
            (*known, *counted, *last) = (version, generation, writer);
        }
        Ok(false)
    }

    fn lost(&self, owner: &str) {
        *self.lock() = State::Lost { owner: owner.to_owned() };
        let replica = self.url();
        tracing::error!(
            replica,
            owner,
            "another writer has the lease: nothing is written to this replica any more"
        );
        (self.when_lost)();
    }

    fn record(&self, generation: u64, expires_at: SystemTime, writer: &str) -> Vec<u8> {
        Record::ours(generation, expires_at, &self.id, self.time, writer).to_json()
    }

    fn one_change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> String {
        self.storage.url()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

/// A clock that never steps, and goes on while we do not.
fn now() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
