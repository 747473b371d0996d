//! Checksums of files, pages and databases.

use std::fmt;

use crate::{Crc64, Pgno};

/// Every stored checksum has this bit set, so that none is zero.
const FLAG: u64 = 1 << 63;

/// A checksum as the format stores it: a CRC-64/GO-ISO, or the xor of some, with bit 63 set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(u64);

impl Checksum {
    /// The stored checksum with these bits; none if bit 63 is not set.
    pub const fn new(bits: u64) -> Option<Checksum> {
        if bits & FLAG != 0 { Some(Checksum(bits)) } else { None }
    }

    /// All 64 bits, as stored.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The form in which a CRC is stored.
    pub(crate) const fn of_crc(crc: u64) -> Checksum {
        Checksum(FLAG | crc)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

/// The checksum of one page of a database: of its number, 4 bytes big-endian, and its content.
#[inline]
pub fn page_sum(pgno: Pgno, page: &[u8]) -> Checksum {
    let mut crc = Crc64::new();
    crc.update(&pgno.get().to_be_bytes());
    crc.update(page);
    Checksum::of_crc(crc.value())
}

/// The checksum of a whole database: the xor of the [`page_sum`]s of all its pages, bit 63 kept.
///
/// The lock page is not part of it; the caller leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RollingSum(Checksum);

impl RollingSum {
    /// The sum of an empty database.
    pub const EMPTY: RollingSum = RollingSum(Checksum(FLAG));

    /// The sum of an empty database.
    pub const fn new() -> RollingSum {
        RollingSum::EMPTY
    }

    /// Goes on from a sum that was stored.
    pub const fn from_checksum(sum: Checksum) -> RollingSum {
        RollingSum(sum)
    }

    /// Counts a page in.
    #[inline]
    pub fn add(&mut self, page: Checksum) {
        self.0 = Checksum::of_crc(self.0.0 ^ page.0);
    }

    /// Counts a page out: it is no longer in the database, or other content takes its place.
    #[inline]
    pub fn remove(&mut self, page: Checksum) {
        self.add(page);
    }

    /// The sum of the pages so far.
    pub const fn checksum(self) -> Checksum {
        self.0
    }
}

impl Default for RollingSum {
    fn default() -> RollingSum {
        RollingSum::EMPTY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_can_be_removed() {
        let page = |n: u32| page_sum(Pgno::new(n).unwrap(), &[n as u8; 512]);
        let mut sum = RollingSum::new();
        sum.add(page(1));
        let one = sum;
        sum.add(page(2));
        assert_ne!(sum, one);
        sum.remove(page(2));
        assert_eq!(sum, one);
        sum.remove(page(1));
        assert_eq!(sum, RollingSum::EMPTY);
        assert_eq!(sum.checksum().get(), 1 << 63);
    }
}
