//! What an observer may know of a database.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ltx::Txid;

/// What is being done for a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseState {
    /// The database does not exist yet, or cannot be used yet.
    #[default]
    Waiting,
    /// A whole image is being made.
    Snapshotting {
        /// Pages done.
        done: u64,
        /// Pages in all.
        total: u64,
    },
    /// Commits are captured as they come.
    Replicating,
    /// The last attempt failed; it is tried again.
    Failing {
        /// Why.
        error: String,
    },
}

/// A moment's picture of one database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseStatus {
    /// The database.
    pub path: PathBuf,
    /// Its replica's URL, without secrets.
    pub replica: String,
    /// What is being done.
    pub state: DatabaseState,
    /// Last captured transaction.
    pub local_txid: Option<Txid>,
    /// Last transaction that the replica holds.
    pub replica_txid: Option<Txid>,
    /// Every commit that returned before this moment is in the replica.
    pub covered_until: Option<SystemTime>,
    /// Bytes of the WAL in use.
    pub wal_bytes: u64,
    /// How long ago the oldest commit was captured that is not in the replica yet.
    pub lag: Duration,
    /// The last error, until something succeeds again.
    pub last_error: Option<String>,
    /// Whole images and page differences made since the start, because nothing was known or
    /// continuity was not proven.
    pub rebases: u64,
}
