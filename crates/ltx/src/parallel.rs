//! Reading a file in ranges, on any number of threads.

use crate::decode::{decompress_page, parse_page_header, parse_size};
use crate::index::{END_OF_PAGES, Index, PageEntry};
use crate::run::HEAD;
use crate::sequence::Sequence;
use crate::{Crc64, Error, Header, Pgno, Result, RollingSum, lz4_frame, page_sum};

const PAGE_HEADER: usize = 6;
const MISMATCH: Error = Error::BadIndex("does not describe the frames");

/// What some frames of a file add to the checksums in its trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramesSum {
    crc: u64,
    hashed: u64,
    pages: u64,
    rolling: RollingSum,
}

impl FramesSum {
    /// The CRC of the frames in their hashed form (pages decompressed).
    pub fn crc(&self) -> u64 {
        self.crc
    }

    /// The length of the frames in their hashed form, in bytes.
    pub fn hashed_len(&self) -> u64 {
        self.hashed
    }

    /// The number of frames.
    pub fn pages(&self) -> u64 {
        self.pages
    }
}

/// Decodes the frames of consecutive index entries, which fill `bytes` exactly, and hands each page
/// to `sink`. Pages beyond the size of the database are checked and left out.
///
/// Until [`FileCheck::finish`] succeeds, no page is proven to be right.
pub fn decode_frames<E: From<Error>>(
    header: &Header,
    bytes: &[u8],
    entries: &[PageEntry],
    mut sink: impl FnMut(Pgno, &[u8]) -> Result<(), E>,
) -> Result<FramesSum, E> {
    let mut decoder = FrameDecoder::new(header);
    let mut rest = bytes;
    for entry in entries {
        let (frame, after) = rest.split_at_checked(entry.size as usize).ok_or(Error::Truncated)?;
        decoder.decode(entry.pgno, frame)?;
        if entry.pgno.get() <= header.commit {
            sink(entry.pgno, decoder.page())?;
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::BadIndex("frames do not fill their range").into());
    }
    Ok(decoder.sum(entries.len()))
}

struct FrameDecoder<'a> {
    header: &'a Header,
    /// Page header and size field, then the page: the hashed form of a frame in one piece.
    hashed: Vec<u8>,
    payload: Vec<u8>,
    crc: Crc64,
    rolling: RollingSum,
}

impl FrameDecoder<'_> {
    fn new(header: &Header) -> FrameDecoder<'_> {
        FrameDecoder {
            header,
            hashed: vec![0; HEAD + header.page_size.bytes()],
            payload: Vec::new(),
            crc: Crc64::new(),
            rolling: RollingSum::EMPTY,
        }
    }

    fn decode(&mut self, expected: Pgno, frame: &[u8]) -> Result<()> {
        let (page_header, body) = frame.split_first_chunk::<PAGE_HEADER>().ok_or(MISMATCH)?;
        let (pgno, sized) = parse_page_header(*page_header)?;
        if pgno != expected {
            return Err(MISMATCH);
        }
        let hashed_from = if sized { 0 } else { HEAD - PAGE_HEADER };
        let (head, page) = self.hashed.split_at_mut(HEAD);
        if sized {
            let (head, payload) = frame.split_first_chunk::<HEAD>().ok_or(MISMATCH)?;
            if parse_size(head, pgno, self.header.page_size)? != payload.len() {
                return Err(MISMATCH);
            }
            decompress_page(pgno, payload, page)?;
        } else if lz4_frame::read(body, pgno, page, &mut self.payload)? != body.len() as u64 {
            return Err(MISMATCH);
        }
        head[hashed_from..].copy_from_slice(&frame[..HEAD - hashed_from]);
        self.crc.update(&self.hashed[hashed_from..]);
        if !self.header.no_checksum {
            self.rolling.add(page_sum(pgno, self.page()));
        }
        Ok(())
    }

    fn page(&self) -> &[u8] {
        &self.hashed[HEAD..]
    }

    fn sum(&self, pages: usize) -> FramesSum {
        FramesSum {
            crc: self.crc.value(),
            hashed: self.crc.len(),
            pages: pages as u64,
            rolling: self.rolling,
        }
    }
}

/// Puts the sums of all frames together and compares them with the trailer.
#[derive(Debug)]
pub struct FileCheck<'a> {
    header: &'a Header,
    index: &'a Index,
    crc: Crc64,
    rolling: RollingSum,
    pages: u64,
}

impl FileCheck<'_> {
    /// Checks that the pages in the index are those that a file with this header may have.
    pub fn new<'a>(header: &'a Header, index: &'a Index) -> Result<FileCheck<'a>> {
        let mut sequence = Sequence::new(header);
        for entry in index.entries() {
            sequence.admit(entry.pgno)?;
        }
        sequence.finish()?;
        let mut crc = Crc64::new();
        crc.update(&header.to_bytes());
        Ok(FileCheck { header, index, crc, rolling: RollingSum::EMPTY, pages: 0 })
    }

    /// Adds the sum of the frames that follow those added before, in file order.
    pub fn add(&mut self, frames: &FramesSum) {
        self.crc.append(frames.crc, frames.hashed);
        self.rolling.add(frames.rolling.checksum());
        self.pages += frames.pages;
    }

    /// Checks that the file is whole: all frames were added and the checksums are right.
    pub fn finish(mut self) -> Result<()> {
        if self.pages != self.index.entries().len() as u64 {
            return Err(Error::BadIndex("not all frames were read"));
        }
        self.crc.update(&END_OF_PAGES);
        self.crc.append(self.index.crc().value(), self.index.crc().len());
        self.index.trailer().check(self.header, self.crc, self.rolling)
    }
}
