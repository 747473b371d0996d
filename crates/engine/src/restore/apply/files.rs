//! Reading the files of a plan by ranges.

use std::ops::Range;

use ltx::{Header, Index, PageEntry};
use storage::{Object, Storage};

use crate::restore::Error;

/// A file up to this size is read at once: one request instead of three.
pub(super) const SMALL: u64 = 256 << 10;

/// What is read from the end of a larger file in the hope that it holds the whole index.
const TAIL: Range<u64> = 32 << 10..4 << 20;

/// A file whose header and index are known.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) object: Object,
    pub(super) header: Header,
    pub(super) index: Index,
    /// All of it, if it is small.
    body: Option<Vec<u8>>,
}

impl Opened {
    /// Reads what is needed to find the pages of a file.
    pub(super) fn open(storage: &dyn Storage, object: &Object) -> Result<Opened, Error> {
        let damaged = |reason| Error::damaged(storage, object, reason);
        let (header, body) = if object.size <= SMALL {
            let body = read(storage, object, 0..object.size)?;
            let header = body.first_chunk().ok_or(ltx::Error::Truncated).map_err(damaged)?;
            (Header::decode(header).map_err(damaged)?, Some(body))
        } else {
            (read_header(storage, object)?, None)
        };
        let index = match &body {
            Some(body) => Index::parse(body, object.size).map_err(damaged)?,
            None => read_index(storage, object)?,
        };
        Ok(Opened { object: *object, header, index, body })
    }

    /// The bytes of some consecutive frames, in `buffer` if they are not at hand.
    pub(super) fn frames<'a>(
        &'a self,
        storage: &dyn Storage,
        entries: &[PageEntry],
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Error> {
        let [first, .., last] = entries else {
            return match entries {
                [only] => self.range(storage, only.offset..only.end(), buffer),
                _ => Ok(&[]),
            };
        };
        self.range(storage, first.offset..last.end(), buffer)
    }

    fn range<'a>(
        &'a self,
        storage: &dyn Storage,
        range: Range<u64>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Error> {
        if let Some(body) = &self.body {
            // A parsed index lies within the file.
            return Ok(&body[range.start as usize..range.end as usize]);
        }
        buffer.resize((range.end - range.start) as usize, 0);
        storage.read_at(self.object.level, self.object.txids, range.start, buffer)?;
        Ok(buffer)
    }
}

/// Reads the header alone.
pub(super) fn read_header(storage: &dyn Storage, object: &Object) -> Result<Header, Error> {
    let mut header = [0; Header::SIZE];
    storage.read_at(object.level, object.txids, 0, &mut header)?;
    Header::decode(&header).map_err(|reason| Error::damaged(storage, object, reason))
}

/// Reads the index of a large file: with luck at once, else in a stream.
fn read_index(storage: &dyn Storage, object: &Object) -> Result<Index, Error> {
    let damaged = |reason| Error::damaged(storage, object, reason);
    let guess = (object.size / 64).clamp(TAIL.start, TAIL.end).min(object.size);
    let tail = read(storage, object, object.size - guess..object.size)?;
    let end = tail.last_chunk().ok_or(ltx::Error::Truncated).map_err(damaged)?;
    let length = Index::tail_len(end, object.size).map_err(damaged)?;
    if length <= guess {
        return Index::parse(&tail, object.size).map_err(damaged);
    }
    drop(tail);
    let stream = storage.open(object.level, object.txids, object.size - length)?;
    Index::read(stream, length, object.size).map_err(damaged)
}

fn read(storage: &dyn Storage, object: &Object, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    storage.read_at(object.level, object.txids, range.start, &mut bytes)?;
    Ok(bytes)
}
