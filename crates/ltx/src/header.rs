//! The first 100 bytes of a file.

use crate::tag::Tag;
use crate::{Error, PageSize, Result, Timestamp, Txid, TxidRange};

const MAGIC: [u8; 4] = *b"LTX1";
const NO_CHECKSUM: u32 = 1 << 1;

/// Which transactions a file holds, of what database, and where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The file does not state the checksum of the database before and after it. Litestream's and
    /// brooklet's files never do.
    pub no_checksum: bool,
    /// The size of every page.
    pub page_size: PageSize,
    /// The size of the database after this file, in pages.
    pub commit: u32,
    /// The transactions in this file.
    pub txids: TxidRange,
    /// When the file was made; for a compacted file, when its last input was.
    pub timestamp: Timestamp,
    /// The rolling sum of the database before this file; 0 for a snapshot or `no_checksum`.
    pub pre_apply: u64,
    /// The part of the write-ahead log in this file; all zero if unknown.
    pub wal: WalRange,
    /// The node that wrote the file; 0 if unknown.
    pub node_id: u64,
    /// Bytes that the format does not define; see [`Header::tag`].
    pub reserved: [u8; 20],
}

/// A range of bytes in a write-ahead log and the salts of that log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalRange {
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// Salt 1 of the log.
    pub salt1: u32,
    /// Salt 2 of the log.
    pub salt2: u32,
}

impl Header {
    /// The encoded size in bytes.
    pub const SIZE: usize = 100;

    /// The header of a file without database checksums, WAL range and tag.
    pub fn new(page_size: PageSize, commit: u32, txids: TxidRange, timestamp: Timestamp) -> Header {
        Header {
            no_checksum: true,
            page_size,
            commit,
            txids,
            timestamp,
            pre_apply: 0,
            wal: WalRange::default(),
            node_id: 0,
            reserved: [0; 20],
        }
    }

    /// What brooklet proves about the database after this file, if brooklet wrote it.
    pub fn tag(&self) -> Option<Tag> {
        Tag::from_reserved(&self.reserved)
    }

    /// Puts the proof into the reserved bytes.
    pub fn set_tag(&mut self, tag: Tag) {
        self.reserved = tag.to_reserved();
    }

    /// The bytes of the header; an error if a field breaks a rule of the format.
    pub fn encode(&self) -> Result<[u8; Header::SIZE]> {
        self.validate()?;
        if self.commit == 0 && self.no_checksum {
            return Err(Error::BadHeader("empty database without checksum"));
        }
        Ok(self.to_bytes())
    }

    /// The header in these bytes; an error if they break a rule of the format.
    pub fn decode(bytes: &[u8; Header::SIZE]) -> Result<Header> {
        if bytes[..4] != MAGIC {
            return Err(Error::BadMagic);
        }
        let flags = u32_at(bytes, 4);
        if flags & !NO_CHECKSUM != 0 {
            return Err(Error::BadHeader("unknown flags"));
        }
        let txid = |at| Txid::new(u64_at(bytes, at)).ok_or(Error::BadHeader("transaction id 0"));
        let header = Header {
            no_checksum: flags & NO_CHECKSUM != 0,
            page_size: PageSize::new(u32_at(bytes, 8))
                .ok_or(Error::BadHeader("illegal page size"))?,
            commit: u32_at(bytes, 12),
            txids: TxidRange { min: txid(16)?, max: txid(24)? },
            timestamp: Timestamp::from_millis(u64_at(bytes, 32).cast_signed()),
            pre_apply: u64_at(bytes, 40),
            wal: WalRange {
                offset: u64_at(bytes, 48),
                size: u64_at(bytes, 56),
                salt1: u32_at(bytes, 64),
                salt2: u32_at(bytes, 68),
            },
            node_id: u64_at(bytes, 72),
            reserved: array_at(bytes, 80),
        };
        header.validate()?;
        Ok(header)
    }

