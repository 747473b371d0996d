//! Writing a file.

use std::io::{Seek, SeekFrom, Write};

use crate::index::{END_OF_PAGES, IndexWriter};
use crate::sequence::Sequence;
use crate::{Crc64, Error, FrameRun, Header, Pgno, Result, Trailer};

/// Pages written one by one are handed on in pieces of this size, in bytes.
const PENDING: usize = 64 << 10;

/// Writes one file, strictly by the rules: a file that [`finish`](Encoder::finish)es is valid.
///
/// After an error the file is worthless and the encoder of no more use.
#[derive(Debug)]
pub struct Encoder<W: Write> {
    header: Header,
    sequence: Sequence,
    pages: u64,
    pending: FrameRun,
    output: Output<W>,
}

impl<W: Write> Encoder<W> {
    /// Writes the header. It must be one without database checksums.
    pub fn new(writer: W, header: Header) -> Result<Encoder<W>> {
        if !header.no_checksum {
            return Err(Error::BadHeader("files with database checksums are not written"));
        }
        let bytes = header.encode()?;
        let mut output = Output {
            writer,
            header: bytes,
            crc: Crc64::new(),
            offset: 0,
            index: IndexWriter::default(),
        };
        output.write_header()?;
        Ok(Encoder {
            header,
            sequence: Sequence::new(&header),
            pages: 0,
            pending: FrameRun::new(header.page_size),
            output,
        })
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of pages so far.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Writes frames that were prepared elsewhere. Runs come in the order of their pages.
    pub fn append(&mut self, run: &FrameRun) -> Result<()> {
        if run.page_size() != self.header.page_size {
            let [expected, found] = [self.header.page_size, run.page_size()].map(|s| s.bytes());
            return Err(Error::PageLength { expected, found });
        }
        for entry in run.entries() {
            self.admit(entry.pgno)?;
        }
        self.flush_pending()?;
        self.output.write_run(run)
    }

    /// Compresses and writes one page. Pages come in ascending order, without the lock page; a file
    /// that begins at the first transaction needs all of them.
    pub fn write_page(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        self.pending.check(pgno, page)?;
        self.admit(pgno)?;
        self.pending.push(pgno, page)?;
        self.flush_if_full()
    }

    /// Writes a page that is compressed already: `payload` is its LZ4 block.
    pub(crate) fn write_encoded(&mut self, pgno: Pgno, payload: &[u8], page: &[u8]) -> Result<()> {
        self.pending.check(pgno, page)?;
        self.admit(pgno)?;
        self.pending.push_encoded(pgno, payload, page)?;
        self.flush_if_full()
    }

    /// Writes the index and the trailer, and flushes the writer.
    pub fn finish(mut self) -> Result<(W, Trailer)> {
        self.sequence.finish()?;
        self.flush_pending()?;
        self.output.finish()
    }

    /// Does the same with another header in place of the first one: for what is known of a file
    /// only when its pages are written. Pages, range and size stay as they were announced.
    pub fn finish_with(mut self, header: &Header) -> Result<(W, Trailer)>
    where
        W: Seek,
    {
        let same = |h: &Header| (h.no_checksum, h.page_size, h.commit, h.txids);
        if same(header) != same(&self.header) {
            return Err(Error::BadHeader("a late header may not announce another file"));
        }
        self.sequence.finish()?;
        self.flush_pending()?;
        self.output.header = header.encode()?;
        let (mut writer, trailer) = self.output.finish()?;
        writer.seek(SeekFrom::Start(0))?;
        writer.write_all(&header.encode()?)?;
        writer.flush()?;
        Ok((writer, trailer))
    }

    fn admit(&mut self, pgno: Pgno) -> Result<()> {
        if !self.sequence.admit(pgno)? {
            return Err(Error::BeyondCommit { pgno, commit: self.header.commit });
        }
        self.pages += 1;
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.pending.bytes().len() < PENDING { Ok(()) } else { self.flush_pending() }
    }

    fn flush_pending(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.output.write_run(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

/// The file as written so far.
#[derive(Debug)]
struct Output<W> {
    writer: W,
    header: [u8; Header::SIZE],
    /// Of everything after the header.
    crc: Crc64,
    offset: u64,
    index: IndexWriter,
}

impl<W: Write> Output<W> {
    fn write_run(&mut self, run: &FrameRun) -> Result<()> {
        self.writer.write_all(run.bytes())?;
        self.crc.append(run.crc().value(), run.crc().len());
        for entry in run.entries() {
            self.index.push(entry.pgno, self.offset + entry.offset, entry.size.into());
        }
        self.offset += run.bytes().len() as u64;
        Ok(())
    }

    fn write_header(&mut self) -> Result<()> {
        self.writer.write_all(&self.header)?;
        self.offset = Header::SIZE as u64;
        Ok(())
    }

    fn write_hashed(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes)?;
        self.crc.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<(W, Trailer)> {
        self.write_hashed(&END_OF_PAGES)?;
        let index = std::mem::take(&mut self.index).finish();
        self.write_hashed(&index)?;
        let mut crc = Crc64::new();
        crc.update(&self.header);
        crc.append(self.crc.value(), self.crc.len());
        let trailer = Trailer::seal(None, crc);
        self.writer.write_all(&trailer.to_bytes())?;
        self.writer.flush()?;
        Ok((self.writer, trailer))
    }
}
