//! What can go wrong with storage, by meaning.

use std::io;
use std::path::Path;
use std::time::Duration;

/// The result of a storage call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with storage. Each case names the object it happened to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not there.
    #[error("{object}: no such object")]
    NotFound {
        /// The object's full name.
        object: String,
    },
    /// We may not do this: permissions, or credentials refused.
    #[error("{object}: access denied: {reason}")]
    Denied {
        /// The object's full name.
        object: String,
        /// What the system or the server said.
        reason: String,
    },
    /// The credentials were good once; they must be renewed.
    #[error("{object}: the credentials have expired: {reason}")]
    Expired {
        /// The object's full name.
        object: String,
        /// What the server said.
        reason: String,
    },
    /// The bucket, container or share that should hold the object is not there.
    #[error("{object}: {reason}")]
    NoBucket {
        /// The object's full name.
        object: String,
        /// What the server said.
        reason: String,
    },
    /// The storage asks us to come back later.
    #[error("{object}: too many requests: {reason}")]
    Throttled {
        /// The object's full name.
        object: String,
        /// What the server said.
        reason: String,
        /// How long it asks us to wait.
        after: Option<Duration>,
    },
    /// The storage did not answer, or is not mounted; a later attempt may succeed.
    #[error("{object}: storage is unreachable: {reason}")]
    Unreachable {
        /// The object's full name.
        object: String,
        /// What the system or the server said.
        reason: String,
    },
    /// The object ends before the bytes that were asked for.
    #[error("{object}: too short: {wanted} bytes at offset {offset} are not there")]
    Short {
        /// The object's full name.
        object: String,
        /// Where the read began.
        offset: u64,
        /// How many bytes were wanted from there.
        wanted: u64,
    },
    /// The disk holds the object, but cannot read it any more.
    #[error("{object}: the disk has lost what was there: {source}")]
    Lost {
        /// The object's full name.
        object: String,
        /// The system's error.
        source: io::Error,
    },
    /// What the server sent is not what it said it would send, or makes no sense.
    #[error("{object}: the server's answer is damaged: {reason}")]
    Corrupt {
        /// The object's full name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object of this name is there already, with other content.
    #[error("{object}: another writer has stored other content under this name")]
    Conflict {
        /// The object's full name.
        object: String,
    },
    /// Another process is writing this very object now.
    #[error("{object}: another process is writing this object")]
    Busy {
        /// The object's full name.
        object: String,
    },
    /// No backend understands this URL.
    #[error("{url}: {reason}")]
    Unsupported {
        /// The URL, without secrets.
        url: String,
        /// What about it is not understood.
        reason: String,
    },
    /// Another process has the right to write here, or ours has run out.
    #[error("{url}: the lease is needed to write, and {reason}")]
    Unleased {
        /// The replica's URL, without secrets.
        url: String,
        /// Who has it, or why we do not.
        reason: String,
    },
    /// Anything else that the system reports.
    #[error("{object}: {source}")]
    Io {
        /// The object's full name.
        object: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Whether it is what bad sectors are answered with.
pub(crate) fn is_disk_failure(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Error {
    /// The name of its kind, in metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotFound { .. } => "NotFound",
            Error::Denied { .. } => "AccessDenied",
            Error::Expired { .. } => "Expired",
            Error::NoBucket { .. } => "NoBucket",
            Error::Throttled { .. } => "Throttled",
            Error::Unreachable { .. } => "Unreachable",
            Error::Short { .. } => "Short",
            Error::Lost { .. } => "Lost",
            Error::Corrupt { .. } => "Corrupt",
            Error::Conflict { .. } => "Conflict",
            Error::Busy { .. } => "Busy",
            Error::Unsupported { .. } => "Unsupported",
            Error::Unleased { .. } => "Unleased",
            Error::Io { .. } => "Other",
        }
    }

    /// Gives an I/O error of the operating system its meaning. One of ours that came through a
    /// reader or a writer is itself again.
    #[must_use]
    pub fn from_io(object: impl Into<String>, source: io::Error) -> Error {
        use io::ErrorKind as Kind;
        let object = object.into();
        let source = match source.downcast::<Error>() {
            Ok(ours) => return ours,
            Err(source) => source,
        };
        match source.kind() {
            Kind::NotFound => Error::NotFound { object },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
                Error::Denied { object, reason: source.to_string() }
            }
            Kind::StaleNetworkFileHandle
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::NotConnected
            | Kind::ConnectionRefused
            | Kind::ConnectionReset => Error::Unreachable { object, reason: source.to_string() },
            _ => Error::Io { object, source },
        }
    }

    /// The same, for a copy: either side may be what failed.
    pub(crate) fn not_copied(from: &Path, to: &str, source: io::Error) -> Error {
        Error::from_io(format!("{} copied to {to}", from.display()), source)
    }

    /// Whether the same call may well succeed in a moment.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::Throttled { .. }
                | Error::Corrupt { .. }
                | Error::Expired { .. }
        )
    }

    /// How long the storage asks us to wait before the next call.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Throttled { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether the object is there, but not all of it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Short { .. } | Error::Lost { .. })
    }

    /// Whether a disk has failed that was written to, or that a copy was read from.
    #[must_use]
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, Error::Io { source, .. } if is_disk_failure(source))
    }

    /// Whether the object is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }
}
