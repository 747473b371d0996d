//! One element of `dbs`, as far as it is the same for a database and a directory of them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::{HistoryOptions, Validation};

use super::problem::Problem;
use super::section::Section;
use super::{absolute, directory, history, replica};
use crate::connect::Replica;
use crate::secret::Secret;

type Result<T> = std::result::Result<T, Problem>;

/// One database and where it is replicated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Absolute.
    pub path: PathBuf,
    /// The local state's place, if not beside the database.
    pub meta: Option<PathBuf>,
    /// Its replicas: at least one.
    pub replicas: Vec<Replica>,
    /// Keys of encrypted v0.3 backups there.
    pub identities: Vec<Secret>,
    /// How much history they keep.
    pub history: HistoryOptions,
    /// Bytes that may wait here while a replica does not answer.
    pub spool_limit: Option<u64>,
    /// How long a change may wait for its upload.
    pub sync_interval: Duration,
    /// How often the database is looked at when nothing announces a change.
    pub monitor_interval: Duration,
    /// How long a change may wait for a checkpoint.
    pub checkpoint_interval: Duration,
    /// The number of WAL pages that calls for a checkpoint.
    pub checkpoint_pages: u32,
    /// How long to wait for the application's locks.
    pub busy_timeout: Duration,
    /// Whether it is restored before replication begins, if it is missing.
    pub restore_if_missing: bool,
}

impl Database {
    /// A database with Litestream's default settings.
    pub fn new(path: PathBuf, replicas: Vec<Replica>) -> Database {
        Database {
            path,
            meta: None,
            replicas,
            identities: Vec::new(),
            history: HistoryOptions::default(),
            spool_limit: None,
            sync_interval: Duration::from_secs(1),
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_pages: 1000,
            busy_timeout: Duration::from_secs(1),
            restore_if_missing: false,
        }
    }

    /// Reads an element of `dbs`; for a directory, what its databases have in common.
    pub(super) fn read(section: &Section<'_>, root: &Section<'_>) -> Result<Database> {
        let path = directory::path(section)?;
        let replicas = replica::read(section, root)?;
        let places = replicas.iter().map(|it| it.replica.clone()).collect();
        let validation = replicas.iter().filter_map(|it| it.validation_interval).min();
        let fastest = replicas.iter().filter_map(|it| it.sync_interval).min();
        let mut database = Database::new(absolute(&path)?, places);
        database.identities = replicas.into_iter().flat_map(|it| it.identities).collect();
        database.history = history::read(root)?;
        if let Some(interval) = validation {
            let full = database.history.validation.is_some_and(|it| it.full);
            database.history.validation = Some(Validation { interval, full });
        }
        history::snapshot(section, &mut database.history)?;
        database.spool_limit = section.bytes("spool-limit")?;
        if let Some(meta) = section.place("meta-path")? {
            database.meta = Some(absolute(&meta)?);
        }
        let set = |setting: &mut Duration, value: Option<Duration>| {
            *setting = value.unwrap_or(*setting);
        };
        set(&mut database.sync_interval, root.interval("sync-interval")?);
        set(&mut database.sync_interval, fastest);
        set(&mut database.monitor_interval, section.interval("monitor-interval")?);
        set(&mut database.checkpoint_interval, section.duration("checkpoint-interval")?);
        set(&mut database.busy_timeout, section.duration("busy-timeout")?);
        if let Some(pages) = section.count("min-checkpoint-page-count")? {
            database.checkpoint_pages = pages;
        }
        section.integer("truncate-page-n")?;
        section.integer("max-sync-wal-bytes")?;
        database.restore_if_missing = section.flag("restore-if-db-not-exists")?.unwrap_or(false);
        Ok(database)
    }

    /// Two databases must not share a file or local state.
    pub(super) fn refuse_shared(
        &self,
        taken: &mut HashMap<String, usize>,
        line: usize,
    ) -> Result<()> {
        let meta = self.meta.iter().map(|meta| format!("the meta-path {}", meta.display()));
        let path = [format!("the database {}", self.path.display())];
        for shared in path.into_iter().chain(meta) {
            if let Some(other) = taken.insert(shared.clone(), line) {
                let message =
                    format_args!("{shared} is already in use by the entry of dbs in line {other}");
                return Err(Problem::new(line, message).hint("give each database its own"));
            }
        }
        Ok(())
    }
}
