//! The page index: where each frame stands in its file.

use crate::{Crc64, Error, Header, Pgno, Result, Trailer, varint};

/// The zero page header that ends the page block.
pub(crate) const END_OF_PAGES: [u8; 6] = [0; 6];

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
        let (index, trailer) = tail.split_last_chunk().ok_or(Error::Truncated)?;
        let (end_of_pages, index) = index.split_first_chunk().ok_or(Error::Truncated)?;
        if *end_of_pages != END_OF_PAGES {
            return Err(Error::BadIndex("does not follow the page block"));
        }
        let mut crc = Crc64::new();
        crc.update(index);
        Ok(Index {
            entries: parse_entries(&index[..index.len() - SIZE_FIELD], file_len - len)?,
            trailer: Trailer::decode(trailer)?,
            crc,
        })
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

fn parse_entries(mut bytes: &[u8], pages_end: u64) -> Result<Vec<PageEntry>> {
    const CUT: Error = Error::BadIndex("ends within an entry");
    let mut entries = Vec::with_capacity(bytes.len() / 6);
    let mut next = Header::SIZE as u64;
    let mut last = 0;
    loop {
        let pgno = varint::take(&mut bytes).ok_or(CUT)?;
        if pgno == 0 {
            break;
        }
        let offset = varint::take(&mut bytes).ok_or(CUT)?;
        let size = varint::take(&mut bytes).ok_or(CUT)?;
        if pgno <= last {
            return Err(Error::BadIndex("pages do not ascend"));
        }
        if offset != next {
            return Err(Error::BadIndex("frames do not follow each other"));
        }
        let fits = |number: u64| u32::try_from(number).ok();
        let entry = fits(pgno).and_then(Pgno::new).zip(fits(size).filter(|&size| size > 0));
        let (pgno, size) = entry.ok_or(Error::BadIndex("impossible page or size"))?;
        let entry = PageEntry { pgno, offset, size };
        next = entry.end();
        last = pgno.get().into();
        entries.push(entry);
    }
    if !bytes.is_empty() || next != pages_end {
        return Err(Error::BadIndex("does not cover the page block"));
    }
    Ok(entries)
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
