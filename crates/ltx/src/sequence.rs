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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PageSize, Timestamp, Txid, TxidRange};

    fn sequence(commit: u32, min: u64) -> Sequence {
        let txids = TxidRange::new(Txid::new(min).unwrap(), Txid::new(9).unwrap()).unwrap();
        let page_size = PageSize::new(65536).unwrap();
        Sequence::new(&Header::new(page_size, commit, txids, Timestamp::from_millis(0)))
    }

    fn admit(sequence: &mut Sequence, pgno: u32) -> Result<bool> {
        sequence.admit(Pgno::new(pgno).unwrap())
    }

    #[test]
    fn snapshot_has_every_page_but_the_lock_page() {
        const LOCK: u32 = 16385;
        let mut pages = sequence(LOCK + 1, 1);
        for pgno in 1..LOCK {
            assert!(matches!(pages.finish(), Err(Error::MissingPage(n)) if n == pgno));
            assert!(admit(&mut pages, pgno).unwrap());
        }
        assert!(matches!(admit(&mut pages, LOCK), Err(Error::LockPage(_))));
        assert!(matches!(pages.finish(), Err(Error::MissingPage(n)) if n == LOCK + 1));
        assert!(admit(&mut pages, LOCK + 1).unwrap());
        pages.finish().unwrap();

        let mut ends_with_lock = sequence(LOCK, 1);
        for pgno in 1..LOCK {
            assert!(admit(&mut ends_with_lock, pgno).unwrap());
        }
        ends_with_lock.finish().unwrap();
    }

    #[test]
    fn increments_ascend_with_holes() {
        let mut pages = sequence(9, 2);
        pages.finish().unwrap();
        assert!(admit(&mut pages, 3).unwrap());
        assert!(admit(&mut pages, 9).unwrap());
        assert!(matches!(admit(&mut pages, 9), Err(Error::Disorder { .. })));
        assert!(matches!(admit(&mut pages, 4), Err(Error::Disorder { .. })));
        pages.finish().unwrap();
    }

    #[test]
    fn pages_beyond_the_database_are_told_apart() {
        let mut pages = sequence(1, 1);
        assert!(matches!(admit(&mut pages, 2), Err(Error::MissingPage(1))));
        assert!(admit(&mut pages, 1).unwrap());
        assert!(!admit(&mut pages, 7).unwrap());
        assert!(!admit(&mut pages, u32::MAX).unwrap());
        pages.finish().unwrap();
    }
}
