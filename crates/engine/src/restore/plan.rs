//! Which files make up the database at a target: a pure decision over a listing.
//!
//! A chain begins with a file that holds a whole database (its first transaction is 1, at any
//! level) and goes on with files that each begin no later than right after the last one's end.
//! Overlap is fine, since a later file's pages win; a hole is not.

mod chain;
mod error;

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
            after: chain::first_restorable_after(objects, txid),
        }),
        None => Err(chain.gap(objects)),
    }
}

/// The chain ends before the first file that is newer than the moment. Should a clock have been
/// set back, later files that claim an earlier time do not count either.
fn at_timestamp(objects: &[Object], moment: Timestamp) -> Result<Chain, PlanError> {
    let fits = |file: &Object| file.created <= moment;
    let chain = Chain::build(objects, fits);
    let whole = Chain::build(objects, |_| true);
    let fitting: Vec<Object> = objects.iter().copied().filter(fits).collect();
    if let Some(next) = chain.next_beyond_gap(&fitting)
        && whole.end().is_none_or(|end| end < next.txids.min)
    {
        return Err(whole.gap(objects));
    }
    if chain.files.is_empty() {
        let whole_databases = objects.iter().filter(|file| file.txids.min == Txid::FIRST);
        return match whole_databases.map(|file| file.created).min().zip(whole.files.last()) {
            Some((first, last)) => {
                Err(PlanError::BeforeFirst { moment, first, last: last.created })
            }
            None => Err(whole.gap(objects)),
        };
    }
    Ok(chain)
}

#[cfg(test)]
mod tests;
