//! Why a restore failed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use ltx::{PageSize, Timestamp, TxidRange};
use storage::Storage;

use super::{PlanError, moment};

/// Why a restore failed. Nothing was written then, and nothing was lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no backup.
    #[error("{replica}: no backup found")]
    NoBackup {
        /// The replica's URL.
        replica: String,
    },
    /// There is something, but none of it is an LTX file.
    #[error(
        "{replica}: no backup found, but there is {name}, which is not of a format that we can \
         read"
    )]
    UnknownFormat {
        /// The replica's URL.
        replica: String,
        /// The first unknown name.
        name: String,
    },
    /// The target cannot be restored from the files that are there.
    #[error("{replica}: {reason}")]
    NotRestorable {
        /// The replica's URL.
        replica: String,
        /// Why, and what can be restored.
        reason: PlanError,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A file is damaged.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// The file's full name.
        object: String,
        /// What is wrong with it.
        reason: ltx::Error,
    },
    /// A file holds other transactions than its name says.
    #[error("{object} is damaged: it holds transactions {holds}, not those of its name")]
    Misnamed {
        /// The file's full name.
        object: String,
        /// What it holds.
        holds: TxidRange,
    },
    /// The page size changes between the files of one chain.
    #[error(
        "{object} has pages of {found} bytes, but the newest file has pages of {newest}: the \
         database was replaced; restore a state before or after that"
    )]
    PageSizeChange {
        /// The file's full name.
        object: String,
        /// Its page size.
        found: PageSize,
        /// That of the newest file.
        newest: PageSize,
    },
    /// A file of a v0.3 backup is damaged.
    #[error("{object} is damaged: {reason}")]
    DamagedBackup {
        /// The file's full name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a v0.3 backup is encrypted, and not to us.
    #[error("{object} is encrypted: {reason}")]
    Encrypted {
        /// The file's full name.
        object: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A v0.3 backup has a hole.
    #[error("WAL {index:08x} is missing from the backup, from byte {offset:08x} on")]
    MissingWal {
        /// Its number.
        index: u32,
        /// Where the missing part begins.
        offset: u64,
    },
    /// The moment lies before the first snapshot of a v0.3 backup.
    #[error("{replica}: nothing is as old as that: the backup begins at {}", moment::text(*.first))]
    BeforeFirst {
        /// The replica's URL.
        replica: String,
        /// When the oldest snapshot was made.
        first: Timestamp,
    },
    /// The pieces of a WAL of a v0.3 backup make no WAL.
    #[error("WAL {index:08x} of the backup is damaged: {reason}")]
    BrokenWal {
        /// Its number.
        index: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The files together lack pages of the database.
    #[error("{object} says the database has {pages} pages, but page {first} is in no file")]
    MissingPages {
        /// The newest file's full name.
        object: String,
        /// The size that it states.
        pages: u32,
        /// The first page that is missing.
        first: u32,
    },
    /// The pages are not those that were captured.
    #[error(
        "the restored database is not the one that {object} was captured from: its checksum \
         differs"
    )]
    Unproven {
        /// The newest file's full name.
        object: String,
    },
    /// SQLite finds the database corrupt.
    #[error("the restored database fails SQLite's integrity check: {report}")]
    Corrupt {
        /// What SQLite says first.
        report: String,
    },
    /// The output is there already.
    #[error("{} exists already; use -force to replace it", .path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Leftovers of a database lie beside the output.
    #[error(
        "{} is left over from another database and would damage the restored one; remove it, or \
         use -force to do so",
        .path.display()
    )]
    Leftover {
        /// The first leftover.
        path: PathBuf,
    },
    /// The output is no regular file.
    #[error("{} is not a regular file", .path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
    },
    /// A process has the output open.
    #[error("{} is in use by another process; stop it first", .path.display())]
    InUse {
        /// The database, or its shared-memory file.
        path: PathBuf,
    },
    /// Another restore writes to the same output.
    #[error("another restore to {} is running", .path.display())]
    Concurrent {
        /// The output.
        path: PathBuf,
    },
    /// The database is followed already.
    #[error("{} is kept up to date by another process; stop it first", .path.display())]
    Followed {
        /// The copy.
        path: PathBuf,
    },
    /// The database is not the copy of a replica.
    #[error("{} is not a copy that follows a replica", .path.display())]
    NoCopy {
        /// The database.
        path: PathBuf,
    },
    /// The copy was never brought to a known state.
    #[error("{} was not brought up to date to the end: nobody knows which transaction it holds", .path.display())]
    Unfinished {
        /// The copy.
        path: PathBuf,
    },
    /// SQLite could not write to the copy.
    #[error("{}: {reason}", .path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// A file belongs to another history than the copy.
    #[error("{object} belongs to another history than the copy")]
    OtherHistory {
        /// The file's full name.
        object: String,
    },
    /// A backup that has an end, and does not go on.
    #[error("{replica} holds a backup of Litestream 0.3 only, which cannot be followed")]
    NotFollowable {
        /// The replica's URL.
        replica: String,
    },
    /// The output could not be written.
    #[error("{}: {reason}", .path.display())]
    Output {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Given up, as asked.
    #[error("the restore was cancelled")]
    Cancelled,
}

