//! The databases of a running program: those that are replicated, and those that were stopped.

mod error;
mod member;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use engine::{DatabaseOptions, DatabaseStatus, Replicator};

use super::claims;
use crate::config::{Database, Defaults};
use crate::connect::Replica;
use crate::failure::Failure;
pub use error::Error;
pub use member::{Member, Origin, Standing};

/// How soon to look again whether the last request of a database has ended.
const AGAIN: Duration = Duration::from_millis(50);
/// How long the last sync of one may take that has just been synced.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// Makes of a configured database one to replicate.
pub type Open = Box<dyn Fn(&Database) -> Opened + Send + Sync>;
type Opened = std::result::Result<DatabaseOptions, Failure>;

/// All databases, and the program that replicates them.
pub struct Fleet {
    replicator: Replicator,
    open: Open,
    members: Mutex<BTreeMap<PathBuf, Member>>,
    /// What holds for those that the configuration does not name.
    defaults: Mutex<Defaults>,
    /// One change at a time.
    changes: Mutex<()>,
    /// The program is about to end.
    closing: Arc<AtomicBool>,
    /// When it began.
    pub began: (Instant, SystemTime),
}

/// What became of a request that may have been fulfilled already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was not.
    Now,
    /// It was.
    Before,
}

type Result<T> = std::result::Result<T, Error>;

/// How long to wait for what was committed since it was synced, now that it is its turn.
fn last_sync_until(synced: bool, deadline: Instant) -> Instant {
    let now = Instant::now();
    if synced { deadline.max(now + LAST_SYNC) } else { now }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("members", &*self.lock()).finish()
    }
}

impl Fleet {
    /// Starts to replicate. `closing` tells that the program is about to end.
    pub fn start(
        databases: Vec<(Database, Origin)>,
        defaults: Defaults,
        open: Open,
        closing: Arc<AtomicBool>,
    ) -> std::result::Result<Fleet, Failure> {
        let options = databases.iter().map(|(database, _)| open(database));
        let replicator = Replicator::start(options.collect::<std::result::Result<_, _>>()?)?;
        let member = |(database, origin)| Member::new(database, origin);
        let members = databases.into_iter().map(|it| (it.0.path.clone(), member(it))).collect();
        Ok(Fleet {
            replicator,
            open,
            members: Mutex::new(members),
            defaults: Mutex::new(defaults),
            changes: Mutex::default(),
            closing,
            began: (Instant::now(), SystemTime::now()),
        })
    }

    /// What replicates them.
    pub fn replicator(&self) -> &Replicator {
        &self.replicator
    }

    /// All of them, ordered by path.
    pub fn members(&self) -> Vec<Member> {
        self.lock().values().cloned().collect()
    }

    /// What is known of those that are not stopped.
    pub fn statuses(&self) -> Vec<DatabaseStatus> {
        let mut statuses = self.replicator.statuses();
        statuses.sort_by(|a, b| a.path.cmp(&b.path));
        statuses
    }

    /// Goes on with one that was stopped.
    pub fn resume(&self, path: &Path, deadline: Instant) -> Result<(Changed, u64)> {
        let _one = self.one_change();
        let member = self.member(path)?;
        if member.standing == Standing::Running {
            return Ok((Changed::Before, self.txid_of(&member)));
        }
        self.add(&member.database, deadline)?;
        self.update(&member.database.path, |it| {
            it.standing = Standing::Running;
            it.obstacle = None;
        });
        Ok((Changed::Now, self.txid_of(&member)))
    }

    /// Stops to replicate one, after a last sync.
    pub fn stop(&self, path: &Path, deadline: Instant) -> Result<(Changed, u64)> {
        let synced = self.sync_before(path, deadline);
        let _one = self.one_change();
        let deadline = last_sync_until(synced, deadline);
        let member = self.member(path)?;
        if member.standing == Standing::Stopped {
            return Ok((Changed::Before, self.txid_of(&member)));
        }
        let left = self.let_go(&member, deadline);
        if !matches!(left, Err(Error::Closing)) {
            let synced_at =
                left.as_ref().ok().and_then(|status| status.as_ref().and_then(synced_at));
            self.update(&member.database.path, |it| {
                it.standing = Standing::Stopped;
                it.obstacle = None;
                it.synced_at = synced_at;
            });
        }
        left.map(|_| (Changed::Now, self.txid_of(&member)))
    }

    /// What holds from now on for those that are registered.
    pub fn set_defaults(&self, defaults: Defaults) {
        *self.defaults() = defaults;
    }

