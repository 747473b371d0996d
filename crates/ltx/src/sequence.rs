//! The rules that page numbers of one file follow.

use crate::{Error, Header, Pgno, Result};

/// Watches that pages ascend, spare the lock page and, in a snapshot, leave no hole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    last: Option<Pgno>,
    commit: u32,
    lock: Pgno,
    complete: bool,
}

impl Sequence {
    pub(crate) fn new(header: &Header) -> Sequence {
        Sequence {
            last: None,
            commit: header.commit,
            lock: header.page_size.lock_page(),
            complete: header.txids.is_snapshot(),
        }
    }

    /// Takes the next page; tells whether it lies within the database.
    pub(crate) fn admit(&mut self, pgno: Pgno) -> Result<bool> {
        if pgno == self.lock {
            return Err(Error::LockPage(pgno));
        }
        if let Some(previous) = self.last.filter(|&last| last >= pgno) {
            return Err(Error::Disorder { previous, found: pgno });
        }
        match self.required() {
            Some(required) if required < pgno.get() => Err(Error::MissingPage(required)),
            _ => {
                self.last = Some(pgno);
                Ok(pgno.get() <= self.commit)
            }
        }
    }

    /// Checks that no page is missing at the end.
    pub(crate) fn finish(&self) -> Result<()> {
        self.required().map_or(Ok(()), |required| Err(Error::MissingPage(required)))
    }

    /// The page that must come now, if one must.
    fn required(&self) -> Option<u32> {
        let next = self.last.map_or(1, |last| u64::from(last.get()) + 1);
        let next = if next == u64::from(self.lock.get()) { next + 1 } else { next };
        let next = u32::try_from(next).ok()?;
        (self.complete && next <= self.commit).then_some(next)
    }
}
