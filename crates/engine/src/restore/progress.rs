//! How a restore tells how far it is.

use super::Plan;

/// What a restore is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading files and writing pages.
    Restoring,
    /// Waiting for the disk.
    Syncing,
    /// Waiting for SQLite's own check.
    Checking,
    /// Giving the file its name.
    Publishing,
}

/// Told how far a restore is, from several threads. Every method may be left out.
pub trait Progress: Sync {
    /// Begins, or begins anew, to carry out a plan: nothing of [`Plan::size`] is read yet.
    fn started(&self, plan: &Plan) {
        let _ = plan;
    }

    /// So many more bytes of the plan's files are done.
    fn read(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A next step begins.
    fn step(&self, step: Step) {
        let _ = step;
    }

    /// Whether to give up, as after a signal. Asked often.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody is watching.
impl Progress for () {}
