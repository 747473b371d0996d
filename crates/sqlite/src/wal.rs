//! The WAL file: header, frames, checksums.
//!
//! Source: "The Write-Ahead Log" in SQLite's file format document (fileformat2.html, section 4).
//! All words stand big-endian in the file; the checksum arithmetic follows the magic's byte order.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ltx::{PageSize, Pgno};

use crate::write_out::write_out;
use crate::{Error, Result};

/// Bytes of the WAL header.
pub const HEADER: u64 = 32;
/// Bytes of a frame header.
pub const FRAME_HEADER: usize = 24;

/// The two salts of a WAL header, copied into each of its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salts(pub u32, pub u32);

impl Salts {
    /// Whether `self` is what one restart makes of `before`: the first salt grows by one.
    pub fn follow(self, before: Salts) -> bool {
        self.0 == before.0.wrapping_add(1)
    }
}

/// The cumulative checksum of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalChecksum(pub u32, pub u32);

impl WalChecksum {
    /// Both words as one number, the first in the upper half.
    pub fn to_u64(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.1)
    }

    fn extend(self, bytes: &[u8], big_endian: bool) -> Self {
        let word = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (mut s0, mut s1) = (self.0, self.1);
        for pair in bytes.chunks_exact(8) {
            let a = word([pair[0], pair[1], pair[2], pair[3]]);
            let b = word([pair[4], pair[5], pair[6], pair[7]]);
            s0 = s0.wrapping_add(a).wrapping_add(s1);
            s1 = s1.wrapping_add(b).wrapping_add(s0);
        }
        WalChecksum(s0, s1)
    }
}

/// A WAL header with a valid checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeader {
    /// Page size of every frame.
    pub page_size: PageSize,
    /// Salts of this run of the WAL.
    pub salts: Salts,
    /// Seed of the first frame's checksum.
    pub checksum: WalChecksum,
    big_endian: bool,
}

impl WalHeader {
    /// Parses 32 bytes; `None` if they are no valid header (an empty WAL, a torn write).
    pub fn parse(bytes: &[u8; HEADER as usize]) -> Option<WalHeader> {
        let word = |at: usize| be_word(bytes, at);
        let big_endian = match word(0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let checksum = WalChecksum::default().extend(&bytes[..24], big_endian);
        if word(4) != 3_007_000 || checksum != WalChecksum(word(24), word(28)) {
            return None;
        }
        let page_size = PageSize::new(word(8))?;
        Some(WalHeader { page_size, salts: Salts(word(16), word(20)), checksum, big_endian })
    }

    /// The checksum of one frame (header and page) that follows a frame with checksum `previous`;
    /// `None` if it is not of this WAL or is damaged.
    pub fn verify(&self, previous: WalChecksum, frame: &[u8]) -> Option<WalChecksum> {
        let (header, page) = frame.split_at_checked(FRAME_HEADER)?;
        let parsed = Frame::parse(header)?;
        let sum = previous.extend(&header[..8], self.big_endian).extend(page, self.big_endian);
        (parsed.salts == self.salts && parsed.checksum == sum).then_some(sum)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The page that the frame holds.
    pub pgno: Pgno,
    /// Database size in pages if the frame ends a transaction, else 0.
    pub commit: u32,
    /// Salts of the WAL that it belongs to.
    pub salts: Salts,
    /// Cumulative checksum up to this frame, as stored.
    pub checksum: WalChecksum,
}

impl Frame {
    fn parse(header: &[u8]) -> Option<Frame> {
        let word = |at: usize| be_word(header, at);
        Some(Frame {
            pgno: Pgno::new(word(0))?,
            commit: word(4),
            salts: Salts(word(8), word(12)),
            checksum: WalChecksum(word(16), word(20)),
        })
    }
}

/// Offset in the file where frame `number` (from 1) begins; also the end of the frame before it.
pub fn frame_offset(page_size: PageSize, number: u32) -> u64 {
    HEADER + u64::from(number - 1) * (FRAME_HEADER + page_size.bytes()) as u64
}

/// The frame whose end is `offset`; `None` if no frame ends there. 0 is the header's end.
pub fn frame_ending_at(page_size: PageSize, offset: u64) -> Option<u32> {
    let frame_size = (FRAME_HEADER + page_size.bytes()) as u64;
    let body = offset.checked_sub(HEADER)?;
    (body % frame_size == 0).then(|| u32::try_from(body / frame_size).ok()).flatten()
}

fn be_word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An open WAL file.
#[derive(Debug)]
pub struct Wal {
    path: PathBuf,
    file: File,
}

impl Wal {
    /// Opens the `-wal` at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Ok(Wal { path: path.to_path_buf(), file })
    }

    /// Length of the file in bytes, stale frames included.
    pub fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| Error::io(&self.path, e))
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The header, `None` if there is no valid one.
    pub fn header(&self) -> Result<Option<WalHeader>> {
        let mut bytes = [0u8; HEADER as usize];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(WalHeader::parse(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(Error::io(&self.path, e)),
        }
    }

    /// Reads frame `number` (header and page) into `buf`; `None` if the file ends before it.
    pub fn read_frame(&self, size: PageSize, number: u32, buf: &mut [u8]) -> Result<Option<Frame>> {
        debug_assert_eq!(buf.len(), FRAME_HEADER + size.bytes());
        match self.file.read_exact_at(buf, frame_offset(size, number)) {
            Ok(()) => Ok(Frame::parse(buf)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(Error::io(&self.path, e)),
        }
    }

    /// Reads the page of a frame that must be there, with these salts and this page number.
    pub fn read_page(
        &self,
        size: PageSize,
        salts: Salts,
        (pgno, number): (Pgno, u32),
        buf: &mut [u8],
    ) -> Result<()> {
        match self.read_frame(size, number, buf)? {
            Some(frame) if frame.salts == salts && frame.pgno == pgno => Ok(()),
            found => Err(Error::Discontinuity {
                path: self.path.clone(),
                reason: format!("frame {number} should hold page {pgno:?}, found {found:?}"),
            }),
        }
    }

    /// Whether the frames `after + 1 ..= through` are what was written: each with the salts of the
    /// header and a checksum that continues that of frame `after`, `seed`.
    pub fn verify(&self, after: u32, seed: WalChecksum, through: u32) -> Result<bool> {
        let Some(header) = self.header()? else { return Ok(after == through) };
        let mut checksum = if after == 0 { header.checksum } else { seed };
        let mut buf = vec![0u8; FRAME_HEADER + header.page_size.bytes()];
        for number in after + 1..=through {
            if self.read_frame(header.page_size, number, &mut buf)?.is_none() {
                return Ok(false);
            }
            match header.verify(checksum, &buf) {
                Some(extended) => checksum = extended,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Has a part of the file written to the disk, so that the sync of a checkpoint is short.
    pub fn write_out(&self, range: Range<u64>) {
        write_out(&self.file, range);
    }
}
