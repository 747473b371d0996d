//! Transaction ids and ranges of them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::{Error, Result};

/// The number of a transaction: 1 for the first, one more for each capture of the WAL.
///
/// Its text form is exactly 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txid(NonZeroU64);

impl Txid {
    /// The first transaction id.
    pub const FIRST: Txid = Txid(NonZeroU64::MIN);

    /// The id with this number; none for 0.
    pub const fn new(number: u64) -> Option<Txid> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Txid(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The id after this one.
    #[must_use]
    pub const fn next(self) -> Txid {
        Txid(self.0.saturating_add(1))
    }

    /// The id before this one; none before the first.
    pub const fn previous(self) -> Option<Txid> {
        Txid::new(self.get() - 1)
    }
}

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
}

impl fmt::Debug for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.get())
    }
}

impl FromStr for Txid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Txid> {
        let is_hex =
            text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex
            .then(|| u64::from_str_radix(text, 16).ok().and_then(Txid::new))
            .flatten()
            .ok_or_else(|| Error::BadTxid(text.to_owned()))
    }
}

/// The transactions that a file holds, both ends included. Ordered by `min`, then `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxidRange {
    /// The first transaction.
    pub min: Txid,
    /// The last transaction, at least `min`.
    pub max: Txid,
}

impl TxidRange {
    /// The range from `min` to `max`; none if they are the wrong way round.
    pub fn new(min: Txid, max: Txid) -> Option<TxidRange> {
        (min <= max).then_some(TxidRange { min, max })
    }

    /// The range of one transaction.
    pub const fn single(txid: Txid) -> TxidRange {
        TxidRange { min: txid, max: txid }
    }

    /// Whether a file with this range holds the whole database: it starts at the first transaction.
    pub fn is_snapshot(self) -> bool {
        self.min == Txid::FIRST
    }

    /// Whether the transaction is in the range.
    pub fn contains(self, txid: Txid) -> bool {
        self.min <= txid && txid <= self.max
    }

    /// Whether all of another's transactions are in it.
    pub fn holds(self, other: TxidRange) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    /// The name of the file with this range: `<min>-<max>.ltx`.
    pub fn file_name(self) -> String {
        format!("{self}.ltx")
    }

    /// The range that a file name states; none if it is not exactly the name of an LTX file.
    pub fn parse_file_name(name: &str) -> Option<TxidRange> {
        let (min, max) = name.strip_suffix(".ltx")?.split_once('-')?;
        TxidRange::new(min.parse().ok()?, max.parse().ok()?)
    }
}

impl fmt::Display for TxidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_sixteen_lower_case_digits() {
        let txid = Txid::new(0x1a2).unwrap();
        assert_eq!(txid.to_string(), "00000000000001a2");
        assert_eq!("00000000000001a2".parse::<Txid>().unwrap(), txid);
        for bad in ["", "1a2", "00000000000001A2", "0000000000000000", "+0000000000001a2"] {
            assert!(bad.parse::<Txid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn file_names_round_trip_and_others_are_none() {
        let range = TxidRange::new(Txid::FIRST, Txid::new(0xff).unwrap()).unwrap();
        assert_eq!(range.file_name(), "0000000000000001-00000000000000ff.ltx");
        assert_eq!(TxidRange::parse_file_name(&range.file_name()), Some(range));
        for bad in [
            "0000000000000001-00000000000000ff.ltx.tmp",
            "0000000000000001-00000000000000FF.ltx",
            "0000000000000002-0000000000000001.ltx",
            "0000000000000000-0000000000000001.ltx",
            "0000000000000001.ltx",
        ] {
            assert_eq!(TxidRange::parse_file_name(bad), None, "{bad}");
        }
    }
}
