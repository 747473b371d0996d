//! The leases of all replicas that want one.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use storage::{Lease, Leased, Storage};

use crate::config::Database;
use crate::failure::{Failure, Result};
use crate::signals::Event;

/// One lease for each place, whoever writes to it in this process.
#[derive(Debug)]
pub struct Leases {
    known: Mutex<BTreeMap<String, Weak<Lease>>>,
    /// How many replicas there are, if all have leases.
    only: Option<usize>,
    events: Sender<Event>,
}

impl Leases {
    /// Leases on the replicas of these databases; where `more` databases may come, and without a
    /// lease, the program goes on though it loses all of these.
    pub fn new(databases: &[Database], more: bool, events: Sender<Event>) -> Arc<Leases> {
        let replicas = || databases.iter().flat_map(|it| &it.replicas);
        let all = !more && replicas().all(|it| it.lease.is_some());
        let only = all.then(|| replicas().count()).filter(|count| *count > 0);
        Arc::new(Leases { known: Mutex::default(), only, events })
    }

    /// Gets those of these databases, before anything is read or written. Fails if others have all
    /// of them; otherwise, what can be replicated is. `stop` ends the wait.
    pub fn acquire(
        self: &Arc<Self>,
        databases: &[Database],
        open: impl Fn(&Database, usize) -> Result<Arc<dyn Storage>>,
        stop: &AtomicBool,
    ) -> Result<Vec<Arc<Lease>>> {
        let mut leases = Vec::new();
        for database in databases {
            for (index, replica) in database.replicas.iter().enumerate() {
                if let Some(time) = replica.lease {
                    leases.push(self.lease(&open(database, index)?, database, time, false)?);
                }
            }
        }
        let acquired = thread::scope(|scope| {
            let waiting: Vec<_> =
                leases.iter().map(|it| scope.spawn(|| it.acquire(stop))).collect();
            waiting.into_iter().map(|it| it.join()).collect::<Vec<_>>()
        });
        for error in acquired.into_iter().filter_map(|it| it.ok()?.err()) {
            match error {
                storage::Error::Unsupported { .. } => return Err(error.into()),
                storage::Error::Unleased { .. } if self.are_all_lost() => return Err(error.into()),
                error => tracing::error!(error = Failure::from(error).in_a_line(), "no lease"),
            }
        }
        Ok(leases)
    }

    /// A storage that is written to only while its lease is ours.
    pub fn guard(
        self: &Arc<Self>,
        storage: Arc<dyn Storage>,
        database: &Database,
        time: Duration,
    ) -> Result<Arc<dyn Storage>> {
        let lease = self.lease(&storage, database, time, true)?;
        Ok(Arc::new(Leased::new(storage, lease)))
    }

    /// Whether there is nothing left that we may write to.
    pub fn are_all_lost(&self) -> bool {
        let known = self.lock();
        let lost = known.values().filter_map(Weak::upgrade).filter(|it| it.is_lost());
        self.only.is_some_and(|all| lost.count() >= all)
    }

    /// Gives all of them back.
    pub fn release(&self) {
        let known: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        known.iter().for_each(|lease| lease.release());
    }

    fn lease(
        self: &Arc<Self>,
        storage: &Arc<dyn Storage>,
        database: &Database,
        time: Duration,
        at_once: bool,
    ) -> Result<Arc<Lease>> {
        let mut known = self.lock();
        let place = storage.place();
        if let Some(lease) = known.get(&place).and_then(Weak::upgrade) {
            return Ok(lease);
        }
        let all = Arc::downgrade(self);
        let when_lost = move || {
            if let Some(all) = all.upgrade().filter(|all| all.are_all_lost()) {
                let _ = all.events.send(Event::Lost);
            }
        };
        let writer = engine::local::identity(&database.path, database.meta.as_deref())?;
        let lease = Arc::new(Lease::new(Arc::clone(storage), time, writer, when_lost));
        lease.keep(at_once)?;
        known.insert(place, Arc::downgrade(&lease));
        Ok(lease)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Lease>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
