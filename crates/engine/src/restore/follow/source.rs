//! A file that is applied to a copy.

use ltx::{Decoder, Header, PageSize, Pgno};
use storage::{Object, Storage};

use super::copy::Pages;
use crate::restore::error::name;
use crate::restore::{Error, Progress};

/// A file that is applied.
pub(super) struct Source<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) file: &'a Object,
    pub(super) progress: &'a dyn Progress,
}

impl Source<'_> {
    /// Writes those pages that no newer file held and that are in the newest state.
    pub(super) fn apply(
        &mut self,
        pages: &mut Pages<'_>,
        page_size: PageSize,
        newest: Option<&Header>,
        seen: &mut Seen,
    ) -> Result<Header, Error> {
        let Source { storage, file, progress } = self;
        let damaged = |error| Error::damaged(*storage, file, error);
        let reader = storage.open(file.level, file.txids, 0)?;
        let mut decoder = Decoder::new(reader).map_err(damaged)?;
        let header = *decoder.header();
        if header.txids != file.txids {
            return Err(Error::Misnamed { object: name(*storage, file), holds: header.txids });
        }
        if header.page_size != page_size {
            let (object, found) = (name(*storage, file), header.page_size);
            return Err(Error::PageSizeChange { object, found, newest: page_size });
        }
        let count = newest.unwrap_or(&header).commit;
        let mut page = vec![0; page_size.bytes()];
        while let Some(pgno) = decoder.next_page(&mut page).map_err(damaged)? {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if pgno.get() <= count && seen.insert(pgno) {
                pages.put(pgno, &page)?;
            }
        }
        decoder.finish().map_err(damaged)?;
        Ok(header)
    }
}

/// Pages that were met: a bit each.
#[derive(Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// Whether it is met for the first time.
    fn insert(&mut self, pgno: Pgno) -> bool {
        let (word, bit) = (pgno.get() as usize / 64, 1u64 << (pgno.get() % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }
}
