//! What can be wrong with an LTX file.

use std::io;

use crate::{Checksum, Pgno, TxidRange};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be read, written or merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader or writer below failed.
    #[error("could not read or write the LTX file: {0}")]
    Io(io::Error),
    /// The bytes end before the file does.
    #[error("the file ends early")]
    Truncated,
    /// The first four bytes are not `LTX1`.
    #[error("not an LTX file: wrong magic")]
    BadMagic,
    /// A header field breaks a rule of the format.
    #[error("invalid header: {0}")]
    BadHeader(&'static str),
    /// A page frame cannot be decoded.
    #[error("invalid frame of page {pgno}: {reason}")]
    BadFrame {
        /// The page the frame says it holds.
        pgno: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The page index cannot be parsed, or does not describe the frames.
    #[error("invalid page index: {0}")]
    BadIndex(&'static str),
    /// A trailer field breaks a rule of the format.
    #[error("invalid trailer: {0}")]
    BadTrailer(&'static str),
    /// Bytes follow the trailer.
    #[error("bytes follow the end of the file")]
    TrailingBytes,
    /// Pages are not strictly ascending.
    #[error("page {found} comes after page {previous}")]
    Disorder {
        /// The page before.
        previous: Pgno,
        /// The page that should have been greater.
        found: Pgno,
    },
    /// A snapshot (min TXID 1) lacks a page.
    #[error("snapshot without page {0}")]
    MissingPage(u32),
    /// A file must not hold the lock page.
    #[error("page {0} is the lock page")]
    LockPage(Pgno),
    /// A page to write lies behind the end of the database.
    #[error("page {pgno} is beyond the database size of {commit} pages")]
    BeyondCommit {
        /// The page.
        pgno: Pgno,
        /// The size of the database in pages.
        commit: u32,
    },
    /// Page data or a page buffer is not one page long.
    #[error("page of {found} bytes where {expected} are needed")]
    PageLength {
        /// The page size of the file in bytes.
        expected: usize,
        /// The length that was given in bytes.
        found: usize,
    },
    /// The content does not have the checksum that the trailer states.
    #[error("file checksum is {computed}, the trailer says {stored}")]
    FileChecksum {
        /// As the trailer says.
        stored: Checksum,
        /// As the content has it.
        computed: Checksum,
    },
    /// The pages of a snapshot do not have the database checksum that the trailer states.
    #[error("database checksum is {computed}, the trailer says {stored}")]
    PostApply {
        /// As the trailer says.
        stored: Checksum,
        /// As the pages have it.
        computed: Checksum,
    },
    /// There is nothing to merge.
    #[error("no files to merge")]
    NothingToMerge,
    /// Files to merge have different page sizes.
    #[error("cannot merge files with page sizes of {first} and {other} bytes")]
    MixedPageSizes {
        /// Of the first file.
        first: usize,
        /// Of a later one.
        other: usize,
    },
    /// Files to merge do not continue each other.
    #[error("{next} does not continue {previous}")]
    Discontinuous {
        /// The file before.
        previous: TxidRange,
        /// The file that should have continued it.
        next: TxidRange,
    },
    /// A text is not a transaction id (16 lower-case hex digits, not zero).
    #[error("not a transaction id: {0:?}")]
    BadTxid(String),
    /// A text is not a level (one digit).
    #[error("not a level: {0:?}")]
    BadLevel(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ => Error::Io(error),
        }
    }
}
