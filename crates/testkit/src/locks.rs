//! Who holds which POSIX lock, as the kernel tells.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The lock bytes of the WAL-index that stand for `READ0` to `READ4` (SQLite: walformat).
const READ_MARKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The kernel hands out the list in one piece up to a page of text; beyond that it is no snapshot.
const ATOMIC: usize = 3900;

/// Whether a process holds a read mark on a WAL-index; `None` when the list was too long to be one
/// moment's.
pub fn holds_read_mark(pid: u32, shm: &Path) -> Option<bool> {
    let inode = fs::metadata(shm).expect("the WAL-index exists").ino();
    let list = fs::read_to_string("/proc/locks").expect("read the list of locks");
    let held = list.lines().filter_map(Lock::parse).any(|lock| {
        lock.pid == pid
            && lock.inode == inode
            && lock.first <= *READ_MARKS.end()
            && lock.last >= *READ_MARKS.start()
    });
    (held || list.len() < ATOMIC).then_some(held)
}

struct Lock {
    pid: u32,
    inode: u64,
    first: u64,
    last: u64,
}

impl Lock {
    /// `7: POSIX  ADVISORY  READ 4711 fe:00:1234 123 123`; waiting ones (`->`) are not held.
    fn parse(line: &str) -> Option<Lock> {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, _) = (words.next()?, words.next()?, words.next()?);
        if kind != "POSIX" {
            return None;
        }
        let pid = words.next()?.parse().ok()?;
        let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
        let first = words.next()?.parse().ok()?;
        let last = words.next().map(|word| word.parse().unwrap_or(u64::MAX))?;
        Some(Lock { pid, inode, first, last })
    }
}
