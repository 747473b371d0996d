//! The page index: where each frame stands in its file.

use std::io::Read;

use crate::{Crc64, Error, Header, Pgno, Result, Trailer, varint};

/// The zero page header that ends the page block.
pub(crate) const END_OF_PAGES: [u8; 6] = [0; 6];

/// Bytes of an index that are held at once.
const PIECE: u64 = 1 << 16;
/// Three numbers of at most ten bytes each.
const LONGEST_ENTRY: usize = 30;

/// The length of the index, as it stands at the end of the index.
const SIZE_FIELD: usize = 8;

/// Where one page frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry {
    /// The page in the frame.
    pub pgno: Pgno,
    /// Where the frame begins, in bytes from the start of the file.
    pub offset: u64,
    /// The length of the frame in bytes, page header included.
    pub size: u32,
}

impl PageEntry {
    /// Where the frame ends, in bytes from the start of the file.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.size)
    }
}

/// The end of a file, after the last page frame: enough to read any page by its range.
///
/// A parsed index is consistent: pages ascend and their frames fill the page block. That it is the
/// index of *this* file is proven by [`decode_frames`](crate::decode_frames), which compares every
/// frame with its entry, and [`FileCheck`](crate::FileCheck).
#[derive(Clone, Debug)]
pub struct Index {
    entries: Vec<PageEntry>,
    trailer: Trailer,
    crc: Crc64,
}

impl Index {
    /// The length of what [`Index::tail_len`] needs: the index size field and the trailer.
    pub const END_LEN: usize = SIZE_FIELD + Trailer::SIZE;

    /// The length of the file's tail that [`Index::parse`] needs, in bytes, from the last
    /// [`Index::END_LEN`] bytes of the file.
    pub fn tail_len(end: &[u8; Index::END_LEN], file_len: u64) -> Result<u64> {
        let size = end.first_chunk().map_or(0, |size| u64::from_be_bytes(*size));
        let around = (Header::SIZE + END_OF_PAGES.len() + Index::END_LEN) as u64;
        let most = file_len.checked_sub(around).ok_or(Error::Truncated)?;
        if size == 0 || size > most {
            return Err(Error::BadIndex("impossible length"));
        }
        Ok(END_OF_PAGES.len() as u64 + size + Index::END_LEN as u64)
    }

    /// Parses the index at the end of `tail`, the last bytes of a file of `file_len` bytes; the
    /// tail may be longer than needed.
    pub fn parse(tail: &[u8], file_len: u64) -> Result<Index> {
        let end = tail.last_chunk().ok_or(Error::Truncated)?;
        let len = Index::tail_len(end, file_len)?;
        let start = usize::try_from(len).ok().and_then(|len| tail.len().checked_sub(len));
        let tail = &tail[start.ok_or(Error::Truncated)?..];
        Index::read(tail, len, file_len)
    }

    /// The same from a reader of exactly these `len` bytes, of which only a piece is held at once.
    pub fn read(mut tail: impl Read, len: u64, file_len: u64) -> Result<Index> {
        let mut end_of_pages = [0; END_OF_PAGES.len()];
        tail.read_exact(&mut end_of_pages)?;
        if end_of_pages != END_OF_PAGES {
            return Err(Error::BadIndex("does not follow the page block"));
        }
        let around = (END_OF_PAGES.len() + Index::END_LEN) as u64;
        let mut left = len.checked_sub(around).ok_or(Error::Truncated)?;
        let pages_end = file_len.checked_sub(len).ok_or(Error::Truncated)?;
        let (mut parser, mut crc) = (Parser::new(left), Crc64::new());
        let mut bytes = Vec::new();
        while left > 0 {
            let (kept, more) = (bytes.len(), left.min(PIECE));
            bytes.resize(kept + more as usize, 0);
            tail.read_exact(&mut bytes[kept..])?;
            crc.update(&bytes[kept..]);
            left -= more;
            let used = parser.parse(&bytes, left == 0)?;
            bytes.drain(..used);
        }
        let (mut size, mut trailer) = ([0; SIZE_FIELD], [0; Trailer::SIZE]);
        tail.read_exact(&mut size)?;
        tail.read_exact(&mut trailer)?;
        crc.update(&size);
        let entries = parser.finish(pages_end, bytes.is_empty())?;
        Ok(Index { entries, trailer: Trailer::decode(&trailer)?, crc })
    }

