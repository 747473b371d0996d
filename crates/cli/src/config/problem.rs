//! What is wrong with a configuration, and on which line.

use crate::exit::Exit;
use crate::failure::Failure;
use std::fmt;
use std::path::Path;

/// One fault in a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line that it is on, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A fault without advice.
    pub fn new(line: usize, message: impl fmt::Display) -> Problem {
        Problem { line, message: message.to_string(), hint: None }
    }

    /// The same fault with advice.
    pub fn hint(mut self, hint: impl fmt::Display) -> Problem {
        self.hint = Some(hint.to_string());
        self
    }

    /// For the user: with the file that it was found in.
    pub fn in_file(self, path: &Path) -> Failure {
        let message = format!("{}:{}: {}", path.display(), self.line, self.message);
        Failure { exit: Exit::Config, message, hint: self.hint }
    }
}
