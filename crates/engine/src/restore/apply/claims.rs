//! Which pages are spoken for.

use ltx::{Header, Pgno};

/// A set of small numbers.
#[derive(Debug, Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// An empty set of numbers below `len`.
    pub(super) fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)])
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Adds a number; false if it was there.
    pub(super) fn insert(&mut self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        match self.0.get_mut(number / 64) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

/// The pages of the database that some file was chosen for. A newer file claims before an older.
#[derive(Debug)]
pub(super) struct Claims {
    pages: Bits,
    commit: u32,
    missing: u32,
    lock: Pgno,
}

impl Claims {
    pub(super) fn new(newest: &Header) -> Claims {
        let (commit, lock) = (newest.commit, newest.page_size.lock_page());
        let missing = if lock.get() <= commit { commit - 1 } else { commit };
        Claims { pages: Bits::new(commit as usize), commit, missing, lock }
    }

    /// Claims a page; false if it is not part of the database, or a newer file has it.
    pub(super) fn claim(&mut self, page: Pgno) -> bool {
        let wanted = page.get() <= self.commit && page != self.lock;
        let claimed = wanted && self.pages.insert(page.get() as usize - 1);
        self.missing -= u32::from(claimed);
        claimed
    }

    /// The first page that no file has.
    pub(super) fn first_missing(&self) -> Option<u32> {
        if self.missing == 0 {
            return None;
        }
        let lock = self.lock.get();
        (1..=self.commit).find(|&page| page != lock && !self.pages.contains(page as usize - 1))
    }
}

#[cfg(test)]
mod tests {
    use ltx::{PageSize, Timestamp, Txid, TxidRange};

    use super::*;

    #[test]
    fn each_page_is_claimed_once_and_the_lock_page_never() {
        let size = PageSize::new(65536).expect("page size");
        let (txids, time) = (TxidRange::single(Txid::FIRST), Timestamp::from_millis(0));
        let lock = size.lock_page();
        let mut claims = Claims::new(&Header::new(size, lock.get() + 1, txids, time));
        let page = |number| Pgno::new(number).expect("page");
        assert!(claims.claim(page(1)));
        assert!(!claims.claim(page(1)));
        assert!(!claims.claim(lock));
        assert!(!claims.claim(page(lock.get() + 2)));
        assert_eq!(claims.first_missing(), Some(2));
        for number in 2..lock.get() {
            assert!(claims.claim(page(number)));
        }
        assert_eq!(claims.first_missing(), Some(lock.get() + 1));
        assert!(claims.claim(page(lock.get() + 1)));
        assert_eq!(claims.first_missing(), None);
    }
}
