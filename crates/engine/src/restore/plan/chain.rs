//! Chains of files without a hole.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ltx::{Level, Timestamp, Txid};
use storage::Object;

use super::PlanError;

/// Files that follow each other without a hole, as far as they reach.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The transaction after which it begins; if there is none, it begins with the first.
    after: Option<Txid>,
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
        chain.extend(candidates);
        chain
    }

    /// The chain that goes on after a transaction, by files that hold no whole database.
    pub(super) fn onward(objects: &[Object], after: Txid) -> Chain {
        let mut candidates: Vec<&Object> =
            objects.iter().filter(|file| file.txids.min > Txid::FIRST).collect();
        candidates.sort_unstable_by_key(|file| file.txids);
        let mut chain = Chain { after: Some(after), files: Vec::new() };
        chain.extend(candidates);
        chain
    }

    /// Goes on with the file that reaches furthest, again and again.
    fn extend(&mut self, sorted: Vec<&Object>) {
        let mut furthest: Option<&Object> = None;
        let mut ahead = sorted.into_iter().peekable();
        loop {
            let wanted = self.next_wanted();
            while let Some(file) = ahead.next_if(|file| file.txids.min <= wanted) {
                if furthest.is_none_or(|best| reach(file) > reach(best)) {
                    furthest = Some(file);
                }
            }
            match furthest {
                Some(file) if file.txids.max >= wanted => self.files.push(*file),
                _ => return,
            }
        }
    }

    /// The last transaction that is reached.
    pub(super) fn end(&self) -> Option<Txid> {
        self.files.last().map(|file| file.txids.max).or(self.after)
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

/// For each transaction at which a restore can end a file that ends there, the least compacted
/// one, in the order of their transactions.
pub(super) fn states(objects: &[Object]) -> Vec<Object> {
    let mut by_end: Vec<&Object> = objects.iter().collect();
    by_end.sort_unstable_by_key(|file| (file.txids.max, file.txids.min));
    let mut states: BTreeMap<Txid, Object> = BTreeMap::new();
    for file in by_end {
        let (min, max) = (file.txids.min, file.txids.max);
        let starts = min == Txid::FIRST;
        let joins = || states.range(..max).next_back().is_some_and(|(end, _)| end.next() >= min);
        if starts || states.contains_key(&max) || joins() {
            let state = states.entry(max).or_insert(*file);
            if file.level < state.level {
                *state = *file;
            }
        }
    }
    states.into_values().collect()
}
