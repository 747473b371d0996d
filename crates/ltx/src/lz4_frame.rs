//! The LZ4 frame format, as far as page frames written before Litestream 0.5.16 use it.
//!
//! Source of fact: the LZ4 frame format description, version 1.6. Reads one frame and not a byte
//! more, since the next page follows without a mark.

use std::hash::Hasher;
use std::io::Read;

use lz4_flex::block::decompress_into;
use twox_hash::XxHash32;

use crate::{Error, Pgno, Result};

const MAGIC: u32 = 0x184D_2204;
const STORED: u32 = 1 << 31;

/// Decodes one LZ4 frame into the page, which it must fill; tells how many bytes it took.
pub(crate) fn read(
    reader: impl Read,
    pgno: Pgno,
    page: &mut [u8],
    block: &mut Vec<u8>,
) -> Result<u64> {
    let mut frame = FrameReader { reader, pgno, taken: 0 };
    let descriptor = frame.descriptor()?;
    let mut filled = 0;
    loop {
        let size = frame.u32()?;
        if size == 0 {
            break;
        }
        filled += frame.block(size, &descriptor, &mut page[filled..], block)?;
    }
    if filled != page.len() {
        return Err(frame.bad("LZ4 frame does not fill the page"));
    }
    if descriptor.content_checksum && frame.u32()? != xxh32(page) {
        return Err(frame.bad("wrong content checksum in LZ4 frame"));
    }
    Ok(frame.taken)
}

/// What the frame descriptor says about the rest of the frame.
struct Descriptor {
    block_checksums: bool,
    content_checksum: bool,
    max_block: usize,
}

struct FrameReader<R> {
    reader: R,
    pgno: Pgno,
    taken: u64,
}

impl<R: Read> FrameReader<R> {
    fn descriptor(&mut self) -> Result<Descriptor> {
        if self.u32()? != MAGIC {
            return Err(self.bad("no LZ4 frame"));
        }
        let mut bytes = [0; 10];
        self.fill(&mut bytes[..2])?;
        let [flags, block, ..] = bytes;
        if flags >> 6 != 1 || flags & 0b10 != 0 || block & 0b1000_1111 != 0 || block < 0x40 {
            return Err(self.bad("unknown LZ4 frame flags"));
        }
        if flags & 0b10_0001 != 0b10_0000 {
            return Err(self.bad("LZ4 frame needs other blocks"));
        }
        let has_size = flags & 0b1000 != 0;
        let len = if has_size { 10 } else { 2 };
        self.fill(&mut bytes[2..len])?;
        let [check] = self.array()?;
        if check != (xxh32(&bytes[..len]) >> 8) as u8 {
            return Err(self.bad("wrong header checksum in LZ4 frame"));
        }
        Ok(Descriptor {
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            max_block: 1 << (8 + 2 * (block >> 4)),
        })
    }

    /// Decodes one block to the front of `page`; tells how long it is there.
    fn block(
        &mut self,
        size: u32,
        descriptor: &Descriptor,
        page: &mut [u8],
        block: &mut Vec<u8>,
    ) -> Result<usize> {
        let len = (size & !STORED) as usize;
        if len > descriptor.max_block.min(2 * page.len()) {
            return Err(self.bad("LZ4 block is too long"));
        }
        block.resize(len, 0);
        self.fill(block)?;
        if descriptor.block_checksums && self.u32()? != xxh32(block) {
            return Err(self.bad("wrong block checksum in LZ4 frame"));
        }
        if size & STORED == 0 {
            return decompress_into(block, page).map_err(|_| self.bad("invalid LZ4 block"));
        }
        let target = page.get_mut(..len).ok_or_else(|| self.bad("LZ4 block is too long"))?;
        target.copy_from_slice(block);
        Ok(len)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes)?;
        self.taken += bytes.len() as u64;
        Ok(())
    }

    fn bad(&self, reason: &'static str) -> Error {
        Error::BadFrame { pgno: self.pgno.get(), reason }
    }
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish_32()
}