    /// The frames in the order of their pages, which is the order in the file.
    pub fn entries(&self) -> &[PageEntry] {
        &self.entries
    }

    /// Where a page is.
    pub fn find(&self, pgno: Pgno) -> Option<PageEntry> {
        let found = self.entries.binary_search_by_key(&pgno, |entry| entry.pgno).ok()?;
        self.entries.get(found).copied()
    }

    /// The trailer of the file.
    pub fn trailer(&self) -> Trailer {
        self.trailer
    }

    /// The CRC of the index with its size field.
    pub(crate) fn crc(&self) -> &Crc64 {
        &self.crc
    }
}

/// Parses entries from pieces of an index.
struct Parser {
    entries: Vec<PageEntry>,
    /// Where the next frame begins.
    next: u64,
    done: bool,
}

impl Parser {
    fn new(bytes: u64) -> Parser {
        let entries = Vec::with_capacity(usize::try_from(bytes / 6).unwrap_or(0));
        Parser { entries, next: Header::SIZE as u64, done: false }
    }

    /// Parses whole entries off the front, and says how many bytes they took. What may be cut off
    /// is left for the next piece, unless this is the `last`.
    fn parse(&mut self, bytes: &[u8], last: bool) -> Result<usize> {
        const CUT: Error = Error::BadIndex("ends within an entry");
        let mut rest = bytes;
        while !self.done && (last || rest.len() >= LONGEST_ENTRY) {
            let pgno = varint::take(&mut rest).ok_or(CUT)?;
            if pgno == 0 {
                self.done = true;
                break;
            }
            let offset = varint::take(&mut rest).ok_or(CUT)?;
            let size = varint::take(&mut rest).ok_or(CUT)?;
            self.push(pgno, offset, size)?;
        }
        Ok(bytes.len() - rest.len())
    }

    fn push(&mut self, pgno: u64, offset: u64, size: u64) -> Result<()> {
        if self.entries.last().is_some_and(|last| pgno <= u64::from(last.pgno.get())) {
            return Err(Error::BadIndex("pages do not ascend"));
        }
        if offset != self.next {
            return Err(Error::BadIndex("frames do not follow each other"));
        }
        let fits = |number: u64| u32::try_from(number).ok();
        let entry = fits(pgno).and_then(Pgno::new).zip(fits(size).filter(|&size| size > 0));
        let (pgno, size) = entry.ok_or(Error::BadIndex("impossible page or size"))?;
        let entry = PageEntry { pgno, offset, size };
        self.next = entry.end();
        self.entries.push(entry);
        Ok(())
    }

    /// All entries, if they end where the index and the page block do.
    fn finish(self, pages_end: u64, nothing_left: bool) -> Result<Vec<PageEntry>> {
        match self.done && nothing_left && self.next == pages_end {
            true => Ok(self.entries),
            false => Err(Error::BadIndex("does not cover the page block")),
        }
    }
}

/// Builds the bytes of an index.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    bytes: Vec<u8>,
}

impl IndexWriter {
    pub(crate) fn push(&mut self, pgno: Pgno, offset: u64, size: u64) {
        varint::push(&mut self.bytes, pgno.get().into());
        varint::push(&mut self.bytes, offset);
        varint::push(&mut self.bytes, size);
    }

    /// The whole index: entries, end mark, size field.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0);
        let size = self.bytes.len() as u64;
        self.bytes.extend(size.to_be_bytes());
        self.bytes
    }
}

/// The CRC of the index that a file with certain frames must have, without keeping that index.
#[derive(Debug, Default)]
pub(crate) struct IndexSum {
    recent: IndexWriter,
    crc: Crc64,
}

impl IndexSum {
    pub(crate) fn push(&mut self, pgno: Pgno, offset: u64, size: u64) {
        self.recent.push(pgno, offset, size);
        if self.recent.bytes.len() >= 4096 {
            self.crc.update(&self.recent.bytes);
            self.recent.bytes.clear();
        }
    }

    /// The CRC of the whole index: entries, end mark, size field.
    pub(crate) fn finish(mut self) -> Crc64 {
        self.recent.bytes.push(0);
        self.crc.update(&self.recent.bytes);
        let size = self.crc.len();
        self.crc.update(&size.to_be_bytes());
        self.crc
    }
}
