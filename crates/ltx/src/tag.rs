//! What brooklet keeps in the reserved bytes of a header.

use crate::Checksum;

const MAGIC: &[u8; 2] = b"bk";
const VERSION: u8 = 1;

/// Proof of what the database is after a file is applied. Litestream ignores it.
///
/// Layout in the 20 reserved bytes: `bk`, version 1, 0, sum (8 bytes, big-endian), lineage
/// (8 bytes, big-endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The [rolling sum](crate::RollingSum) of the database after this file.
    pub sum: Checksum,
    /// A random number that all files of one unbroken history share.
    pub lineage: u64,
}

impl Tag {
    pub(crate) fn to_reserved(self) -> [u8; 20] {
        let mut reserved = [0; 20];
        reserved[..2].copy_from_slice(MAGIC);
        reserved[2] = VERSION;
        reserved[4..12].copy_from_slice(&self.sum.get().to_be_bytes());
        reserved[12..].copy_from_slice(&self.lineage.to_be_bytes());
        reserved
    }

    /// The tag in the reserved bytes; none if something else, or nothing, is there.
    pub(crate) fn from_reserved(reserved: &[u8; 20]) -> Option<Tag> {
        let [b'b', b'k', VERSION, 0, numbers @ ..] = reserved else { return None };
        let (sum, lineage) = numbers.split_first_chunk()?;
        let sum = Checksum::new(u64::from_be_bytes(*sum))?;
        let lineage = u64::from_be_bytes(*lineage.first_chunk()?);
        Some(Tag { sum, lineage })
    }
}
