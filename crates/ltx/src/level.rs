//! Compaction levels.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Where a file stands in a replica: 0 as captured, 1 to 8 compacted, 9 snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// Files as captured, one per transaction id.
    pub const L0: Level = Level(0);
    /// Files with the whole database.
    pub const SNAPSHOT: Level = Level(9);

    /// The level with this number, 0 to 9.
    pub const fn new(number: u8) -> Option<Level> {
        if number <= Level::SNAPSHOT.0 { Some(Level(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All levels, from 0 to 9.
    pub fn all() -> impl DoubleEndedIterator<Item = Level> {
        (0..=Level::SNAPSHOT.0).map(Level)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Level> {
        match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(Level(digit - b'0')),
            _ => Err(Error::BadLevel(text.to_owned())),
        }
    }
}