    /// Begins to replicate one more, until the program ends.
    pub fn register(&self, path: PathBuf, replica: Replica, deadline: Instant) -> Result<Changed> {
        let _one = self.one_change();
        let database = self.defaults().database(path, replica);
        if let Ok(known) = self.member(&database.path) {
            let known_replicas = &known.database.replicas;
            let is_known = |it: &Replica| known_replicas.iter().any(|known| known.shares_place(it));
            let same = database.replicas.iter().all(is_known);
            return match known.database.replicas.first() {
                Some(replica) if !same => Err(Error::Elsewhere {
                    path: known.database.path.clone(),
                    replica: replica.to_string(),
                }),
                _ => Ok(Changed::Before),
            };
        }
        self.refuse_shared(&database)?;
        self.add(&database, deadline)?;
        self.insert(database, Origin::Registered);
        Ok(Changed::Now)
    }

    /// Replicates one no more, after a last sync. Its replica stays.
    pub fn unregister(&self, path: &Path, deadline: Instant) -> Result<(Changed, u64)> {
        let synced = self.sync_before(path, deadline);
        let _one = self.one_change();
        let deadline = last_sync_until(synced, deadline);
        let Ok(member) = self.member(path) else { return Ok((Changed::Before, 0)) };
        self.remove(&member, deadline)?;
        Ok((Changed::Now, self.txid_of(&member)))
    }

    /// Replicates one no more that the configuration does not name any longer.
    pub fn drop_out(&self, path: &Path, deadline: Instant) -> Result<()> {
        let synced = self.sync_before(path, deadline);
        let _one = self.one_change();
        let deadline = last_sync_until(synced, deadline);
        let member = self.member(path)?;
        self.remove(&member, deadline)
    }

