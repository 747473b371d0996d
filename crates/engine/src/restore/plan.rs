//! Which files make up the database at a target: a pure decision over a listing.
//!
//! A chain begins with a file that holds a whole database (its first transaction is 1, at any
//! level) and goes on with files that each begin no later than right after the last one's end.
//! Overlap is fine, since a later file's pages win; a hole is not.

mod chain;
mod error;

use std::cmp::Ordering;
use std::convert::Infallible;

use ltx::{Timestamp, Txid};
use storage::Object;

use chain::Chain;
pub use error::PlanError;

/// A file is at least a header long; anything shorter was never whole.
const MIN_FILE_SIZE: u64 = 100;

/// Which state of the database is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The newest.
    Latest,
    /// The one right after this transaction.
    Txid(Txid),
    /// The last one at or before this moment.
    Timestamp(Timestamp),
}

/// The files to merge, oldest first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    files: Vec<Object>,
}

impl Plan {
    /// The files to merge, oldest first.
    #[must_use]
    pub fn files(&self) -> &[Object] {
        &self.files
    }

    /// The newest file: it decides the size of the database.
    #[must_use]
    pub fn last(&self) -> &Object {
        &self.files[self.files.len() - 1]
    }

    /// The transaction that the restored database ends with.
    #[must_use]
    pub fn txid(&self) -> Txid {
        self.last().txids.max
    }

    /// When that transaction was captured.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.last().created
    }

    /// Bytes to read, all files together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Chooses the files for a target.
///
/// The newest fitting snapshot first, then, from all levels, always the file that begins early
/// enough and reaches furthest.
pub fn plan(objects: &[Object], target: Target) -> Result<Plan, PlanError> {
    if objects.is_empty() {
        return Err(PlanError::Empty);
    }
    let chain = match target {
        Target::Latest => latest(objects)?,
        Target::Txid(txid) => at_txid(objects, txid)?,
        Target::Timestamp(moment) => at_timestamp(objects, moment)?,
    };
    match chain.files.iter().find(|file| file.size < MIN_FILE_SIZE) {
        Some(short) => Err(PlanError::TooShort { object: *short }),
        None => Ok(Plan { files: chain.files }),
    }
}

fn latest(objects: &[Object]) -> Result<Chain, PlanError> {
    let chain = Chain::build(objects, |_| true);
    match chain.next_beyond_gap(objects) {
        Some(next) => Err(chain.gap_before(next)),
        None => Ok(chain),
    }
}

fn at_txid(objects: &[Object], txid: Txid) -> Result<Chain, PlanError> {
    let chain = Chain::build(objects, |file| file.txids.max <= txid);
    if chain.end() == Some(txid) {
        return Ok(chain);
    }
    let newest = objects.iter().map(|file| file.txids.max).max().unwrap_or(txid);
    if newest < txid {
        return Err(PlanError::TooNew { txid, newest });
    }
    let next = chain.next_wanted();
    match objects.iter().find(|file| file.txids.min <= next && next <= file.txids.max) {
        Some(container) => Err(PlanError::InsideFile {
            txid,
            object: *container,
            before: chain.end(),
            after: chain::states(objects).iter().map(|it| it.txids.max).find(|it| *it > txid),
        }),
        None => Err(chain.gap(objects)),
    }
}

/// How a copy that stands at a transaction gets to the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// It is there.
    Nothing,
    /// By applying these, oldest first.
    Files(Vec<Object>),
    /// The replica ends before it.
    Ahead,
    /// There is no unbroken way.
    Broken,
}

/// The way on after a transaction.
#[must_use]
pub fn onward(objects: &[Object], after: Txid) -> Onward {
    let newest = objects.iter().map(|file| file.txids.max).max();
    match newest.map(|newest| newest.cmp(&after)) {
        None => Onward::Broken,
        Some(Ordering::Less) => Onward::Ahead,
        Some(Ordering::Equal) => Onward::Nothing,
        Some(Ordering::Greater) => {
            let chain = Chain::onward(objects, after);
            match chain.end() == newest {
                true => Onward::Files(chain.files),
                false => Onward::Broken,
            }
        }
    }
}

/// By the times of the listing; see [`at_moment`] for exact ones.
fn at_timestamp(objects: &[Object], moment: Timestamp) -> Result<Chain, PlanError> {
    let found = at_moment(objects, moment, |file| Ok::<_, Infallible>(file.created));
    let Ok(txid) = found;
    at_txid(objects, txid?)
}

/// Every state that can be restored, by a file that ends with it, oldest first.
#[must_use]
pub fn states(objects: &[Object]) -> Vec<Object> {
    chain::states(objects)
}

/// The last transaction at or before the moment.
///
/// `time` tells when a file's last transaction was captured. It is asked for few files only, by
/// binary search over the order of the transactions: should a clock have been set back, the state
/// that is found was followed by one that is newer than the moment.
pub fn at_moment<E>(
    objects: &[Object],
    moment: Timestamp,
    mut time: impl FnMut(&Object) -> Result<Timestamp, E>,
) -> Result<Result<Txid, PlanError>, E> {
    let states = chain::states(objects);
    let Some((oldest, newest)) = states.first().zip(states.last()) else {
        return Ok(Err(Chain::default().gap(objects)));
    };
    let (mut old, mut new) = (0, states.len());
    while old < new {
        let middle = old.midpoint(new);
        if time(&states[middle])? <= moment { old = middle + 1 } else { new = middle }
    }
    let Some(found) = old.checked_sub(1).map(|at| states[at].txids.max) else {
        let (first, last) = (time(oldest)?, time(newest)?);
        return Ok(Err(PlanError::BeforeFirst { moment, first, last }));
    };
    // Files behind a hole may hold a later state that is still not after the moment.
    let next = states.get(old).map(|state| state.txids.max);
    let hidden = objects.iter().filter(|file| {
        let end = file.txids.max;
        file.created <= moment && end > found && next.is_none_or(|next| end < next)
    });
    match hidden.min_by_key(|file| file.txids) {
        Some(file) => Ok(Err(Chain::build(objects, |it| it.txids.max <= found).gap_before(file))),
        None => Ok(Ok(found)),
    }
}

#[cfg(test)]
mod tests;
