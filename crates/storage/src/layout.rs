//! The names of things in a replica: the one place that builds and reads object keys.
//!
//! Files lie at `<level's directory>/<min>-<max>.ltx` below the replica's root. The directory is
//! `ltx/<level in decimal>`, but on S3 and Alibaba OSS it is the level in four hex digits alone.

use ltx::{Level, TxidRange};

/// The directory below the root that holds all levels.
pub const ROOT: &str = "ltx";

/// The object that says who may write, as Litestream's library names it.
pub const LEASE: &str = "lock.json";

/// How names begin that conditions are tried under.
pub const PROBE: &str = "brooklet-probe";

/// Whether a name beside the levels is one that we give.
pub(crate) fn is_beside(name: &str) -> bool {
    name == LEASE || name.starts_with(PROBE)
}

/// The suffix of files that are still being written. Never a suffix of a real object.
pub const TEMP_SUFFIX: &str = ".tmp";

/// How the levels of a replica are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `ltx/9`
    Ltx,
    /// `0009`
    Hex,
}

impl Layout {
    /// The directory of a level, relative to the replica's root.
    #[must_use]
    pub fn level_directory(self, level: Level) -> String {
        match self {
            Layout::Ltx => format!("{ROOT}/{level}"),
            Layout::Hex => format!("{:04x}", level.get()),
        }
    }

    /// The key of an object, relative to the replica's root.
    #[must_use]
    pub fn key(self, level: Level, txids: TxidRange) -> String {
        format!("{}/{}", self.level_directory(level), txids.file_name())
    }

    /// What the directories of all levels begin with.
    #[must_use]
    pub fn all_levels(self) -> &'static str {
        match self {
            Layout::Ltx => "ltx/",
            Layout::Hex => "00",
        }
    }

    /// What a key, relative to the replica's root, names; none if it is no object of ours.
    #[must_use]
    pub fn parse(self, key: &str) -> Option<(Level, TxidRange)> {
        let (directory, name) = key.rsplit_once('/')?;
        let level = match self {
            Layout::Ltx => directory.strip_prefix(ROOT)?.strip_prefix('/')?.parse().ok()?,
            Layout::Hex if directory.len() == 4 => Level::new(directory.parse().ok()?)?,
            Layout::Hex => return None,
        };
        Some((level, TxidRange::parse_file_name(name)?))
    }
}

/// The directory of a level where files are kept in directories, relative to the replica's root.
#[must_use]
pub fn level_directory(level: Level) -> String {
    Layout::Ltx.level_directory(level)
}

/// The key of an object there, relative to the replica's root.
#[must_use]
pub fn key(level: Level, txids: TxidRange) -> String {
    Layout::Ltx.key(level, txids)
}

/// The level that a directory name stands for.
#[must_use]
pub fn parse_level(name: &str) -> Option<Level> {
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_built() {
        let name = "0000000000000002-000000000000000a.ltx";
        let txids = TxidRange::parse_file_name(name).expect("a file name");
        for layout in [Layout::Ltx, Layout::Hex] {
            for level in Level::all() {
                assert_eq!(layout.parse(&layout.key(level, txids)), Some((level, txids)));
            }
        }
        assert_eq!(Layout::Hex.key(Level::SNAPSHOT, txids), format!("0009/{name}"));
        assert_eq!(Layout::Ltx.key(Level::SNAPSHOT, txids), format!("ltx/9/{name}"));
        for other in ["9", "00009", "000a", "ltx/0", "x/0009"] {
            assert_eq!(Layout::Hex.parse(&format!("{other}/{name}")), None, "{other}");
        }
        assert_eq!(Layout::Ltx.parse(&format!("0009/{name}")), None);
    }
}
