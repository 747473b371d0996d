//! Reading a file as a stream.

use std::io::{BufReader, Read};

use lz4_flex::block::decompress_into;

use crate::index::{END_OF_PAGES, IndexSum};
use crate::run::{HEAD, SIZED};
use crate::sequence::Sequence;
use crate::{
    Crc64, Error, Header, PageSize, Pgno, Result, RollingSum, Trailer, lz4_frame, page_sum,
};

/// The size of the buffer in front of the reader, in bytes. A merge has many of them.
const BUFFER: usize = 16 << 10;

/// Reads one file from start to end and checks all that can be checked.
///
/// Until [`finish`](Decoder::finish) succeeds, no page is proven to be right.
#[derive(Debug)]
pub struct Decoder<R: Read> {
    reader: BufReader<R>,
    header: Header,
    sequence: Sequence,
    crc: Crc64,
    rolling: RollingSum,
    index: IndexSum,
    offset: u64,
    payload: Vec<u8>,
    form: Form,
    at_end: bool,
}

/// How the last page was encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// An LZ4 block, which is in `payload`; since Litestream 0.5.16.
    Block,
    /// An LZ4 frame; before that.
    Frame,
}

/// What the end of a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The trailer; its checksums are those of the content.
    pub trailer: Trailer,
    /// The index describes the frames exactly. If not, the file is still whole, but its pages
    /// cannot be found by their ranges.
    pub index_trusted: bool,
}

impl<R: Read> Decoder<R> {
    /// Reads the header. The reader needs no buffer of its own.
    pub fn new(reader: R) -> Result<Decoder<R>> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let mut bytes = [0; Header::SIZE];
        reader.read_exact(&mut bytes)?;
        let header = Header::decode(&bytes)?;
        let mut crc = Crc64::new();
        crc.update(&bytes);
        Ok(Decoder {
            reader,
            header,
            sequence: Sequence::new(&header),
            crc,
            rolling: RollingSum::EMPTY,
            index: IndexSum::default(),
            offset: Header::SIZE as u64,
            payload: Vec::new(),
            form: Form::Block,
            at_end: false,
        })
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next page into `page`, which is one page long; none after the last.
    ///
    /// Pages beyond the size of the database are checked and left out. What is in `page` after the
    /// last page, or an error, is unspecified.
    pub fn next_page(&mut self, page: &mut [u8]) -> Result<Option<Pgno>> {
        let expected = self.header.page_size.bytes();
        if page.len() != expected {
            return Err(Error::PageLength { expected, found: page.len() });
        }
        while !self.at_end {
            let head: [u8; 6] = self.read_array()?;
            if head == END_OF_PAGES {
                self.sequence.finish()?;
                self.crc.update(&head);
                self.at_end = true;
                break;
            }
            let (pgno, sized) = parse_page_header(head)?;
            let within = self.sequence.admit(pgno)?;
            let size = if sized {
                self.read_block(pgno, head, page)?
            } else {
                self.read_frame(pgno, head, page)?
            };
            self.index.push(pgno, self.offset, size);
            self.offset += size;
            if !self.header.no_checksum {
                self.rolling.add(page_sum(pgno, page));
            }
            if within {
                return Ok(Some(pgno));
            }
        }
        Ok(None)
    }

    /// Reads what is left, pages included, and checks the index, the checksums and that the file
    /// ends there.
    pub fn finish(mut self) -> Result<Finished> {
        if !self.at_end {
            let mut page = vec![0; self.header.page_size.bytes()];
            while self.next_page(&mut page)?.is_some() {}
        }
        let index_trusted = self.read_index()?;
        let trailer = Trailer::decode(&self.read_array()?)?;
        match self.read_array::<1>() {
            Ok(_) => return Err(Error::TrailingBytes),
            Err(Error::Truncated) => {}
            Err(error) => return Err(error),
        }
        trailer.check(&self.header, self.crc, self.rolling)?;
        Ok(Finished { trailer, index_trusted })
    }

