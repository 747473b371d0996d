//! What the user is told when something went wrong: what happened, and what to do next.

use crate::exit::Exit;
use crate::program;
use engine::restore;
use std::fmt;

/// The result of a command's step.
pub type Result<T> = std::result::Result<T, Failure>;

/// An error for the user, with the exit code it ends the program with.
#[derive(Debug)]
pub struct Failure {
    /// The code to exit with.
    pub exit: Exit,
    /// What happened, and to which object.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string(), hint: None }
    }

    /// A command line that we cannot follow.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// Tells the user, and gives the code to exit with.
    pub fn report(self) -> Exit {
        eprintln!("{}", program::as_called(&self.to_string()));
        self.exit
    }

    /// For a log: what happened and what to do, in one line.
    pub fn in_a_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message.clone(),
        }
    }

    /// The same failure with advice.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Failure {
        let hint = match &error {
            storage::Error::Denied { object, .. } => Some(match is_remote(object) {
                true => {
                    "check the credentials, and what they permit; brooklet help replicate \
                         says where they are looked for"
                }
                false => "check who owns the place, and its mode",
            }),
            storage::Error::Expired { .. } => Some("renew the credentials"),
            storage::Error::NoBucket { .. } => Some("create it first, or correct its name"),
            storage::Error::Unreachable { object, .. } => Some(match is_remote(object) {
                true => "check the address, the network and the server; then try again",
                false => "is it mounted? then try again",
            }),
            storage::Error::Throttled { .. } => Some("try again later"),
            storage::Error::Unleased { .. } => Some(
                "one process at a time writes to this replica: stop the other one first; if it \
                 is dead, its lease runs out by itself",
            ),
            _ => None,
        };
        Failure { hint: hint.map(str::to_owned), ..Failure::new(Exit::of_storage(&error), error) }
    }
}

fn is_remote(object: &str) -> bool {
    storage::Url::is_url(object) && !object.starts_with("file:")
}

/// For what the system refuses without a meaning of its own, such as a closed stdout.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Failed, error)
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        match error {
            engine::Error::Storage(error) => error.into(),
            engine::Error::InUse(_) => {
                Failure::new(Exit::Conflict, error).hint("stop it first, and then try again")
            }
            other => Failure::new(Exit::Failed, other),
        }
    }
}

impl From<restore::Error> for Failure {
    fn from(error: restore::Error) -> Failure {
        use restore::{Error, ErrorKind, PlanError};
        let error = match error {
            Error::Storage(error) => return error.into(),
            other => other,
        };
        let hint = match &error {
            Error::NoBackup { .. } => {
                "is it the right place? restore goes on without a backup with -if-replica-exists"
            }
            Error::UnknownFormat { .. } => {
                "a backup of Litestream 0.3? restore reads it, without -txid and -dry-run"
            }
            Error::Encrypted { .. } => {
                "give its identity: -identity FILE, or age: identities in the configuration"
            }
            Error::NotRestorable { reason, .. } => match reason {
                PlanError::TooNew { .. } | PlanError::BeforeFirst { .. } => {
                    "brooklet ltx -level all lists what there is"
                }
                _ => "restore another state with -txid; brooklet ltx -level all lists all files",
            },
            _ if error.kind() == ErrorKind::NotRestorable => {
                "restore an older state with -txid or -timestamp; brooklet ltx -level all lists \
                 the files"
            }
            Error::Followed { .. } => "one process at a time may follow with a copy",
            Error::NoCopy { .. } => "restore -follow makes one",
            Error::Unfinished { .. } => "let restore -follow bring it up to date first",
            Error::InUse { .. } => "an application may not have its database replaced under it",
            _ => "",
        };
        let failure = Failure::new(Exit::of_restore(&error), error);
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}
