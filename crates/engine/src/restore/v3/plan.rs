//! Which snapshot and which pieces of the WAL make up a state: a pure decision over a listing.

use ltx::Timestamp;
use storage::Key;

use super::names::Name;

/// What to read, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The generation that it is of.
    pub generation: String,
    /// The key of the snapshot.
    pub snapshot: String,
    /// When that was made.
    pub(super) snapshot_created: Timestamp,
    /// The WALs after it.
    pub(super) wals: Vec<Wal>,
    /// When the last piece was written.
    pub created: Timestamp,
    /// Bytes to read.
    pub size: u64,
    /// The newest file of all generations.
    pub(crate) updated: Timestamp,
}

impl Plan {
    /// How many files are read.
    #[must_use]
    pub fn files(&self) -> usize {
        1 + self.wals.iter().map(|wal| wal.segments.len()).sum::<usize>()
    }

    /// Their keys, in the order in which they are read.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let segments = self.wals.iter().flat_map(|wal| &wal.segments);
        std::iter::once(&*self.snapshot).chain(segments.map(|segment| &*segment.key))
    }

    /// When the snapshot was made that the state builds on.
    pub(crate) fn snapshot_created(&self) -> Timestamp {
        self.snapshot_created
    }
}

/// One WAL, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wal {
    pub(super) index: u32,
    /// The index that has to come here.
    pub(super) wanted: u32,
    pub(super) segments: Vec<Segment>,
}

/// A piece of a WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) key: String,
}

/// When the oldest snapshot was made.
pub(super) fn begins(keys: &[Key]) -> Option<Timestamp> {
    let is_snapshot = |key: &&Key| matches!(Name::parse(&key.name), Some(Name::Snapshot { .. }));
    keys.iter().filter(is_snapshot).map(|key| key.modified).min()
}

/// The newest snapshot at or before the moment, and everything of its generation after it.
pub(super) fn plan(keys: &[Key], moment: Option<Timestamp>) -> Option<Plan> {
    let fits = |key: &&Key| moment.is_none_or(|moment| key.modified <= moment);
    let snapshots = keys.iter().filter(fits).filter_map(|key| match Name::parse(&key.name)? {
        Name::Snapshot { generation, index } => Some((key, generation, index)),
        Name::Segment { .. } => None,
    });
    let (snapshot, generation, first) =
        snapshots.max_by_key(|(key, generation, index)| (key.modified, *generation, *index))?;
    let mut segments: Vec<(u32, u64, &Key)> = keys
        .iter()
        .filter(fits)
        .filter_map(|key| match Name::parse(&key.name)? {
            Name::Segment { generation: its, index, offset } => {
                (its == generation && index >= first).then_some((index, offset, key))
            }
            Name::Snapshot { .. } => None,
        })
        .collect();
    segments.sort_unstable_by_key(|(index, offset, _)| (*index, *offset));

    let mut wals: Vec<Wal> = Vec::new();
    for (index, offset, key) in &segments {
        if wals.last().is_none_or(|wal| wal.index != *index) {
            let wanted = wals.last().map_or(first, |wal| wal.index + 1);
            wals.push(Wal { index: *index, wanted, segments: Vec::new() });
        }
        if let Some(wal) = wals.last_mut() {
            wal.segments.push(Segment { offset: *offset, key: key.name.clone() });
        }
    }
    let read = || segments.iter().map(|(_, _, key)| *key).chain([snapshot]);
    Some(Plan {
        generation: generation.to_owned(),
        snapshot: snapshot.name.clone(),
        snapshot_created: snapshot.modified,
        wals,
        created: read().map(|key| key.modified).max()?,
        size: read().map(|key| key.size).sum(),
        updated: keys.iter().map(|key| key.modified).max()?,
    })
}
