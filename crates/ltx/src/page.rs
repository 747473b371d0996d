//! Page numbers and page sizes.

use std::fmt;
use std::num::NonZeroU32;

/// `SQLite` keeps the page that holds this byte of the file free for its locks.
const LOCK_BYTE: u32 = 0x4000_0000;

/// The number of a database page; the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pgno(NonZeroU32);

impl Pgno {
    /// The first page.
    pub const FIRST: Pgno = Pgno(NonZeroU32::MIN);

    /// The page with this number; none for 0.
    pub const fn new(number: u32) -> Option<Pgno> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Pgno(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The page after this one.
    #[must_use]
    pub const fn next(self) -> Pgno {
        Pgno(self.0.saturating_add(1))
    }

    /// Where the page begins in the database file, in bytes.
    pub const fn offset(self, page_size: PageSize) -> u64 {
        (self.get() as u64 - 1) * page_size.0 as u64
    }
}

impl fmt::Display for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl fmt::Debug for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The size of a database page: a power of two from 512 to 65536 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

impl PageSize {
    /// The page size of that many bytes; none if `SQLite` has no such page size.
    pub const fn new(bytes: u32) -> Option<PageSize> {
        if bytes.is_power_of_two() && 512 <= bytes && bytes <= 65536 {
            Some(PageSize(bytes))
        } else {
            None
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// The page that `SQLite` keeps for its locks (it holds byte 1 GiB). No LTX file contains it,
    /// yet it counts in the size of the database.
    pub const fn lock_page(self) -> Pgno {
        match Pgno::new(LOCK_BYTE / self.0 + 1) {
            Some(pgno) => pgno,
            None => Pgno::FIRST,
        }
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_eight_sizes_of_sqlite_are_legal() {
        let legal: Vec<u32> = (0..=131_072).filter(|n| PageSize::new(*n).is_some()).collect();
        assert_eq!(legal, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
    }

    #[test]
    fn lock_page_holds_the_byte_at_one_gibibyte() {
        let lock = |size| PageSize::new(size).unwrap().lock_page().get();
        assert_eq!(lock(512), 2_097_153);
        assert_eq!(lock(4096), 262_145);
        assert_eq!(lock(65536), 16385);
    }
}
