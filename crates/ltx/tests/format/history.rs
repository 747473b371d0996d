//! The life of a database, as a plain model and as the files that capture it.

use ltx::Tag;
use proptest::prelude::*;

use crate::sample::{self, Pages, encode, header, page, txids};

/// One transaction: the size it leaves, and the pages it writes with the seeds of their content.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    commit: u32,
    writes: Vec<(u32, u64)>,
}

/// Up to seven transactions on a database of up to a dozen pages.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let writes = prop::collection::vec((1..=12_u32, any::<u64>()), 0..8);
    let step = (1..=12_u32, writes).prop_map(|(commit, writes)| Step { commit, writes });
    prop::collection::vec(step, 1..7)
}

/// A database after each of its transactions, and the file of each.
#[derive(Debug)]
pub(crate) struct History {
    /// `states[i]` is the whole database after transaction `i + 1`.
    pub(crate) states: Vec<Pages>,
    /// `changes[i]` are the pages that transaction `i + 1` wrote.
    pub(crate) changes: Vec<Pages>,
    /// `files[i]` is the LTX file of transaction `i + 1`.
    pub(crate) files: Vec<Vec<u8>>,
}

impl History {
    pub(crate) fn new(page_size: u32, steps: &[Step]) -> History {
        let mut history = History { states: vec![], changes: vec![], files: vec![] };
        let mut state = Pages::new();
        for (txid, step) in (1..).zip(steps) {
            let change = changed(page_size, &state, step);
            state.extend(change.clone());
            state.retain(|&number, _| number <= step.commit);
            let mut header = header(page_size, step.commit, txids(txid, txid));
            header.set_tag(tag(txid));
            history.files.push(encode(header, &change));
            history.states.push(state.clone());
            history.changes.push(change);
        }
        history
    }

    /// The newest content of each page that the transactions from `first` to `last` left in the
    /// database.
    pub(crate) fn net_change(&self, first: usize, last: usize) -> Pages {
        let mut net = Pages::new();
        self.changes[first - 1..last].iter().for_each(|change| net.extend(change.clone()));
        net.retain(|number, _| self.states[last - 1].contains_key(number));
        net
    }
}

/// The mark by which a merge is known to keep the tag of its last file.
pub(crate) fn tag(txid: u64) -> Tag {
    let sum = ltx::page_sum(sample::pgno(1), &txid.to_be_bytes());
    Tag { sum, lineage: txid }
}

/// What a step writes: its pages within the database, and every page by which the database grows.
fn changed(page_size: u32, state: &Pages, step: &Step) -> Pages {
    let grown = state.len() as u32 + 1..=step.commit;
    let grown = grown.map(|number| (number, u64::from(number) << 32 | step.writes.len() as u64));
    let written = step.writes.iter().copied().filter(|&(number, _)| number <= step.commit);
    grown.chain(written).map(|(number, seed)| (number, page(page_size as usize, seed))).collect()
}
