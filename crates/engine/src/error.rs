//! What can go wrong while a database is replicated, by meaning.

use std::io;
use std::path::{Path, PathBuf};

/// Why a database is not replicated at the moment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The live database.
    #[error(transparent)]
    Database(#[from] sqlite::Error),
    /// The replica's storage.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// An LTX file could not be written as planned.
    #[error(transparent)]
    Ltx(#[from] ltx::Error),
    /// A captured file in the local state is damaged.
    #[error("local file {path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: ltx::Error,
    },
    /// The local state directory could not be read or written.
    #[error("local state {path}: {source}")]
    Local {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// New frames do not continue the captured history.
    #[error("the captured history does not continue: {0}")]
    Discontinuity(String),
    /// Another process of ours works with this local state.
    #[error("local state {} is in use: is another brooklet replicating this database?", .0.display())]
    InUse(PathBuf),
    /// The same database was given twice.
    #[error("database {} is listed twice", .0.display())]
    Duplicate(PathBuf),
    /// The process may not start threads or watches.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl Error {
    pub(crate) fn local(path: &Path, source: io::Error) -> Self {
        Error::Local { path: path.to_path_buf(), source }
    }
}

/// Why a final or requested sync is not complete.
#[derive(Debug, thiserror::Error)]
#[error("{}", .unsynced.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect::<Vec<_>>().join("; "))]
pub struct SyncError {
    /// The databases whose last commits are not in their replica, each with the reason.
    pub unsynced: Vec<(PathBuf, String)>,
}
