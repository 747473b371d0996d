//! What can go wrong while a database is replicated, by meaning.

use std::io;
use std::path::{Path, PathBuf};

use crate::status::Backlog;

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
    /// An object in storage is damaged.
    #[error("{object} is damaged: {source}")]
    Rotten {
        /// The object.
        object: String,
        /// What was found.
        source: ltx::Error,
    },
    /// An object in storage holds other transactions than its name says.
    #[error("{object} holds the transactions {found} instead")]
    Misnamed {
        /// The object.
        object: String,
        /// What it holds.
        found: ltx::TxidRange,
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
    /// Another database's image is being made; this one's comes next.
    #[error("waiting for the image of another database")]
    Turn,
    /// As many databases are attached as the limit of open files allows.
    #[error("waiting until another database needs its open files no more")]
    Crowded,
    /// A snapshot was given up because its view of the database is needed back.
    #[error("the snapshot was given up: the database had to be opened anew")]
    Recalled,
    /// The same database was given twice.
    #[error("database {} is listed twice", .0.display())]
    Duplicate(PathBuf),
    /// This database was let go, and still waits for a storage to answer: neither it nor another in
    /// one of its places can be added.
    #[error("database {} was removed a moment ago, and its last request has not ended", .0.display())]
    Leaving(PathBuf),
    /// The process may not start threads or watches.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl Error {
    /// Whether room on the disk is all that is missing.
    pub(crate) fn is_full_disk(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) = kind {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Whether it is about what a file holds, not about getting at it.
    pub(crate) fn is_content(&self) -> bool {
        match self {
            Error::Ltx(ltx::Error::Io(error)) => {
                let ours = error.get_ref().and_then(|it| it.downcast_ref::<storage::Error>());
                ours.is_some_and(storage::Error::is_damage)
            }
            Error::Storage(error) => error.is_damage(),
            Error::Ltx(_) | Error::Rotten { .. } | Error::Misnamed { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn local(path: &Path, source: io::Error) -> Self {
        Error::Local { path: path.to_path_buf(), source }
    }
}

/// Why a final or requested sync is not complete.
#[derive(Debug, thiserror::Error)]
#[error("{}", .unsynced.iter().map(Unsynced::to_string).collect::<Vec<_>>().join("; "))]
pub struct SyncError {
    /// The databases whose last commits are not in all of their replicas.
    pub unsynced: Vec<Unsynced>,
}

/// A database whose last commits are not in all of its replicas.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct Unsynced {
    /// The database.
    pub path: PathBuf,
    /// What kept them.
    pub why: String,
    /// What waits for the replica that lacks most.
    pub backlog: Backlog,
}