    /// The bytes of the header, valid or not; for a decoded header, the bytes it came from.
    pub(crate) fn to_bytes(self) -> [u8; Header::SIZE] {
        let mut bytes = [0; Header::SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let flags = if self.no_checksum { NO_CHECKSUM } else { 0 };
        put(0, &MAGIC);
        put(4, &flags.to_be_bytes());
        put(8, &(self.page_size.bytes() as u32).to_be_bytes());
        put(12, &self.commit.to_be_bytes());
        put(16, &self.txids.min.get().to_be_bytes());
        put(24, &self.txids.max.get().to_be_bytes());
        put(32, &self.timestamp.as_millis().to_be_bytes());
        put(40, &self.pre_apply.to_be_bytes());
        put(48, &self.wal.offset.to_be_bytes());
        put(56, &self.wal.size.to_be_bytes());
        put(64, &self.wal.salt1.to_be_bytes());
        put(68, &self.wal.salt2.to_be_bytes());
        put(72, &self.node_id.to_be_bytes());
        put(80, &self.reserved);
        bytes
    }

    fn validate(&self) -> Result<()> {
        let WalRange { offset, size, salt1, salt2 } = self.wal;
        let is_signed = |number: u64| number > i64::MAX as u64;
        let flaw = if self.txids.min > self.txids.max {
            "first transaction after the last"
        } else if is_signed(offset) || is_signed(size) {
            "negative WAL offset or size"
        } else if offset == 0 && (salt1 != 0 || salt2 != 0) {
            "WAL salt without WAL offset"
        } else if offset == 0 && size != 0 {
            "WAL size without WAL offset"
        } else if self.txids.is_snapshot() && self.pre_apply != 0 {
            "snapshot with pre-apply checksum"
        } else if self.no_checksum && self.pre_apply != 0 {
            "pre-apply checksum not allowed"
        } else if !self.txids.is_snapshot() && !self.no_checksum && self.pre_apply >> 63 == 0 {
            "pre-apply checksum missing"
        } else {
            return Ok(());
        };
        Err(Error::BadHeader(flaw))
    }
}

fn array_at<const N: usize>(bytes: &[u8; Header::SIZE], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn u32_at(bytes: &[u8; Header::SIZE], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; Header::SIZE], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checksum;

    fn header(min: u64, max: u64) -> Header {
        let txids = TxidRange { min: Txid::new(min).unwrap(), max: Txid::new(max).unwrap() };
        Header::new(PageSize::new(4096).unwrap(), 5, txids, Timestamp::from_millis(1234))
    }

    #[test]
    fn fields_round_trip() {
        let mut header = header(2, 9);
        header.wal = WalRange { offset: 32, size: 4120, salt1: 7, salt2: 8 };
        header.node_id = 11;
        header.timestamp = Timestamp::from_millis(-5);
        header.set_tag(Tag { sum: Checksum::new(1 << 63 | 42).unwrap(), lineage: 99 });
        let decoded = Header::decode(&header.encode().unwrap()).unwrap();
        assert_eq!(decoded, header);
        assert_eq!(decoded.tag().unwrap().lineage, 99);
        assert_eq!(decoded.tag().unwrap().sum.get(), 1 << 63 | 42);
    }

    #[test]
    fn reserved_bytes_of_others_are_no_tag() {
        let mut header = header(1, 1);
        assert_eq!(header.tag(), None);
        header.reserved = [0xff; 20];
        assert_eq!(header.tag(), None);
        assert_eq!(Header::decode(&header.encode().unwrap()).unwrap(), header);
    }

    #[test]
    fn every_rule_is_checked_both_ways() {
        let wal = |offset, size, salt1, salt2| WalRange { offset, size, salt1, salt2 };
        let with_wal = |wal| Header { wal, ..header(2, 2) };
        let bad = [
            header(3, 2),
            with_wal(wal(1 << 63, 0, 0, 0)),
            with_wal(wal(32, 1 << 63, 0, 0)),
            with_wal(wal(0, 0, 1, 0)),
            with_wal(wal(0, 0, 0, 1)),
            with_wal(wal(0, 1, 0, 0)),
            Header { pre_apply: 1 << 63, ..header(1, 1) },
            Header { pre_apply: 1 << 63, ..header(2, 2) },
            Header { no_checksum: false, pre_apply: 0, ..header(2, 2) },
            Header { no_checksum: false, pre_apply: 1, ..header(2, 2) },
        ];
        for header in bad {
            assert!(matches!(header.encode(), Err(Error::BadHeader(_))), "{header:?}");
            let decoded = Header::decode(&header.to_bytes());
            assert!(matches!(decoded, Err(Error::BadHeader(_))), "{header:?}");
        }
        assert!(Header { commit: 0, ..header(2, 2) }.encode().is_err());
        assert!(Header { no_checksum: false, ..header(1, 1) }.encode().is_ok());
        let chained = Header { no_checksum: false, pre_apply: 1 << 63 | 1, ..header(2, 2) };
        assert!(chained.encode().is_ok());
    }
}
