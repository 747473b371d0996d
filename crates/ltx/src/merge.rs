//! Many files become one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};

use crate::{Decoder, Encoder, Error, Header, Pgno, Result, Trailer, TxidRange};

/// What a merge made.
#[derive(Debug)]
pub struct Merged<W> {
    /// The writer, with the whole file written.
    pub out: W,
    /// The header of the new file.
    pub header: Header,
    /// The trailer of the new file.
    pub trailer: Trailer,
    /// The number of pages in it.
    pub pages: u64,
}

/// Makes one file of files that continue each other, given from oldest to newest.
///
/// Of each page the newest version is kept; pages beyond the final size are dropped; the timestamp
/// and the [tag](Header::tag) are those of the last file. All files are read to their ends and
/// verified. The ranges may overlap, but must leave no gap. One page per input is held in memory.
///
/// On an error what was written is worthless.
pub fn merge<R: Read, W: Write>(inputs: Vec<Decoder<R>>, out: W) -> Result<Merged<W>> {
    let header = merged_header(inputs.iter().map(Decoder::header))?;
    let mut encoder = Encoder::new(out, header)?;
    let mut sources = Sources::open(inputs)?;
    while let Some((pgno, newest)) = sources.next_page() {
        if pgno.get() <= header.commit {
            newest.write_page(&mut encoder, pgno)?;
        }
        sources.advance(pgno)?;
    }
    sources.finish()?;
    let pages = encoder.pages();
    let (out, trailer) = encoder.finish()?;
    Ok(Merged { out, header, trailer, pages })
}

/// The header of the file that these, from oldest to newest, become.
fn merged_header<'a>(mut headers: impl Iterator<Item = &'a Header>) -> Result<Header> {
    let first = headers.next().ok_or(Error::NothingToMerge)?;
    let mut last = first;
    for next in headers {
        check_neighbours(last, next)?;
        last = next;
    }
    let txids = TxidRange { min: first.txids.min, max: last.txids.max };
    let mut header = Header::new(first.page_size, last.commit, txids, last.timestamp);
    if let Some(tag) = last.tag() {
        header.set_tag(tag);
    }
    Ok(header)
}

fn check_neighbours(previous: &Header, next: &Header) -> Result<()> {
    if previous.page_size != next.page_size {
        let [first, other] = [previous, next].map(|header| header.page_size.bytes());
        return Err(Error::MixedPageSizes { first, other });
    }
    let (previous, next) = (previous.txids, next.txids);
    if next.min > previous.max.next() || next.max <= previous.max {
        return Err(Error::Discontinuous { previous, next });
    }
    Ok(())
}

/// The inputs, from oldest to newest, each at its next page.
struct Sources<R: Read> {
    sources: Vec<Source<R>>,
    /// The next page of each input that has one: the lowest first, of equal ones the newest.
    next: BinaryHeap<(Reverse<Pgno>, usize)>,
}

/// An input and the page that it is at.
struct Source<R: Read> {
    decoder: Decoder<R>,
    page: Vec<u8>,
}

impl<R: Read> Sources<R> {
    fn open(inputs: Vec<Decoder<R>>) -> Result<Sources<R>> {
        let open = |decoder: Decoder<R>| {
            let page = vec![0; decoder.header().page_size.bytes()];
            Source { decoder, page }
        };
        let mut sources =
            Sources { sources: inputs.into_iter().map(open).collect(), next: BinaryHeap::new() };
        for i in 0..sources.sources.len() {
            sources.read(i)?;
        }
        Ok(sources)
    }

    /// The lowest page that any input is at, and the newest of the inputs at it.
    fn next_page(&self) -> Option<(Pgno, &Source<R>)> {
        let &(Reverse(pgno), newest) = self.next.peek()?;
        Some((pgno, self.sources.get(newest)?))
    }

    /// Moves all inputs that are at this page to their next one.
    fn advance(&mut self, pgno: Pgno) -> Result<()> {
        while let Some(&(Reverse(at), i)) = self.next.peek() {
            if at != pgno {
                break;
            }
            self.next.pop();
            self.read(i)?;
        }
        Ok(())
    }

    fn read(&mut self, i: usize) -> Result<()> {
        let Source { decoder, page } = &mut self.sources[i];
        if let Some(pgno) = decoder.next_page(page)? {
            self.next.push((Reverse(pgno), i));
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.sources.into_iter().try_for_each(|source| source.decoder.finish().map(drop))
    }
}

impl<R: Read> Source<R> {
    /// Writes the page that the input is at, compressed as it came if that can be kept.
    fn write_page<W: Write>(&self, encoder: &mut Encoder<W>, pgno: Pgno) -> Result<()> {
        match self.decoder.payload() {
            Some(payload) => encoder.write_encoded(pgno, payload, &self.page),
            None => encoder.write_page(pgno, &self.page),
        }
    }
}
