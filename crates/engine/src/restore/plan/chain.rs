//! Chains of files without a hole.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ltx::{Level, Timestamp, Txid};
use storage::Object;

use super::PlanError;

/// Files that follow each other without a hole, from transaction 1 on, as far as they reach.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) files: Vec<Object>,
}

impl Chain {
    /// The chain of those `objects` that fit: the newest fitting snapshot, then always the file
    /// that reaches furthest.
    pub(super) fn build(objects: &[Object], fits: impl Fn(&Object) -> bool) -> Chain {
        let mut candidates: Vec<&Object> = objects.iter().filter(|file| fits(file)).collect();
        candidates.sort_unstable_by_key(|file| file.txids);
        let mut chain = Chain::default();
        chain.files.extend(newest_snapshot(&candidates));

        let mut furthest: Option<&Object> = None;
        let mut ahead = candidates.into_iter().peekable();
        loop {
            let wanted = chain.next_wanted();
            while let Some(file) = ahead.next_if(|file| file.txids.min <= wanted) {
                if furthest.is_none_or(|best| reach(file) > reach(best)) {
                    furthest = Some(file);
                }
            }
            match furthest {
                Some(file) if file.txids.max >= wanted => chain.files.push(*file),
                _ => return chain,
            }
        }
    }

    /// The last transaction that is reached.
    pub(super) fn end(&self) -> Option<Txid> {
        self.files.last().map(|file| file.txids.max)
    }

    /// The first transaction that is not reached.
    pub(super) fn next_wanted(&self) -> Txid {
        self.end().map_or(Txid::FIRST, Txid::next)
    }

    /// The first of the `objects` that lies wholly beyond the end, with a hole between.
    pub(super) fn next_beyond_gap<'a>(&self, objects: &'a [Object]) -> Option<&'a Object> {
        let wanted = self.next_wanted();
        objects.iter().filter(|file| file.txids.min > wanted).min_by_key(|file| file.txids)
    }

    /// The hole that ends this chain of all `objects`.
    pub(super) fn gap(&self, objects: &[Object]) -> PlanError {
        self.next_beyond_gap(objects).map_or(PlanError::Empty, |next| self.gap_before(next))
    }

    pub(super) fn gap_before(&self, next: &Object) -> PlanError {
        let first = self.next_wanted();
        let last = Txid::new(next.txids.min.get() - 1).unwrap_or(Txid::FIRST);
        PlanError::Gap { first, last, before: self.end(), next: *next }
    }
}

fn newest_snapshot(sorted: &[&Object]) -> Option<Object> {
    let is_snapshot =
        |file: &&&Object| file.level == Level::SNAPSHOT && file.txids.min == Txid::FIRST;
    sorted.iter().filter(is_snapshot).max_by_key(|file| file.txids.max).map(|file| **file)
}

/// Further is better; then more at once, then more compacted, then older.
fn reach(file: &Object) -> (Txid, Reverse<Txid>, Level, Reverse<Timestamp>) {
    (file.txids.max, Reverse(file.txids.min), file.level, Reverse(file.created))
}

/// The first transaction after `txid` at which a restore can end.
pub(super) fn first_restorable_after(objects: &[Object], txid: Txid) -> Option<Txid> {
    let mut by_end: Vec<&Object> = objects.iter().collect();
    by_end.sort_unstable_by_key(|file| (file.txids.max, file.txids.min));
    let mut restorable = BTreeSet::new();
    for file in by_end {
        let (min, max) = (file.txids.min, file.txids.max);
        let starts = min == Txid::FIRST;
        let joins =
            || restorable.range(..max).next_back().is_some_and(|end: &Txid| end.next() >= min);
        if starts || joins() {
            if max > txid {
                return Some(max);
            }
            restorable.insert(max);
        }
    }
    None
}
