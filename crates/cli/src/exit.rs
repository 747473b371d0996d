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
    /// Another living process has the lease on the replica.
    Taken,
    /// Something is wrong that somebody should look at.
    Unhealthy,
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
            Exit::Taken => 9,
            Exit::Unhealthy => 10,
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
            ErrorKind::Refused
                if matches!(
                    error,
                    restore::Error::InUse { .. } | restore::Error::Followed { .. }
                ) =>
            {
                Exit::Conflict
            }
            ErrorKind::Refused | ErrorKind::Cancelled | ErrorKind::Other => Exit::Failed,
        }
    }

    /// The code for a storage error.
    pub fn of_storage(error: &storage::Error) -> Exit {
        use storage::Error;
        match error {
            Error::Denied { .. } | Error::Expired { .. } | Error::NoBucket { .. } => Exit::Denied,
            Error::Unreachable { .. } | Error::Throttled { .. } | Error::Corrupt { .. } => {
                Exit::Unreachable
            }
            Error::NotFound { .. } | Error::Short { .. } | Error::Lost { .. } => Exit::Unrestorable,
            Error::Unleased { .. } => Exit::Taken,
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

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Error;

    #[test]
    fn a_child_ends_as_a_shell_would_say() {
        // The raw status: an exit code in the second byte, or a signal in the first.
        let exit = |raw| Exit::of_child(ExitStatus::from_raw(raw)).code();
        assert_eq!([exit(0), exit(7 << 8), exit(255 << 8)], [0, 7, 255]);
        assert_eq!([exit(9), exit(15)], [137, 143]);
    }

    #[test]
    fn storage_errors_tell_scripts_whether_to_try_again() {
        let (object, reason) = (String::new(), String::new());
        let code = |error| Exit::of_storage(&error).code();
        assert_eq!(code(Error::Denied { object: object.clone(), reason: reason.clone() }), 5);
        assert_eq!(code(Error::Unreachable { object: object.clone(), reason: reason.clone() }), 6);
        assert_eq!(code(Error::Short { object: object.clone(), offset: 0, wanted: 1 }), 7);
        assert_eq!(code(Error::Unleased { url: object.clone(), reason: reason.clone() }), 9);
        assert_eq!(code(Error::Unsupported { url: object.clone(), reason }), 2);
        assert_eq!(code(Error::from_io(object, std::io::Error::other("disk on fire"))), 1);
    }

    #[test]
    fn restore_errors_have_codes_of_their_own() {
        use restore::Error;
        let code = |error: Error| Exit::of_restore(&error).code();
        assert_eq!(code(Error::NoBackup { replica: String::new() }), 4);
        assert_eq!(code(Error::Corrupt { report: String::new() }), 7);
        assert_eq!(code(Error::InUse { path: "a".into() }), 8);
        assert_eq!(code(Error::Exists { path: "a".into() }), 1);
        assert_eq!(code(Error::Cancelled), 1);
    }
}
