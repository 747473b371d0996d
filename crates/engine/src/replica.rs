//! One of the places that a database is replicated to.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use ltx::{Level, Txid};
use storage::{Object, Storage};

use crate::compaction;
use crate::inventory::Inventory;
use crate::local::Needs;
use crate::scheduler::Bell;

/// A replica, as those see it who carry files there and those who keep it small.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Its place among the replicas of its database.
    pub(crate) index: usize,
    pub(crate) storage: Arc<dyn Storage>,
    /// The highest level that is compacted to; 0 for none.
    top: Level,
    holdings: Mutex<Holdings>,
    /// Wakes those who compact and delete.
    pub(crate) upkeep: OnceLock<Bell>,
    /// Wakes those who make snapshots.
    pub(crate) snapshots: OnceLock<Bell>,
}

#[derive(Debug, Default)]
struct Holdings {
    inventory: Inventory,
    /// Counts the times that the replica was looked at anew.
    epoch: u64,
}

impl Replica {
    pub(crate) fn new(index: usize, storage: Arc<dyn Storage>, top: Level) -> Replica {
        let (upkeep, snapshots) = (OnceLock::new(), OnceLock::new());
        Replica { index, storage, top, holdings: Mutex::default(), upkeep, snapshots }
    }

    /// Starts over from what a listing of all levels showed. What is damaged is so still.
    pub(crate) fn begin(&self, mut inventory: Inventory) {
        let mut holdings = self.lock();
        for damaged in holdings.inventory.all_damaged() {
            let what = |it: &Object| (it.level, it.txids, it.size);
            let listed = inventory.objects().find(|it| what(it) == what(damaged)).copied();
            listed.iter().for_each(|it| inventory.damaged(it));
        }
        *holdings = Holdings { inventory, epoch: holdings.epoch + 1 };
    }

    /// Starts over from nothing: nobody could look at it.
    pub(crate) fn unseen(&self) {
        let mut holdings = self.lock();
        let (epoch, inventory) = (holdings.epoch + 1, holdings.inventory.unseen());
        *holdings = Holdings { inventory, epoch };
    }

    /// Decides something from what it holds; the number says how long that is true.
    pub(crate) fn plan<T>(&self, decide: impl FnOnce(&Inventory) -> T) -> (T, u64) {
        let holdings = self.lock();
        (decide(&holdings.inventory), holdings.epoch)
    }

    /// Notes an object that was stored, unless everything has started over since.
    pub(crate) fn stored(&self, object: Object, epoch: u64) {
        let mut holdings = self.lock();
        if holdings.epoch == epoch {
            holdings.inventory.add(object, Instant::now());
        }
    }

    /// Notes that a damaged object was stored again.
    pub(crate) fn mended(&self, object: Object) {
        self.lock().inventory.add(object, Instant::now());
    }

    /// Notes that objects are gone.
    pub(crate) fn deleted(&self, objects: &[Object], epoch: u64) {
        let mut holdings = self.lock();
        if holdings.epoch == epoch {
            objects.iter().for_each(|it| holdings.inventory.remove(it.level, it.txids));
        }
    }

    /// Notes that an object is damaged.
    pub(crate) fn damaged(&self, object: &Object, epoch: u64) {
        let mut holdings = self.lock();
        if holdings.epoch == epoch {
            holdings.inventory.damaged(object);
        }
    }

    /// The same of the object with this full name. Whether there is one, or that was known.
    pub(crate) fn damaged_by_name(&self, name: &str) -> bool {
        let mut holdings = self.lock();
        let is_named = |it: &Object| self.storage.name(it.level, it.txids) == name;
        let object = holdings.inventory.objects().copied().find(is_named);
        object.into_iter().for_each(|object| holdings.inventory.damaged(&object));
        object.is_some() || holdings.inventory.all_damaged().iter().any(is_named)
    }

    /// Notes that something is damaged which restores of the newest state need.
    pub(crate) fn unsound(&self) {
        self.lock().inventory.borrow();
    }

    /// What is still needed of the local files, if everything up to `uploaded` is here.
    pub(crate) fn needs(&self, uploaded: Txid) -> Needs {
        let holdings = self.lock();
        let mut levels = [uploaded.next(); _];
        let mut next = uploaded.next();
        for level in Level::all().take_while(|level| *level < self.top) {
            // What is made of the level below is needed from the moment it is made.
            next = compaction::next(&holdings.inventory, level).unwrap_or(next);
            levels[usize::from(level.get())] = next;
        }
        // The first snapshot is made of the first captured file.
        let unsnapped = holdings.inventory.newest_snapshot().is_none();
        levels[0] = if unsnapped { Txid::FIRST } else { levels[0].min(uploaded) };
        Needs { lacks: uploaded, levels }
    }

    pub(crate) fn wake_keepers(&self) {
        [&self.upkeep, &self.snapshots].into_iter().filter_map(OnceLock::get).for_each(Bell::ring);
    }

    fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::{object, objects};

    #[test]
    fn what_is_damaged_is_known_by_the_name_that_errors_give() {
        let storage = Arc::new(storage::FileStorage::new("/backup/app"));
        let replica = Replica::new(0, Arc::clone(&storage) as _, Level::L0);
        let listed = objects(&[(9, 1, 10), (9, 1, 20), (0, 21, 21)]);
        replica.begin(Inventory::listed(&listed, Instant::now()));
        let snapshot = object(9, 1, 20);
        let name = storage.name(snapshot.level, snapshot.txids);
        assert!(!replica.damaged_by_name("/backup/other"));
        assert!(replica.damaged_by_name(&name));
        let left = |inventory: &Inventory| inventory.newest_snapshot().map(|it| it.object);
        assert_eq!(replica.plan(left).0, Some(object(9, 1, 10)), "nothing is built on it");
        assert!(replica.plan(Inventory::is_borrowed).0, "nor is there one that may stand for it");
        assert!(replica.damaged_by_name(&name), "it is known");
        // Also after another look, until it is mended.
        replica.unseen();
        replica.begin(Inventory::listed(&listed, Instant::now()));
        assert_eq!(replica.plan(left).0, Some(object(9, 1, 10)));
        assert!(replica.plan(Inventory::is_borrowed).0);
        replica.mended(snapshot);
        replica.begin(Inventory::listed(&listed, Instant::now()));
        assert_eq!(replica.plan(left).0, Some(snapshot));
        assert!(!replica.plan(Inventory::is_borrowed).0);
    }
}
