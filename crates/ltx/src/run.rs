//! Page frames, encoded on any thread.

use std::fmt;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::index::PageEntry;
use crate::{Crc64, Error, PageSize, Pgno, Result};

/// Length of the page header and the size field in front of an LZ4 block.
pub(crate) const HEAD: usize = 10;

/// Page header flag: a size field follows, then an LZ4 block.
pub(crate) const SIZED: u16 = 1;

/// A run of encoded page frames for an [`Encoder`](crate::Encoder), made on any thread.
///
/// Memory is kept by [`clear`](FrameRun::clear), so that a run that is reused allocates nothing.
pub struct FrameRun {
    page_size: PageSize,
    bytes: Vec<u8>,
    len: usize,
    entries: Vec<PageEntry>,
    crc: Crc64,
    table: CompressTable,
}

impl FrameRun {
    /// The run without frames.
    pub fn new(page_size: PageSize) -> FrameRun {
        FrameRun {
            page_size,
            bytes: Vec::new(),
            len: 0,
            entries: Vec::new(),
            crc: Crc64::new(),
            table: CompressTable::default(),
        }
    }

    /// Compresses a page and adds its frame. Pages come in ascending order, without the lock page.
    pub fn push(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        self.check(pgno, page)?;
        let payload = self.room(get_maximum_output_size(page.len()));
        let size = compress_into_with_table(page, &mut self.bytes[payload..], &mut self.table)
            .map_err(|_| Error::BadFrame { pgno: pgno.get(), reason: "LZ4 needs more room" })?;
        self.seal(pgno, size, page);
        Ok(())
    }

    /// Adds the frame of a page that is compressed already: `payload` is its LZ4 block.
    pub(crate) fn push_encoded(&mut self, pgno: Pgno, payload: &[u8], page: &[u8]) -> Result<()> {
        self.check(pgno, page)?;
        let at = self.room(payload.len());
        self.bytes[at..at + payload.len()].copy_from_slice(payload);
        self.seal(pgno, payload.len(), page);
        Ok(())
    }

    /// Drops all frames, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.entries.clear();
        self.crc = Crc64::new();
    }

    /// The size of every page in the run.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The number of frames.
    pub fn len_pages(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The frames as they stand in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The first and the last page of the run.
    pub fn pages(&self) -> Option<(Pgno, Pgno)> {
        Some((self.entries.first()?.pgno, self.entries.last()?.pgno))
    }

    /// Where the frames are; offsets count from the start of the run.
    pub(crate) fn entries(&self) -> &[PageEntry] {
        &self.entries
    }

    /// The CRC of the hashed form of the frames.
    pub(crate) fn crc(&self) -> &Crc64 {
        &self.crc
    }

    /// Checks that the page can be pushed.
    pub(crate) fn check(&self, pgno: Pgno, page: &[u8]) -> Result<()> {
        let expected = self.page_size.bytes();
        if page.len() != expected {
            return Err(Error::PageLength { expected, found: page.len() });
        }
        if pgno == self.page_size.lock_page() {
            return Err(Error::LockPage(pgno));
        }
        match self.entries.last() {
            Some(last) if last.pgno >= pgno => {
                Err(Error::Disorder { previous: last.pgno, found: pgno })
            }
            _ => Ok(()),
        }
    }

    /// Makes room for a frame with a payload of `size` bytes; tells where the payload goes.
    fn room(&mut self, size: usize) -> usize {
        let needed = self.len + HEAD + size;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.max(2 * self.bytes.len()), 0);
        }
        self.len + HEAD
    }

    /// Turns the payload in place into a frame.
    fn seal(&mut self, pgno: Pgno, payload: usize, page: &[u8]) {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&pgno.get().to_be_bytes());
        head[4..6].copy_from_slice(&SIZED.to_be_bytes());
        head[6..].copy_from_slice(&(payload as u32).to_be_bytes());
        self.bytes[self.len..self.len + HEAD].copy_from_slice(&head);
        self.crc.update(&head);
        self.crc.update(page);
        let size = HEAD + payload;
        self.entries.push(PageEntry { pgno, offset: self.len as u64, size: size as u32 });
        self.len += size;
    }
}

impl fmt::Debug for FrameRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameRun")
            .field("page_size", &self.page_size)
            .field("pages", &self.pages())
            .field("bytes", &self.len)
            .finish_non_exhaustive()
    }
}