/// The meaning of an error for a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no backup; nothing else is wrong.
    NoBackup,
    /// Credentials or permissions.
    Denied,
    /// The storage does not answer; trying again makes sense.
    Unreachable,
    /// There is a backup, but not one from which this target can be restored.
    NotRestorable,
    /// Restoring would destroy something.
    Refused,
    /// Given up, as asked.
    Cancelled,
    /// Anything else.
    Other,
}

impl Error {
    /// What this means for a script.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NoBackup { .. } => ErrorKind::NoBackup,
            Error::UnknownFormat { .. }
            | Error::NotRestorable { .. }
            | Error::Damaged { .. }
            | Error::Misnamed { .. }
            | Error::PageSizeChange { .. }
            | Error::MissingPages { .. }
            | Error::DamagedBackup { .. }
            | Error::Encrypted { .. }
            | Error::MissingWal { .. }
            | Error::BrokenWal { .. }
            | Error::BeforeFirst { .. }
            | Error::OtherHistory { .. }
            | Error::NotFollowable { .. }
            | Error::Unproven { .. }
            | Error::Corrupt { .. } => ErrorKind::NotRestorable,
            Error::Exists { .. }
            | Error::Leftover { .. }
            | Error::NotAFile { .. }
            | Error::InUse { .. }
            | Error::Followed { .. }
            | Error::NoCopy { .. }
            | Error::Unfinished { .. }
            | Error::Concurrent { .. } => ErrorKind::Refused,
            Error::Output { reason, .. } => match reason.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Other,
            },
            Error::Storage(error) => match error {
                storage::Error::Denied { .. }
                | storage::Error::Expired { .. }
                | storage::Error::NoBucket { .. } => ErrorKind::Denied,
                storage::Error::Unreachable { .. }
                | storage::Error::Throttled { .. }
                | storage::Error::Corrupt { .. } => ErrorKind::Unreachable,
                storage::Error::NotFound { .. }
                | storage::Error::Short { .. }
                | storage::Error::Lost { .. } => ErrorKind::NotRestorable,
                _ => ErrorKind::Other,
            },
            Error::Copy { .. } => ErrorKind::Other,
            Error::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// The full name of the file of the replica that is damaged, if that is what it is about.
    pub(crate) fn damaged_object(&self) -> Option<&str> {
        match self {
            Error::Damaged { object, .. }
            | Error::Misnamed { object, .. }
            | Error::Storage(
                storage::Error::Short { object, .. } | storage::Error::Lost { object, .. },
            ) => Some(object),
            _ => None,
        }
    }

    /// Whether a file of the plan is no longer there.
    pub(super) fn is_vanished_object(&self) -> bool {
        matches!(self, Error::Storage(error) if error.is_not_found())
    }

    pub(crate) fn output(path: &Path, reason: io::Error) -> Error {
        Error::Output { path: path.to_owned(), reason }
    }

    pub(super) fn damaged(
        storage: &dyn Storage,
        object: &storage::Object,
        reason: ltx::Error,
    ) -> Error {
        let object = name(storage, object);
        match reason {
            ltx::Error::Io(error) => storage::Error::from_io(object, error).into(),
            reason => Error::Damaged { object, reason },
        }
    }
}

/// The full name of an object, for messages.
pub(super) fn name(storage: &dyn Storage, object: &storage::Object) -> String {
    storage.name(object.level, object.txids)
}
