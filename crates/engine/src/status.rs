//! What an observer may know of a database.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ltx::Txid;
use storage::Usage;

/// What is being done for a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseState {
    /// The database does not exist yet, or cannot be used yet.
    #[default]
    Waiting,
    /// A whole image is being made.
    Snapshotting {
        /// Pages done.
        done: u64,
        /// Pages in all.
        total: u64,
    },
    /// Commits are captured as they come.
    Replicating,
    /// The last attempt failed; it is tried again.
    Failing {
        /// Why.
        error: String,
    },
}

/// Captured files that wait for their upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backlog {
    /// How many.
    pub files: u64,
    /// Bytes of them all.
    pub bytes: u64,
}

/// What a replica holds, as far as was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files.
    pub objects: u64,
    /// Bytes of them all.
    pub bytes: u64,
    /// When the database was as the newest snapshot has it.
    pub snapshot_at: Option<SystemTime>,
    /// Files that hold transactions after that.
    pub files_since_snapshot: u64,
    /// Files of level 0, by what keeps them.
    pub level_0: Level0,
}

/// Files of level 0, by what keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level0 {
    /// Nothing: they are deleted next.
    pub eligible: u64,
    /// No file of level 1 holds them.
    pub not_compacted: u64,
    /// They have not stood for long enough.
    pub too_recent: u64,
}

/// What was done for a database since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Looks at the WAL that left nothing uncaptured.
    pub syncs: u64,
    /// Attempts that failed.
    pub sync_errors: u64,
    /// Time that they took.
    pub sync_time: Duration,
    /// Bytes of the WAL that were captured.
    pub wal_bytes: u64,
    /// Checkpoints, all of them `PASSIVE`.
    pub checkpoints: u64,
    /// Those that failed.
    pub checkpoint_errors: u64,
    /// Time that they took.
    pub checkpoint_time: Duration,
    /// Times that writers were stopped.
    pub holds: u64,
    /// How long they were, in all.
    pub hold_time: Duration,
    /// The longest of these times.
    pub longest_hold: Duration,
    /// Compactions that found a file missing or damaged.
    pub rotten: u64,
    /// Checks of a few pages of the live database that found what was captured of them.
    pub checks: u64,
    /// Those that found something else.
    pub failed_checks: u64,
}

impl Counts {
    pub(crate) fn checkpointed(&mut self, took: Duration, well: bool, held: Option<Duration>) {
        self.checkpoints += 1;
        self.checkpoint_errors += u64::from(!well);
        self.checkpoint_time += took;
        if let Some(held) = held {
            self.holds += 1;
            self.hold_time += held;
            self.longest_hold = self.longest_hold.max(held);
        }
    }
}

/// A moment's picture of one replica.
#[derive(Clone, Debug, Default)]
pub struct ReplicaStatus {
    /// Its URL, without secrets.
    pub url: String,
    /// The last transaction that it holds.
    pub txid: Option<Txid>,
    /// The transaction of the last snapshot that was stored since the start.
    pub snapshot_txid: Option<Txid>,
    /// Every commit that returned before this moment is in it.
    pub covered_until: Option<SystemTime>,
    /// When something was uploaded to it last, since the start.
    pub uploaded_at: Option<SystemTime>,
    /// What waits for its upload to it.
    pub backlog: Backlog,
    /// What it holds, once it was looked at.
    pub contents: Option<Contents>,
    /// What was asked of its server, if that is one.
    pub usage: Option<Usage>,
    /// Whether the right to write to it is ours; none where none is needed.
    pub holds_lease: Option<bool>,
    /// How long ago the oldest commit was captured that is not in it yet.
    pub lag: Duration,
    /// How long ago the oldest compaction fell due that is not done yet.
    pub overdue: Duration,
    /// When it was last proven that it can be restored.
    pub verified_at: Option<SystemTime>,
    /// What the last verification found wrong.
    pub verify_error: Option<String>,
    /// Why the last upload failed, until one succeeds.
    pub last_error: Option<String>,
    /// Why the last compaction, snapshot or deletion failed, until all succeed.
    pub upkeep_error: Option<String>,
}

/// A moment's picture of one database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseStatus {
    /// The database.
    pub path: PathBuf,
    /// Its replicas, as they were given.
    pub replicas: Vec<ReplicaStatus>,
    /// What is being done.
    pub state: DatabaseState,
    /// Last captured transaction.
    pub local_txid: Option<Txid>,
    /// Bytes of the WAL in use.
    pub wal_bytes: u64,
    /// Why the last attempt to capture failed, until one succeeds.
    pub capture_error: Option<String>,
    /// Whether that was for want of room on the disk.
    pub disk_full: bool,
    /// Whether it was looked for, and was not there.
    pub absent: bool,
    /// How long ago everything was captured that there was.
    pub unseen_for: Option<Duration>,
    /// How long that may take while nothing happens.
    pub look_every: Duration,
    /// How long a commit may wait for others to go with it.
    pub sync_interval: Duration,
    /// What was done.
    pub counts: Counts,
    /// Whole images and page differences made since the start, because nothing was known or
    /// continuity was not proven.
    pub rebases: u64,
}

impl DatabaseStatus {
    /// Why the database is not in all of its replicas, as far as anything failed.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        let of_replica = |it: &ReplicaStatus| match (&it.last_error, self.replicas.len()) {
            (Some(error), 2..) => Some(format!("{}: {error}", it.url)),
            (error, _) => error.clone(),
        };
        self.capture_error.clone().or_else(|| self.replicas.iter().find_map(of_replica))
    }
}