    /// Notes a database that is new, or to be replicated in another way, and lets go of it. One that
    /// was stopped stays so; any other is to be taken in then.
    pub fn expect(&self, database: Database, origin: Origin, deadline: Instant) -> Result<()> {
        // What fails now is not waited for: it may be why there is a new way.
        let status = self.replicator.status(&database.path);
        let synced = match status.is_some_and(|status| status.last_error().is_some()) {
            true => false,
            false => self.sync_before(&database.path, deadline),
        };
        let _one = self.one_change();
        let deadline = last_sync_until(synced, deadline);
        let known = self.member(&database.path).ok();
        let standing = match known.as_ref().map(|known| known.standing) {
            Some(Standing::Stopped) => Standing::Stopped,
            _ => Standing::Coming,
        };
        if let Some(known) = known.filter(|it| it.standing == Standing::Running) {
            self.update(&known.database.path, |it| it.standing = standing);
            match self.let_go(&known, deadline) {
                // What is missing goes out in the new way.
                Ok(_) | Err(Error::LeftUnsynced(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let member = Member { standing, ..Member::new(database, origin) };
        self.lock().insert(member.database.path.clone(), member);
        Ok(())
    }

    /// Replicates one that is coming. What is in its way is noted, and `true` says that it is
    /// something new; the same is to be asked for again.
    pub fn take_in(&self, path: &Path, deadline: Instant) -> (Result<()>, bool) {
        let _one = self.one_change();
        let Ok(member) = self.member(path) else { return (Ok(()), false) };
        if member.standing != Standing::Coming {
            return (Ok(()), false);
        }
        let database = &member.database;
        let added = self.refuse_shared(database).and_then(|()| self.add(database, deadline));
        let obstacle = added.as_ref().err().map(Error::to_string);
        let is_new = obstacle != member.obstacle;
        self.update(&database.path, |it| {
            it.standing = if obstacle.is_none() { Standing::Running } else { Standing::Coming };
            it.obstacle = obstacle;
        });
        (added, is_new)
    }

    /// Those that are not replicated yet, though they should be.
    pub fn coming(&self) -> Vec<Member> {
        let members = self.lock();
        members.values().filter(|it| it.standing == Standing::Coming).cloned().collect()
    }

    /// A database has come to be in a directory. `false`: not yet.
    pub fn appeared(&self, database: &Database) -> bool {
        let _one = self.one_change();
        if self.member(&database.path).is_ok() {
            return true;
        }
        if self.leaving(database).is_some() {
            return false;
        }
        let options = match self.refuse_shared(database).and_then(|()| self.options(database)) {
            Ok(options) => options,
            Err(error) => {
                tracing::error!(db = %database.path.display(), %error, "cannot be replicated");
                return false;
            }
        };
        match self.replicator.add(options) {
            Ok(()) => {
                tracing::info!(db = %database.path.display(), "a new database");
                self.insert(database.clone(), Origin::Found);
                true
            }
            Err(error) => matches!(error, engine::Error::Duplicate(_)),
        }
    }

    /// A database of a directory is gone. `false`: not all of it yet.
    pub fn vanished(&self, path: &Path) -> bool {
        let _one = self.one_change();
        let gone = self.replicator.retire(path);
        if gone {
            self.lock().remove(path);
        }
        gone
    }

    /// Waits until all that is committed now is captured, and with `wait` is in all replicas. Gives
    /// the transactions before and after, and that of the replica.
    pub fn sync(&self, path: &Path, wait: bool, deadline: Instant) -> Result<Synced> {
        let member = self.member(path)?;
        let path = &member.database.path;
        let gone = || match self.member(path) {
            Ok(_) => Error::Stopped(path.clone()),
            Err(error) => error,
        };
        let before = self.replicator.status(path).ok_or_else(gone)?.local_txid;
        let synced = match wait {
            true => self.replicator.sync_one(path, deadline),
            false => self.replicator.capture(path, deadline),
        };
        synced.ok_or_else(gone)?.map_err(Error::Unsynced)?;
        let after = self.replicator.status(path).ok_or_else(gone)?;
        let replicated = after.replicas.iter().map(|replica| replica.txid).min().flatten();
        let number = |txid: Option<ltx::Txid>| txid.map_or(0, ltx::Txid::get);
        Ok(Synced {
            changed: after.local_txid != before,
            txid: number(after.local_txid),
            replicated_txid: number(replicated),
        })
    }

    /// The last captured transaction.
    pub fn txid(&self, path: &Path) -> Result<u64> {
        Ok(self.txid_of(&self.member(path)?))
    }

    /// The one that has this path, under whatever name.
    fn member(&self, path: &Path) -> Result<Member> {
        let members = self.lock();
        let exact = members.get(path);
        let same = || {
            let real = path.canonicalize().ok()?;
            members.values().find(|it| it.database.path.canonicalize().is_ok_and(|it| it == real))
        };
        exact.or_else(same).cloned().ok_or_else(|| Error::Unknown(path.to_owned()))
    }

    fn refuse_shared(&self, database: &Database) -> Result<()> {
        let members = self.members();
        let others = members.iter().map(|it| &it.database).filter(|it| it.path != database.path);
        Ok(claims::check(others.chain([database]))?)
    }

    /// Begins to replicate one, as soon as what is left of an earlier time has ended.
    fn add(&self, database: &Database, deadline: Instant) -> Result<()> {
        // Nothing is opened before: a lease would be sought each time.
        while let Some(leaving) = self.leaving(database) {
            if Instant::now() >= deadline {
                return Err(engine::Error::Leaving(leaving).into());
            }
            if self.closing.load(Ordering::SeqCst) {
                return Err(Error::Closing);
            }
            thread::sleep(AGAIN);
        }
        Ok(self.replicator.add(self.options(database)?)?)
    }

    /// What still leaves the database's name or one of its places.
    fn leaving(&self, database: &Database) -> Option<PathBuf> {
        let places = database.replicas.iter().filter_map(|replica| replica.place().ok());
        self.replicator.leaving(&database.path, &places.collect::<Vec<_>>())
    }

    fn options(&self, database: &Database) -> Result<DatabaseOptions> {
        (self.open)(database).map_err(|failure| Error::Unopened(failure.message))
    }

    /// Syncs one that is about to be let go, beside all others: one change is made at a time, and a
    /// replica that does not answer would cost the others theirs. Says whether that went well.
    fn sync_before(&self, path: &Path, deadline: Instant) -> bool {
        !matches!(self.replicator.sync_before(path, deadline, &self.closing), Some(Err(_)))
    }

    fn remove(&self, member: &Member, deadline: Instant) -> Result<()> {
        let left = self.let_go(member, deadline);
        if !matches!(left, Err(Error::Closing)) {
            self.lock().remove(&member.database.path);
        }
        left.map(|_| ())
    }

    fn let_go(&self, member: &Member, deadline: Instant) -> Result<Option<DatabaseStatus>> {
        match self.replicator.remove(&member.database.path, deadline, &self.closing) {
            None => Ok(None),
            Some(Ok(status)) => Ok(Some(status)),
            Some(Err(_)) if self.closing.load(Ordering::SeqCst) => Err(Error::Closing),
            Some(Err(error)) => Err(Error::LeftUnsynced(error)),
        }
    }

    fn txid_of(&self, member: &Member) -> u64 {
        let Database { path, meta, .. } = &member.database;
        let known = self.replicator.status(path).and_then(|status| status.local_txid);
        let stored = || engine::local::position(path, meta.as_deref()).ok().flatten();
        known.or_else(stored).map_or(0, ltx::Txid::get)
    }

    fn insert(&self, database: Database, origin: Origin) {
        self.lock().insert(database.path.clone(), Member::new(database, origin));
    }

    fn update(&self, path: &Path, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.lock().get_mut(path) {
            change(member);
        }
    }

    fn defaults(&self) -> MutexGuard<'_, Defaults> {
        self.defaults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a sync led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// Whether there was something to capture.
    pub changed: bool,
    /// The last captured transaction.
    pub txid: u64,
    /// The last one that all replicas hold.
    pub replicated_txid: u64,
}

/// The moment before which everything is in all replicas.
pub fn synced_at(status: &DatabaseStatus) -> Option<SystemTime> {
    status.replicas.iter().map(|replica| replica.covered_until).min().flatten()
}
