//! Other processes that use the database: this test program, started again with a role.
//!
//! POSIX locks belong to processes, so an application is only real in a process of its own. Cargo
//! does not build another package's programs for a test; so the test program plays all parts. It
//! holds a test named `helper_process` that calls [`crate::role::play`].

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::role::{ROLE, Role};
use crate::tool::PATIENCE;
use crate::wait;

/// What a helper process has reported so far.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The last transaction that it has committed.
    pub committed: u64,
    /// How many it has committed.
    pub commits: u64,
    /// How often `SQLite` said that something is locked.
    pub busy: Vec<String>,
    /// The longest commit, in microseconds.
    pub longest_commit: u64,
    /// Whether it reached what it was told to reach.
    pub done: bool,
    /// How many rounds a role without commits has made.
    pub rounds: u64,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// A running helper; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    report: Arc<Mutex<Report>>,
    listener: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a process that plays a role until it is stopped.
    pub fn start(role: impl Into<Role>) -> Process {
        Process::start_with(role, None)
    }

    /// The same, with a library loaded before all others, whose functions stand in for theirs.
    pub fn start_with(role: impl Into<Role>, library: Option<&Path>) -> Process {
        let role = serde_json::to_string(&role.into()).expect("describe the role");
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["helper_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .envs(library.map(|library| ("LD_PRELOAD", library)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start this program again");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let report = Arc::new(Mutex::new(Report::default()));
        let heard = Arc::clone(&report);
        let listener = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).hear(&line);
            }
        });
        Process { child, report, listener: Some(listener) }
    }

    /// What it has reported so far.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has committed transaction `n` (or another writer a later one).
    pub fn await_committed(&self, n: u64) -> u64 {
        wait::until(&format!("transaction {n}"), PATIENCE, || {
            let report = self.report();
            assert!(report.errors.is_empty(), "the helper failed: {:?}", report.errors);
            (report.committed >= n).then_some(report.committed)
        })
    }

    /// Waits until it has committed `count` more transactions.
    pub fn await_commits(&self, count: u64) -> u64 {
        let before = self.report().commits;
        wait::until(&format!("{count} more commits"), PATIENCE, || {
            let report = self.report();
            assert!(report.errors.is_empty(), "the helper failed: {:?}", report.errors);
            (report.commits >= before + count || report.done).then_some(report.committed)
        })
    }

    /// Waits until it has reached its limit and closed the database.
    pub fn await_done(mut self) -> Report {
        wait::until("the helper to be done", PATIENCE * 5, || self.report().done.then_some(()));
        self.finish()
    }

    /// Lets it finish what it does and close the database, and returns its whole report.
    pub fn stop(mut self) -> Report {
        self.finish()
    }

    fn finish(&mut self) -> Report {
        drop(self.child.stdin.take());
        wait::until("the helper to end", PATIENCE, || self.child.try_wait().ok().flatten());
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let report = self.report();
        assert!(report.errors.is_empty(), "the helper failed: {:?}", report.errors);
        report
    }

    /// SIGKILL, as when the application crashes.
    pub fn kill(mut self) -> Report {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        self.report()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    fn hear(&mut self, line: &str) {
        let Some((word, rest)) = line.strip_prefix('@').and_then(|line| line.split_once(' '))
        else {
            return;
        };
        let mut numbers = rest.split(' ').map(|number| number.parse::<u64>().unwrap_or(0));
        match word {
            "committed" => {
                self.committed = numbers.next().unwrap_or(0);
                self.commits = numbers.next().unwrap_or(0);
                self.longest_commit = numbers.next().unwrap_or(0);
            }
            "busy" => self.busy.push(rest.to_owned()),
            "round" => self.rounds += 1,
            "done" => self.done = true,
            _ => self.errors.push(rest.to_owned()),
        }
    }
}
