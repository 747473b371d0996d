//! SQLite's locks on a database that is to be replaced.
//!
//! Every connection in WAL mode, and every transaction in the other modes, holds locks on the
//! database file. A lock of ours on the whole file excludes them all. They are the process's: the
//! output must not be open in this process.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::with_suffix;
use crate::restore::Error;

/// Nobody else uses the database while this lives.
#[derive(Debug)]
pub(super) struct DatabaseLock {
    database: Option<File>,
    #[expect(dead_code, reason = "closing a file gives its locks back")]
    shared_memory: Option<File>,
}

impl DatabaseLock {
    /// Locks the database and the memory that its connections share, as far as they exist.
    pub(super) fn take(path: &Path) -> Result<DatabaseLock, Error> {
        let database = lock(path)?;
        let shared_memory = lock(&with_suffix(path, "-shm"))?;
        Ok(DatabaseLock { database, shared_memory })
    }

    /// Whether there is a database file.
    pub(super) fn has_database(&self) -> bool {
        self.database.is_some()
    }
}

fn lock(path: &Path) -> Result<Option<File>, Error> {
    let failed = |error| Error::output(path, error);
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::InUse { path: PathBuf::from(path) }),
        Err(error) => Err(failed(error.into())),
    }
}
