//! Why something cannot be done for a database.

use std::path::PathBuf;

use engine::SyncError;

use crate::daemon::claims::Taken;

/// Why a request is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody told us of this database.
    #[error("database not found: {}", .0.display())]
    Unknown(PathBuf),
    /// It was stopped.
    #[error("database not open: {}", .0.display())]
    Stopped(PathBuf),
    /// It is replicated to somewhere else.
    #[error("{} is replicated to {replica} already", .path.display())]
    Elsewhere {
        /// The database.
        path: PathBuf,
        /// Its replica.
        replica: String,
    },
    /// Two databases in one place would destroy it.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// It does not do what was asked for in time.
    #[error("{0}")]
    Unsynced(SyncError),
    /// It was let go all the same.
    #[error("it was stopped, but the replica lacks its last commits: {0}")]
    LeftUnsynced(SyncError),
    /// The program ends first.
    #[error("the daemon is about to end")]
    Closing,
    /// Its replica cannot be opened.
    #[error("{0}")]
    Unopened(String),
    /// It cannot be taken in.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}
