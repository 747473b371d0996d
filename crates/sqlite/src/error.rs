//! What can go wrong with a live database, by meaning.

use std::io;
use std::path::PathBuf;

/// Why a live database could not be read, pinned or checkpointed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no file at this path, or it is still empty.
    #[error("database {path} does not exist yet")]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// The file is there but is not an SQLite database.
    #[error("{path} is not an SQLite database")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The database is in rollback-journal mode and could not be switched to WAL.
    #[error("database {path} is in {mode} mode and cannot be switched to WAL: {reason}")]
    NotWal {
        /// The database.
        path: PathBuf,
        /// Its journal mode as SQLite names it.
        mode: String,
        /// SQLite's own words.
        reason: String,
    },
    /// The database, its folder, `-wal` or `-shm` may not be written by this user.
    #[error("database {path} cannot be opened for replication: {reason}")]
    Denied {
        /// The database.
        path: PathBuf,
        /// The system's or SQLite's own words.
        reason: String,
    },
    /// Somebody holds a lock for longer than the busy timeout.
    #[error("database {path} is locked by another process")]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The WAL or its index does not hold what it must: nothing may be concluded from it.
    #[error("WAL of {path} is not as expected: {reason}")]
    Discontinuity {
        /// The database.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// SQLite refused.
    #[error("{path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// Maps an SQLite error to its meaning for the database at `path`.
    pub(crate) fn sqlite(path: &std::path::Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, NotADatabase, PermissionDenied, ReadOnly,
        };
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Error::Busy { path },
            Some(NotADatabase) => Error::NotADatabase { path },
            // It does not say which of them.
            Some(CannotOpen) => {
                let hint = "may this user read and write it, its -wal, its -shm and their folder?";
                Error::Denied { path, reason: format!("{source}; {hint}") }
            }
            Some(ReadOnly | PermissionDenied) => Error::Denied { path, reason: source.to_string() },
            _ => Error::Sqlite { path, source },
        }
    }

    /// Maps a system error on `path`.
    pub(crate) fn io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path },
            io::ErrorKind::PermissionDenied => Error::Denied { path, reason: source.to_string() },
            _ => Error::Io { path, source },
        }
    }
}
