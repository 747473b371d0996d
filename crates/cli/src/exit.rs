//! The exit codes: what scripts and supervisors may rely on. They are named nowhere else.

use std::process::{ExitCode, ExitStatus};

use engine::restore::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or skipped as asked.
    Done,
    /// A failure with no code of its own.
    Failed,
    /// A bad flag, argument or command.
    Usage,
    /// The configuration file is missing or invalid.
    Config,
    /// There is no backup at this place.
    NoBackup,
    /// Storage refused us: permissions or credentials.
    Denied,
    /// Storage did not answer; a later attempt may succeed.
    Unreachable,
    /// A backup is there and cannot be restored: damaged, incomplete or of an unknown format.
    Unrestorable,
    /// The database that is here and the replica do not belong together.
    Conflict,
    /// The final sync did not finish inside the shutdown budget.
    Unsynced,
    /// What the `-exec` child ended with.
    Child(u8),
}

impl Exit {
    /// The code for the operating system.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Config => 3,
            Exit::NoBackup => 4,
            Exit::Denied => 5,
            Exit::Unreachable => 6,
            Exit::Unrestorable => 7,
            Exit::Conflict => 8,
            Exit::Unsynced => 11,
            Exit::Child(code) => code,
        }
    }

    /// As a shell reports a child: its own code, or 128 + n if signal n killed it.
    pub fn of_child(status: ExitStatus) -> Exit {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Exit::Done,
            Some(code) => Exit::Child(code),
            None => Exit::Failed,
        }
    }

    /// The code for a restore that failed.
    pub fn of_restore(error: &restore::Error) -> Exit {
        match error.kind() {
            ErrorKind::NoBackup => Exit::NoBackup,
            ErrorKind::Denied => Exit::Denied,
            ErrorKind::Unreachable => Exit::Unreachable,
            ErrorKind::NotRestorable => Exit::Unrestorable,
            ErrorKind::Refused if matches!(error, restore::Error::InUse { .. }) => Exit::Conflict,
            ErrorKind::Refused | ErrorKind::Cancelled | ErrorKind::Other => Exit::Failed,
        }
    }

    /// The code for a storage error.
    pub fn of_storage(error: &storage::Error) -> Exit {
        use storage::Error;
        match error {
            Error::Denied { .. } => Exit::Denied,
            Error::Unreachable { .. } => Exit::Unreachable,
            Error::NotFound { .. } | Error::Short { .. } => Exit::Unrestorable,
            Error::Unsupported { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
