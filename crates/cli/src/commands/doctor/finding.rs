//! What was found out, and what to do about it.

use std::fmt;
use std::path::Path;

use rustix::fs::{Access, access};
use serde::{Serialize, Serializer};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::supervise;

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub level: Level,
    /// A database, a replica, or a program.
    pub subject: String,
    pub check: &'static str,
    pub detail: String,
    pub hint: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// It works, and may not some day.
    Warn,
    /// Replication or restores do not work.
    Fail(Exit),
}

impl Finding {
    pub fn ok(
        subject: impl fmt::Display,
        check: &'static str,
        detail: impl fmt::Display,
    ) -> Finding {
        Finding::new(Level::Ok, subject, check, detail)
    }

    pub fn warn(
        subject: impl fmt::Display,
        check: &'static str,
        detail: impl fmt::Display,
    ) -> Finding {
        Finding::new(Level::Warn, subject, check, detail)
    }

    pub fn fail(
        subject: impl fmt::Display,
        check: &'static str,
        exit: Exit,
        detail: impl fmt::Display,
    ) -> Finding {
        Finding::new(Level::Fail(exit), subject, check, detail)
    }

    /// What would end another command.
    pub fn failure(subject: impl fmt::Display, check: &'static str, failure: Failure) -> Finding {
        let hint = failure.hint;
        Finding { hint, ..Finding::fail(subject, check, failure.exit, failure.message) }
    }

    pub fn hint(self, hint: impl fmt::Display) -> Finding {
        Finding { hint: Some(hint.to_string()), ..self }
    }

    fn new(
        level: Level,
        subject: impl fmt::Display,
        check: &'static str,
        detail: impl fmt::Display,
    ) -> Finding {
        let (subject, detail) = (subject.to_string(), detail.to_string());
        Finding { level, subject, check, detail, hint: None }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail(_) => "fail",
        }
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { level, subject, check, detail, hint } = self;
        write!(f, "{:<4}  {subject}: {check}: {detail}", level.word())?;
        match hint {
            Some(hint) => write!(f, "\n      hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Whether the program of `exec` can be run.
pub fn program(command: &str) -> Finding {
    let words = match supervise::split(command) {
        Ok(words) => words,
        Err(failure) => return Finding::failure("exec", "program", failure),
    };
    let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let name = Path::new(&words[0]);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = match name.components().count() {
        1 => std::env::split_paths(&folders).any(|folder| runs(&folder.join(name))),
        _ => runs(name),
    };
    match found {
        true => Finding::ok("exec", "program", format!("{} can be run", name.display())),
        false => {
            Finding::fail("exec", "program", Exit::Failed, format!("cannot run {:?}", words[0]))
                .hint("it needs a program on the PATH; for shell syntax: sh -c '...'")
        }
    }
}
