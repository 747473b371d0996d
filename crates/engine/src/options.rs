//! What is to be replicated, and how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use storage::Storage;

use crate::retention::Retention;
use crate::verifier::Validation;

/// The default of [`DatabaseOptions::spool_limit`].
const SPOOL_LIMIT: u64 = 4 << 30;

/// A database to replicate, and how.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// The database file. It need not exist yet.
    pub path: PathBuf,
    /// Its local state directory, if not `.<name>-litestream` beside it.
    pub meta: Option<PathBuf>,
    /// Its replicas: at least one.
    pub replicas: Vec<Arc<dyn Storage>>,
    /// How their history is kept.
    pub history: HistoryOptions,
    /// Bytes that captured files may take in the local state while a replica does not answer.
    pub spool_limit: u64,
    /// Commits that follow others within this time are captured together.
    pub sync_interval: Duration,
    /// How often is looked for what no event tells.
    pub monitor_interval: Duration,
    /// How long committed pages may stay in the WAL alone; zero: as long as it is short.
    pub checkpoint_interval: Duration,
    /// Frames from which the WAL is copied back and started anew.
    pub checkpoint_pages: u32,
    /// How long to wait for locks of others.
    pub busy_timeout: Duration,
    /// How often a few pages are compared with what was captured of them.
    pub check_interval: Duration,
}

impl DatabaseOptions {
    /// The defaults for a database and its replicas.
    pub fn new(path: impl Into<PathBuf>, replicas: Vec<Arc<dyn Storage>>) -> Self {
        DatabaseOptions {
            path: path.into(),
            meta: None,
            replicas,
            history: HistoryOptions::default(),
            spool_limit: SPOOL_LIMIT,
            sync_interval: Duration::from_secs(1),
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_pages: 1000,
            busy_timeout: Duration::from_secs(1),
            check_interval: Duration::from_secs(60),
        }
    }
}

/// Which files the replicas of a database keep, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// How often files are compacted to level 1, 2 and so on; at most eight.
    pub levels: Vec<Duration>,
    /// How often a snapshot is made of a database that changes.
    pub snapshot_interval: Duration,
    /// What is deleted.
    pub retention: Retention,
    /// How often it is proven that they can be restored.
    pub validation: Option<Validation>,
}

impl Default for HistoryOptions {
    /// Litestream's defaults.
    fn default() -> Self {
        HistoryOptions {
            levels: [30, 5 * 60, 3600].map(Duration::from_secs).to_vec(),
            snapshot_interval: Duration::from_secs(24 * 3600),
            retention: Retention::default(),
            validation: None,
        }
    }
}
