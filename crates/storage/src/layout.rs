//! The names of things in a replica: the one place that builds and reads object keys.
//!
//! Files lie at `ltx/<level in decimal>/<min>-<max>.ltx` below the replica's root.

use ltx::{Level, TxidRange};

/// The directory below the root that holds all levels.
pub const ROOT: &str = "ltx";

/// The suffix of files that are still being written. Never a suffix of a real object.
pub const TEMP_SUFFIX: &str = ".tmp";

/// The directory of a level, relative to the replica's root.
#[must_use]
pub fn level_directory(level: Level) -> String {
    format!("{ROOT}/{level}")
}

/// The key of an object, relative to the replica's root.
#[must_use]
pub fn key(level: Level, txids: TxidRange) -> String {
    format!("{ROOT}/{level}/{}", txids.file_name())
}

/// The level that a directory name stands for.
#[must_use]
pub fn parse_level(name: &str) -> Option<Level> {
    name.parse().ok()
}
