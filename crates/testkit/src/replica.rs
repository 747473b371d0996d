//! A replica directory seen from outside: which files lie in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A `file://` replica.
#[derive(Debug, Clone)]
pub struct Replica {
    path: PathBuf,
}

/// One LTX file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LtxFile {
    /// Its level, 0 to 9.
    pub level: u8,
    /// Its first TXID.
    pub min: u64,
    /// Its last TXID.
    pub max: u64,
    /// Bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Replica {
    /// The replica in a directory that need not exist yet.
    pub fn new(path: PathBuf) -> Replica {
        Replica { path }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// All files, ordered by level and TXID.
    pub fn files(&self) -> Vec<LtxFile> {
        let mut files = (0..=9).flat_map(|level| self.level(level)).collect::<Vec<_>>();
        files.sort();
        files
    }

    fn level(&self, level: u8) -> Vec<LtxFile> {
        let Ok(entries) = fs::read_dir(self.path.join("ltx").join(level.to_string())) else {
            return Vec::new();
        };
        entries.flatten().filter_map(|entry| LtxFile::at(level, entry.path())).collect()
    }

    /// Every TXID at which some file ends.
    pub fn txids(&self) -> BTreeSet<u64> {
        self.files().iter().map(|file| file.max).collect()
    }

    /// The last TXID, 0 if there is none.
    pub fn last_txid(&self) -> u64 {
        self.txids().last().copied().unwrap_or(0)
    }

    /// Level 0 files whose TXID is greater than `txid`.
    pub fn increments_after(&self, txid: u64) -> Vec<LtxFile> {
        self.files().into_iter().filter(|file| file.level == 0 && file.min > txid).collect()
    }
}

impl LtxFile {
    /// Whether brooklet wrote it: it says what the pages of its state add up to.
    pub fn is_proven(&self) -> bool {
        let mut header = [0; 82];
        let read = fs::File::open(&self.path).and_then(|mut file| file.read_exact(&mut header));
        read.is_ok() && header.ends_with(b"bk")
    }

    fn at(level: u8, path: PathBuf) -> Option<LtxFile> {
        let (min, max) = path.file_name()?.to_str()?.strip_suffix(".ltx")?.split_once('-')?;
        let txid = |hex: &str| u64::from_str_radix(hex, 16).ok();
        let (min, max) = (txid(min)?, txid(max)?);
        let size = fs::metadata(&path).ok()?.len();
        Some(LtxFile { level, min, max, size, path })
    }
}
