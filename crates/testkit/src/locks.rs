//! Who holds which POSIX lock, as the kernel tells.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The lock bytes of the WAL-index that stand for `READ0` to `READ4` (SQLite: walformat).
const READ_MARKS: RangeInclusive<u64> = 123..=127;

/// One read gets one moment's list, up to a page of text; what is longer is no snapshot.
const ATOMIC: usize = 3900;

/// The bytes of a WAL-index that a process has locked; `None` when the list was too long to be one
/// moment's.
pub fn held(pid: u32, shm: &Path) -> Option<Vec<RangeInclusive<u64>>> {
    let inode = fs::metadata(shm).expect("the WAL-index exists").ino();
    let list = read_at_once("/proc/locks").expect("read the list of locks");
    let locks = list.lines().filter_map(Lock::parse);
    let held = locks.filter(|lock| lock.pid == pid && lock.inode == inode);
    (list.len() < ATOMIC).then(|| held.map(|lock| lock.bytes).collect())
}

/// Whether a read mark is among them.
pub fn has_read_mark(held: &[RangeInclusive<u64>]) -> bool {
    held.iter().any(|bytes| READ_MARKS.clone().any(|mark| bytes.contains(&mark)))
}

fn read_at_once(path: &str) -> io::Result<String> {
    let mut text = vec![0; 64 << 10];
    let length = File::open(path)?.read(&mut text)?;
    text.truncate(length);
    String::from_utf8(text).map_err(io::Error::other)
}

struct Lock {
    pid: u32,
    inode: u64,
    bytes: RangeInclusive<u64>,
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
        Some(Lock { pid, inode, bytes: first..=last })
    }
}
