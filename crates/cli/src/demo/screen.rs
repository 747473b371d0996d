//! What the demo shows while it runs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Lines for a reader, and one line that is kept up to date.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    last: Option<Instant>,
}

impl Screen {
    /// Stdout.
    pub fn new() -> Screen {
        Screen { terminal: io::stdout().is_terminal(), last: None }
    }

    /// Prints a line that stays.
    pub fn say(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        // Nobody may be reading any more: the demo goes on to its verdict all the same.
        let _ = writeln!(out, "{text}");
    }

    /// Shows the state of things: in place on a terminal, else once a second.
    pub fn refresh(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        if self.terminal {
            let _ = write!(out, "\r\x1b[2K{text}");
        } else if self.last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            self.last = Some(Instant::now());
            let _ = writeln!(out, "{text}");
        }
        let _ = out.flush();
    }

    /// Leaves the line that was kept up to date.
    pub fn settle(&mut self) {
        if self.terminal {
            self.say("");
        }
    }
}