    /// The LZ4 block of the last page, if it came as one.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        (self.form == Form::Block).then_some(&self.payload)
    }

    /// Reads the rest of a frame in block form; tells the length of the whole frame.
    fn read_block(&mut self, pgno: Pgno, page_header: [u8; 6], page: &mut [u8]) -> Result<u64> {
        let mut head = [0; HEAD];
        head[..6].copy_from_slice(&page_header);
        self.reader.read_exact(&mut head[6..])?;
        let size = parse_size(&head, pgno, self.header.page_size)?;
        self.payload.resize(size, 0);
        self.reader.read_exact(&mut self.payload)?;
        decompress_page(pgno, &self.payload, page)?;
        self.form = Form::Block;
        self.crc.update(&head);
        self.crc.update(page);
        Ok((HEAD + size) as u64)
    }

    /// Reads the rest of a frame in frame form; tells the length of the whole frame.
    fn read_frame(&mut self, pgno: Pgno, page_header: [u8; 6], page: &mut [u8]) -> Result<u64> {
        let size = lz4_frame::read(&mut self.reader, pgno, page, &mut self.payload)?;
        self.form = Form::Frame;
        self.crc.update(&page_header);
        self.crc.update(page);
        Ok(page_header.len() as u64 + size)
    }

    /// Reads the index; tells whether it is the index of the frames seen.
    fn read_index(&mut self) -> Result<bool> {
        let mut index = IndexReader { decoder: self, recent: Vec::new(), crc: Crc64::new() };
        while index.read_varint()? != 0 {
            index.read_varint()?;
            index.read_varint()?;
        }
        let found = index.finish()?;
        self.crc.append(found.value(), found.len());
        let expected = std::mem::take(&mut self.index).finish();
        Ok((found.value(), found.len()) == (expected.value(), expected.len()))
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Finds the end of the index and hashes it, believing nothing it says.
struct IndexReader<'a, R: Read> {
    decoder: &'a mut Decoder<R>,
    recent: Vec<u8>,
    crc: Crc64,
}

impl<R: Read> IndexReader<'_, R> {
    fn read_varint(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.decoder.read_array()?;
            self.recent.push(byte);
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if self.recent.len() >= 4096 {
                    self.flush();
                }
                return Ok(number);
            }
        }
        Err(Error::BadIndex("number too long"))
    }

    fn finish(mut self) -> Result<Crc64> {
        let size: [u8; 8] = self.decoder.read_array()?;
        self.recent.extend(size);
        self.flush();
        Ok(self.crc)
    }

    fn flush(&mut self) {
        self.crc.update(&self.recent);
        self.recent.clear();
    }
}

/// The page of a page header, and whether a size field follows.
pub(crate) fn parse_page_header(head: [u8; 6]) -> Result<(Pgno, bool)> {
    let [a, b, c, d, e, f] = head;
    let number = u32::from_be_bytes([a, b, c, d]);
    let flags = u16::from_be_bytes([e, f]);
    let bad = |reason| Error::BadFrame { pgno: number, reason };
    let pgno = Pgno::new(number).ok_or(bad("page number 0"))?;
    if flags & !SIZED != 0 {
        return Err(bad("unknown flags"));
    }
    Ok((pgno, flags & SIZED != 0))
}

/// The size of the LZ4 block after this head. It can exceed the page, but not by much.
pub(crate) fn parse_size(head: &[u8; HEAD], pgno: Pgno, page_size: PageSize) -> Result<usize> {
    let size = head.last_chunk().map_or(0, |size| u32::from_be_bytes(*size)) as usize;
    let page = page_size.bytes();
    if size > page + page / 255 + 16 {
        return Err(Error::BadFrame { pgno: pgno.get(), reason: "LZ4 block is too long" });
    }
    Ok(size)
}

/// Decompresses an LZ4 block, which must give exactly one page.
pub(crate) fn decompress_page(pgno: Pgno, payload: &[u8], page: &mut [u8]) -> Result<()> {
    let bad = |reason| Error::BadFrame { pgno: pgno.get(), reason };
    match decompress_into(payload, page) {
        Ok(len) if len == page.len() => Ok(()),
        Ok(_) => Err(bad("LZ4 block does not fill the page")),
        Err(_) => Err(bad("invalid LZ4 block")),
    }
}
