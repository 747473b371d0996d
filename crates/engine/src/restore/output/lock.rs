//! SQLite's locks on a database that is to be replaced.
//!
//! Every connection in WAL mode, and every transaction in the other modes, holds locks on the
//! database file. A lock of ours on the whole file excludes them all. They are the process's: the
//! output must not be open in this process.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::with_suffix;
use crate::restore::Error;

/// Nobody else uses the database while this lives.
#[derive(Debug)]
pub(super) struct DatabaseLock {
    #[expect(dead_code, reason = "closing a file gives its locks back")]
    files: Vec<File>,
}

impl DatabaseLock {
    /// Locks the database, and the memory that its connections share.
    pub(super) fn take(path: &Path, existing: &Metadata) -> Result<DatabaseLock, Error> {
        debug_assert!(existing.is_file());
        let mut files = vec![lock(path)?];
        let shared_memory = with_suffix(path, "-shm");
        match lock(&shared_memory) {
            Ok(file) => files.push(file),
            Err(Error::Output { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(DatabaseLock { files })
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |error| Error::output(path, error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::InUse { path: PathBuf::from(path) }),
        Err(error) => Err(failed(error.into())),
    }
}
