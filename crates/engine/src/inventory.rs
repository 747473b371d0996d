//! What one replica holds, known from one listing and from what we did since: while we are its
//! only writer, nobody needs to ask again.

use std::time::Instant;

use ltx::{Level, Txid, TxidRange};
use storage::Object;

use crate::status::{Contents, Level0};

const LEVELS: usize = Level::SNAPSHOT.get() as usize + 1;

/// An object, and since when we know that it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) object: Object,
    pub(crate) since: Instant,
}

/// The objects of all levels, each level ordered by range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    levels: [Vec<Entry>; LEVELS],
    /// Those that are there, but damaged.
    damaged: Vec<Object>,
    /// Restores build on what another program made, on another history or on damage, until there
    /// is a snapshot of this transaction or a later one.
    borrowed: Option<Txid>,
}

impl Inventory {
    /// What a listing of all levels showed.
    pub(crate) fn listed(objects: &[Object], now: Instant) -> Inventory {
        let mut inventory = Inventory::default();
        for object in objects {
            inventory.add(*object, now);
        }
        inventory
    }

    /// The same, but nothing in it is of the history that goes on.
    pub(crate) fn borrowed(mut self) -> Inventory {
        self.borrow();
        self
    }

    /// From now on, only a new snapshot is what restores may build on.
    pub(crate) fn borrow(&mut self) {
        let last = Level::all().filter_map(|level| self.last(level)).max();
        self.borrowed = self.borrowed.max(last);
    }

    /// A damaged object is as good as none, and a snapshot has to get restores past it.
    pub(crate) fn damaged(&mut self, object: &Object) {
        let snapshot = self.newest_snapshot().map(|entry| entry.object);
        if snapshot.is_none_or(|it| it == *object || it.txids.max < object.txids.max) {
            self.borrowed = self.borrowed.max(Some(object.txids.max));
        }
        self.remove(object.level, object.txids);
        self.damaged.push(*object);
    }

    /// Of a replica that nobody can look at, what is damaged is all that is known.
    pub(crate) fn unseen(&self) -> Inventory {
        Inventory { damaged: self.damaged.clone(), ..Inventory::default() }
    }

    /// What is damaged on a level.
    pub(crate) fn damaged_at(&self, level: Level) -> Vec<TxidRange> {
        self.damaged.iter().filter(|it| it.level == level).map(|it| it.txids).collect()
    }

    /// What is there, but as good as not.
    pub(crate) fn all_damaged(&self) -> &[Object] {
        &self.damaged
    }

