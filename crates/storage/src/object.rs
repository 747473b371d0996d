//! One stored LTX file, as a listing shows it.

use std::fmt;

use ltx::{Level, Timestamp, TxidRange};

use crate::layout;

/// One stored LTX file, as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Its compaction level.
    pub level: Level,
    /// The transactions that it holds.
    pub txids: TxidRange,
    /// Its length in bytes.
    pub size: u64,
    /// When its last transaction was captured, as far as the backend can tell.
    pub created: Timestamp,
}

/// Something below a replica's root, by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, relative to the root, with slashes.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&layout::key(self.level, self.txids))
    }
}
