//! What the database file looks like from outside, and how far checkpoints have come with it: by
//! that a write past SQLite is found, as when a backup is copied over a live database.

use std::time::{Duration, SystemTime};

use crate::wal::Salts;

/// Size and time of a file. Every write changes one of them, unless two fall within one tick of
/// the filesystem's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Bytes.
    pub size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub modified: u64,
}

impl Looks {
    pub(crate) fn new(size: u64, modified: SystemTime) -> Looks {
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Looks { size, modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
    }
}

/// Taken while nobody checkpoints: in WAL mode nothing else of SQLite writes to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imprint {
    /// How the file looks.
    pub looks: Looks,
    pub(crate) checkpoints: Checkpoints,
}

/// How far the WAL is copied back, and how far that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoints {
    pub(crate) salts: Salts,
    pub(crate) backfilled: u32,
    pub(crate) attempted: u32,
}

impl Imprint {
    /// Whether the file was written to before `later`, and not by a checkpoint.
    pub fn is_overwritten_in(&self, later: &Imprint) -> bool {
        self.looks != later.looks && self.checkpoints == later.checkpoints
    }
}