    /// Whether restores build on what may not be of this history, or not be whole.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.borrowed.is_some()
    }

    pub(crate) fn level(&self, level: Level) -> &[Entry] {
        &self.levels[usize::from(level.get())]
    }

    /// Everything, level by level.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.levels.iter().flatten().map(|entry| &entry.object)
    }

    /// The last transaction of a level.
    pub(crate) fn last(&self, level: Level) -> Option<Txid> {
        self.level(level).iter().map(|entry| entry.object.txids.max).max()
    }

    /// The snapshot that reaches furthest.
    pub(crate) fn newest_snapshot(&self) -> Option<&Entry> {
        self.level(Level::SNAPSHOT).iter().max_by_key(|entry| entry.object.txids.max)
    }

    /// What there is, for those who only look.
    pub(crate) fn contents(&self, level_0: Level0) -> Contents {
        let snapshot = self.newest_snapshot().map(|entry| entry.object);
        let later = |it: &&Object| snapshot.is_none_or(|taken| it.txids.max > taken.txids.max);
        Contents {
            objects: self.objects().count() as u64,
            bytes: self.objects().map(|object| object.size).sum(),
            snapshot_at: snapshot.map(|object| object.created.to_system_time()),
            files_since_snapshot: self.objects().filter(later).count() as u64,
            level_0,
        }
    }

    pub(crate) fn add(&mut self, object: Object, since: Instant) {
        if object.level == Level::SNAPSHOT && Some(object.txids.max) >= self.borrowed {
            self.borrowed = None;
        }
        self.damaged.retain(|it| (it.level, it.txids) != (object.level, object.txids));
        let level = &mut self.levels[usize::from(object.level.get())];
        let entry = Entry { object, since };
        match level.binary_search_by_key(&object.txids, |entry| entry.object.txids) {
            Ok(at) => level[at] = entry,
            Err(at) => level.insert(at, entry),
        }
    }

    pub(crate) fn remove(&mut self, level: Level, txids: TxidRange) {
        self.levels[usize::from(level.get())].retain(|entry| entry.object.txids != txids);
        self.damaged.retain(|it| (it.level, it.txids) != (level, txids));
    }

    /// Bytes that a restore of the newest state reads on top of the newest snapshot.
    pub(crate) fn log_bytes(&self) -> u64 {
        let mut reached = self.newest_snapshot().map_or(0, |entry| entry.object.txids.max.get());
        let mut bytes = 0;
        for level in Level::all().rev().filter(|level| *level != Level::SNAPSHOT) {
            let entries = self.level(level);
            let first = entries.partition_point(|entry| entry.object.txids.min.get() <= reached);
            // One that begins before may still reach beyond.
            for Entry { object, .. } in &entries[first.saturating_sub(1)..] {
                if object.txids.max.get() > reached {
                    reached = object.txids.max.get();
                    bytes += object.size;
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ltx::Timestamp;

    /// A file of 1000 bytes, made as many seconds after the epoch as its last transaction says.
    pub(crate) fn object(level: u8, min: u64, max: u64) -> Object {
        let txid = |n| Txid::new(n).unwrap();
        let txids = TxidRange { min: txid(min), max: txid(max) };
        let created = Timestamp::from_millis(max as i64 * 1000);
        Object { level: Level::new(level).unwrap(), txids, size: 1000, created }
    }

    pub(crate) fn objects(named: &[(u8, u64, u64)]) -> Vec<Object> {
        named.iter().map(|(level, min, max)| object(*level, *min, *max)).collect()
    }

    fn log_bytes(named: &[(u8, u64, u64)]) -> u64 {
        Inventory::listed(&objects(named), Instant::now()).log_bytes()
    }

    #[test]
    fn only_a_new_snapshot_ends_a_loan() {
        let named = [(9, 1, 10), (0, 11, 11)];
        let mut inventory = Inventory::listed(&objects(&named), Instant::now()).borrowed();
        for (level, min, max) in [(0, 12, 12), (1, 11, 12), (9, 1, 10)] {
            inventory.add(object(level, min, max), Instant::now());
            assert!(inventory.is_borrowed());
        }
        inventory.add(object(9, 1, 11), Instant::now());
        assert!(!inventory.is_borrowed());
    }

    #[test]
    fn damage_is_left_behind_by_a_snapshot() {
        let named = [(9, 1, 10), (0, 9, 9), (0, 10, 10), (0, 11, 11), (0, 12, 12)];
        let mut inventory = Inventory::listed(&objects(&named), Instant::now());
        inventory.damaged(&object(0, 9, 9));
        assert!(!inventory.is_borrowed(), "the snapshot is past it");
        inventory.damaged(&object(0, 11, 11));
        assert!(inventory.is_borrowed());
        assert_eq!(inventory.level(Level::L0).len(), 2);
        inventory.add(object(9, 1, 12), Instant::now());
        assert!(!inventory.is_borrowed());
        inventory.damaged(&object(9, 1, 12));
        assert!(inventory.is_borrowed());
        inventory.add(object(9, 1, 11), Instant::now());
        assert!(inventory.is_borrowed(), "restores of the newest state may build on it");
    }

    #[test]
    fn where_all_is_damaged_and_of_another_history_a_snapshot_is_due() {
        let mut inventory = Inventory::listed(&objects(&[(0, 1, 1)]), Instant::now());
        inventory.damaged(&object(0, 1, 1));
        assert!(inventory.borrowed().is_borrowed());
    }

    #[test]
    fn what_is_damaged_is_known_until_it_is_made_again_or_gone() {
        let named = [(9, 1, 1), (0, 2, 2), (0, 3, 3)];
        let mut inventory = Inventory::listed(&objects(&named), Instant::now());
        let [made_again, gone] = [object(0, 2, 2), object(0, 3, 3)];
        inventory.damaged(&made_again);
        inventory.damaged(&gone);
        assert_eq!(inventory.all_damaged(), [made_again, gone]);
        inventory.add(made_again, Instant::now());
        assert_eq!(inventory.all_damaged(), [gone]);
        inventory.remove(gone.level, gone.txids);
        assert_eq!(inventory.all_damaged(), []);
    }

    #[test]
    fn the_log_is_what_a_restore_reads_after_the_snapshot() {
        assert_eq!(log_bytes(&[(9, 1, 10)]), 0);
        assert_eq!(log_bytes(&[(9, 1, 10), (0, 9, 9), (0, 10, 10), (0, 11, 11)]), 1000);
        let levels = [(9, 1, 10), (2, 2, 14), (1, 2, 14), (1, 15, 20), (0, 19, 19), (0, 21, 21)];
        assert_eq!(log_bytes(&levels), 3000);
    }
}
