//! The WAL-index (`-shm`), read with `pread` beside its users.
//!
//! Layout and rules: the "WAL-index" section of SQLite's file format document (walformat.html).
//! All numbers are in native byte order, except the salts, which stand as in the WAL header.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ltx::{PageSize, Pgno};

use crate::wal::{Salts, WalChecksum};
use crate::{Error, Result};

const HEADER: usize = 48;
const VERSION: u32 = 3_007_000;
/// Bytes of one block of the index: page numbers, then their hash table.
const BLOCK: u64 = 32 * 1024;
/// Frames in the first block, which also holds the headers.
const FIRST_BLOCK_FRAMES: u32 = 4062;
const BLOCK_FRAMES: u32 = 4096;
const FIRST_PGNO_OFFSET: u64 = 136;
/// `READMARK_NOT_USED`
const UNUSED_MARK: u32 = u32::MAX;
/// A writer holds the two copies apart for nanoseconds only.
const MAX_TEARS: u32 = 10_000;

/// Where the WAL ends, on a commit, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Salts of the current WAL.
    pub salts: Salts,
    /// Number of its last committed frame; 0 if it holds none.
    pub frame: u32,
    /// Cumulative checksum of that frame.
    pub checksum: WalChecksum,
    /// Size of the database in pages after that commit; 0 if no WAL was ever written here.
    pub pages: u32,
    /// Counts the transactions, so that equal tips mean that nothing happened in between.
    pub change: u32,
}

/// An open WAL-index.
#[derive(Debug)]
pub struct WalIndex {
    path: PathBuf,
    file: File,
}

impl WalIndex {
    /// Opens the `-shm` at `path`. It must exist: SQLite makes it on the first read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Ok(WalIndex { path: path.to_path_buf(), file })
    }

    /// The current tip, and the page size, which is not known before the first frame.
    pub fn tip(&self) -> Result<(Tip, Option<PageSize>)> {
        for tears in 0..MAX_TEARS {
            let mut copies = [0u8; 2 * HEADER];
            self.read(0, &mut copies)?;
            if let Some(found) = parse(&copies) {
                return Ok(found);
            }
            if tears > 100 {
                std::thread::yield_now();
            }
        }
        Err(self.unexpected("its index header has no valid pair of copies"))
    }

    /// How many frames are copied into the database file (`nBackfill`).
    pub fn backfilled(&self) -> Result<u32> {
        self.word(96)
    }

    /// How many frames somebody began to copy into it (`nBackfillAttempted`).
    pub(crate) fn backfill_attempted(&self) -> Result<u32> {
        self.word(128)
    }

    /// Whether no reader has use for a read mark, 1 to 4.
    pub(crate) fn is_unused(&self, mark: u8) -> Result<bool> {
        Ok(self.word(100 + 4 * u64::from(mark))? == UNUSED_MARK)
    }

    /// Page numbers of the frames `after + 1 ..= through`, in frame order.
    pub fn page_numbers(&self, after: u32, through: u32) -> Result<Vec<u32>> {
        let mut numbers = Vec::with_capacity((through.saturating_sub(after)) as usize);
        let mut next = after + 1;
        while next <= through {
            let (offset, room) = locate(next);
            let count = room.min(through - next + 1);
            let mut bytes = vec![0u8; count as usize * 4];
            self.read(offset, &mut bytes)?;
            numbers.extend(
                bytes.chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])),
            );
            next += count;
        }
        Ok(numbers)
    }

    /// The last frame of each page among the frames `after + 1 ..= through`, by page number.
    pub fn last_frames(&self, after: u32, through: u32) -> Result<Vec<(Pgno, u32)>> {
        let numbers = self.page_numbers(after, through)?;
        let mut keyed: Vec<u64> = (after + 1..=through)
            .zip(&numbers)
            .map(|(frame, pgno)| u64::from(*pgno) << 32 | u64::from(frame))
            .collect();
        keyed.sort_unstable();
        let mut last: Vec<(Pgno, u32)> = Vec::new();
        for key in keyed {
            let frame = (key & 0xffff_ffff) as u32;
            let Some(pgno) = Pgno::new((key >> 32) as u32) else {
                return Err(self.unexpected("its index names page 0"));
            };
            match last.last_mut() {
                Some((p, f)) if *p == pgno => *f = frame,
                _ => last.push((pgno, frame)),
            }
        }
        Ok(last)
    }

    fn word(&self, offset: u64) -> Result<u32> {
        let mut word = [0u8; 4];
        self.read(offset, &mut word)?;
        Ok(u32::from_ne_bytes(word))
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => self.unexpected("its index is cut short"),
            _ => Error::io(&self.path, e),
        })
    }

    fn unexpected(&self, reason: &str) -> Error {
        Error::Discontinuity { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// Offset of the page number of `frame`, and how many frames from it on stand in one piece.
fn locate(frame: u32) -> (u64, u32) {
    if frame <= FIRST_BLOCK_FRAMES {
        let offset = FIRST_PGNO_OFFSET + u64::from(frame - 1) * 4;
        return (offset, FIRST_BLOCK_FRAMES - frame + 1);
    }
    let beyond = frame - FIRST_BLOCK_FRAMES - 1;
    let (block, within) = (beyond / BLOCK_FRAMES + 1, beyond % BLOCK_FRAMES);
    (u64::from(block) * BLOCK + u64::from(within) * 4, BLOCK_FRAMES - within)
}

/// Parses the two header copies; `None` while a writer is between them.
pub fn parse(copies: &[u8; 2 * HEADER]) -> Option<(Tip, Option<PageSize>)> {
    let (first, second) = copies.split_at(HEADER);
    if first != second {
        return None;
    }
    let word =
        |at: usize| u32::from_ne_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    let initialised = first[12] != 0;
    if word(0) != VERSION || !initialised || checksum(&first[..40]) != (word(40), word(44)) {
        return None;
    }
    let stored_size = u32::from(u16::from_ne_bytes([first[14], first[15]]));
    let page_size = PageSize::new((stored_size & 0xfe00) + ((stored_size & 1) << 16));
    let be =
        |at: usize| u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    let tip = Tip {
        salts: Salts(be(32), be(36)),
        frame: word(16),
        checksum: WalChecksum(word(24), word(28)),
        pages: word(20),
        change: word(8),
    };
    (page_size.is_some() || tip.frame == 0).then_some((tip, page_size))
}

fn checksum(bytes: &[u8]) -> (u32, u32) {
    let (mut s0, mut s1) = (0u32, 0u32);
    for pair in bytes.chunks_exact(8) {
        let a = u32::from_ne_bytes([pair[0], pair[1], pair[2], pair[3]]);
        let b = u32::from_ne_bytes([pair[4], pair[5], pair[6], pair[7]]);
        s0 = s0.wrapping_add(a).wrapping_add(s1);
        s1 = s1.wrapping_add(b).wrapping_add(s0);
    }
    (s0, s1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_located_across_blocks() {
        assert_eq!(locate(1), (136, 4062));
        assert_eq!(locate(4062), (136 + 4061 * 4, 1));
        assert_eq!(locate(4063), (32768, 4096));
        assert_eq!(locate(4063 + 4095), (32768 + 4095 * 4, 1));
        assert_eq!(locate(4063 + 4096), (65536, 4096));
    }
}
