//! Why a target cannot be restored from what is there.

use ltx::{Timestamp, Txid};
use storage::Object;

use crate::restore::moment;

/// Why a target cannot be restored from what is there, and what can be instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no file at all.
    #[error("the replica holds no backup")]
    Empty,
    /// Transactions are missing, and files beyond them are useless without them.
    #[error(
        "transactions {first} to {last} are missing from the replica, {next} cannot be reached \
         without them; {}",
        nearest(*.before, None)
    )]
    Gap {
        /// The first missing transaction.
        first: Txid,
        /// The last missing transaction.
        last: Txid,
        /// The last transaction before the hole that can be restored.
        before: Option<Txid>,
        /// The file right after the hole.
        next: Object,
    },
    /// The transaction lies within a compacted file, whose parts are no longer there.
    #[error(
        "transaction {txid} cannot be restored alone: {object} holds it together with later \
         ones; {}",
        nearest(*.before, *.after)
    )]
    InsideFile {
        /// The wanted transaction.
        txid: Txid,
        /// The file that spans it.
        object: Object,
        /// The last transaction before it that can be restored.
        before: Option<Txid>,
        /// The first transaction after it that can be restored.
        after: Option<Txid>,
    },
    /// The transaction is not in the replica yet.
    #[error("transaction {txid} is not in the replica, its newest is {newest}")]
    TooNew {
        /// The wanted transaction.
        txid: Txid,
        /// The replica's newest.
        newest: Txid,
    },
    /// The moment lies before the first state that can be restored.
    #[error(
        "nothing is as old as {}: the replica reaches from {} to {}",
        moment::text(*.moment), moment::text(*.first), moment::text(*.last)
    )]
    BeforeFirst {
        /// The wanted moment.
        moment: Timestamp,
        /// The oldest state's moment.
        first: Timestamp,
        /// The newest state's moment.
        last: Timestamp,
    },
    /// A needed file cannot even hold a header.
    #[error("{object} has only {} bytes, it was cut short", object.size)]
    TooShort {
        /// The file.
        object: Object,
    },
}

fn nearest(before: Option<Txid>, after: Option<Txid>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("the nearest restorable are {before} and {after}"),
        (Some(one), None) | (None, Some(one)) => format!("the nearest restorable is {one}"),
        (None, None) => "nothing can be restored".into(),
    }
}
