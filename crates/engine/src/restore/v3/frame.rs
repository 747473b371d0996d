//! An LZ4 frame that must be whole: the decoder takes one that was cut off between two blocks for
//! ended, and checks no checksum then.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

const MAGIC: usize = 4;
/// Of the flags: a block checksum, the size of the content, and a dictionary's number are there.
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const DICTIONARY: u8 = 0x01;

/// The content of a frame.
pub(super) struct Frame<R: Read>(FrameDecoder<Scanned<R>>);

impl<R: Read> Frame<R> {
    pub(super) fn new(inner: R) -> Frame<R> {
        let place = Place::Header(Vec::new());
        Frame(FrameDecoder::new(Scanned { inner, place, block_checksum: 0 }))
    }
}

impl<R: Read> Read for Frame<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buf)?;
        if count == 0 && !buf.is_empty() && !matches!(self.0.get_ref().place, Place::End) {
            let reason = "the LZ4 frame is cut off";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(count)
    }
}

/// Follows the structure of a frame while it is read.
struct Scanned<R> {
    inner: R,
    place: Place,
    block_checksum: u64,
}

enum Place {
    Header(Vec<u8>),
    BlockSize(Vec<u8>),
    Block(u64),
    End,
}

impl<R> Scanned<R> {
    fn scan(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.place {
                Place::End => return,
                Place::Block(left) => {
                    let take = (*left).min(bytes.len() as u64);
                    *left -= take;
                    bytes = &bytes[take as usize..];
                    if *left == 0 {
                        self.place = Place::BlockSize(Vec::new());
                    }
                    continue;
                }
                Place::Header(header) => {
                    header.push(byte);
                    if let Some(&flags) = header.get(MAGIC) {
                        let has = |flag| flags & flag != 0;
                        let extra =
                            8 * usize::from(has(CONTENT_SIZE)) + 4 * usize::from(has(DICTIONARY));
                        // Magic, flags, block size, what is there besides, header checksum.
                        if header.len() == MAGIC + 3 + extra {
                            self.block_checksum = if has(BLOCK_CHECKSUM) { 4 } else { 0 };
                            self.place = Place::BlockSize(Vec::new());
                        }
                    }
                }
                Place::BlockSize(size) => {
                    size.push(byte);
                    if let Some(&size) = size.first_chunk() {
                        self.place = match u32::from_le_bytes(size) & 0x7fff_ffff {
                            0 => Place::End,
                            size => Place::Block(u64::from(size) + self.block_checksum),
                        };
                    }
                }
            }
            bytes = rest;
        }
    }
}

impl<R: Read> Read for Scanned<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.scan(&buf[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    #[test]
    fn a_frame_that_is_cut_off_anywhere_is_an_error() {
        for content in [&b""[..], &[7; 10], &[0; 200_000]] {
            for checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_checksums(checksums)
                    .content_checksum(true);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(content).expect("encode");
                let whole = encoder.finish().expect("encode");
                let mut decoded = Vec::new();
                Frame::new(&whole[..]).read_to_end(&mut decoded).expect("decode");
                assert_eq!(decoded, content);
                for length in 0..whole.len() {
                    let cut = Frame::new(&whole[..length]).read_to_end(&mut Vec::new());
                    assert!(cut.is_err(), "{length} of {} bytes", whole.len());
                }
            }
        }
    }
}
