//! Restore: from the files of a replica back to a database file.
//!
//! [`plan`] decides which files are needed, `apply` writes their pages into a temporary file,
//! each page once, from the newest file that holds it, and `output` puts the whole and checked
//! file where it belongs.

mod apply;
mod error;
mod integrity;
mod moment;
mod output;
pub mod plan;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use ltx::{Level, Timestamp, Txid};
use storage::{Object, Storage};

pub use error::{Error, ErrorKind};
pub use integrity::IntegrityCheck;
use output::Output;
pub use plan::{Plan, PlanError, Target, plan};
pub use progress::{Progress, Step};

/// How often a restore starts over because retention took a file from under it.
const MAX_PLANS: u32 = 5;

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The replica.
    pub storage: Arc<dyn Storage>,
    /// The database file to make. No database of this process may be open there: SQLite's locks
    /// are lost when we look at it.
    pub output: PathBuf,
    /// Which state.
    pub target: Target,
    /// Worker threads, at least 1.
    pub parallelism: usize,
    /// Whether an existing database, or its leftovers, may be replaced.
    pub force: bool,
    /// What SQLite checks before the file gets its name.
    pub integrity: IntegrityCheck,
}

impl Request {
    /// A restore of the newest state that overwrites nothing.
    pub fn new(storage: Arc<dyn Storage>, output: impl Into<PathBuf>) -> Request {
        Request {
            storage,
            output: output.into(),
            target: Target::Latest,
            parallelism: default_parallelism(),
            force: false,
            integrity: IntegrityCheck::None,
        }
    }
}

/// One worker for each core, up to 8.
#[must_use]
pub fn default_parallelism() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(8))
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The transaction that the database ends with.
    pub txid: Txid,
    /// When that transaction was captured.
    pub timestamp: Timestamp,
    /// Size of the database in pages.
    pub pages: u32,
    /// Size of the database in bytes.
    pub bytes: u64,
    /// Files that were merged.
    pub files: usize,
    /// Bytes of those files.
    pub read: u64,
    /// Whether the database's content equals the sum that our capture recorded. Files by
    /// Litestream carry no such sum.
    pub proven: bool,
    /// What SQLite checked.
    pub integrity: IntegrityCheck,
}

/// Restores a database. On any error there is no new file, and an old one is untouched.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Outcome, Error> {
    // First of all, whether there is a backup: without one, nothing at the output matters.
    let mut plan = find_plan(&*request.storage, request.target)?;
    let output = Output::prepare(&request.output, request.force)?;
    for _ in 1..MAX_PLANS {
        match carry_out(request, &plan, &output, progress) {
            // Compaction replaced a planned file by a larger one: the data is still there.
            Err(error) if error.is_vanished_object() => {
                plan = find_plan(&*request.storage, request.target)?;
            }
            result => return result,
        }
    }
    carry_out(request, &plan, &output, progress)
}

/// Lists a replica and plans a restore from it.
pub fn find_plan(storage: &dyn Storage, target: Target) -> Result<Plan, Error> {
    let mut objects = list(storage)?;
    if let Target::Timestamp(_) = target {
        storage.refine_times(&mut objects)?;
    }
    plan(&objects, target).map_err(|error| match error {
        PlanError::Empty => no_backup(storage),
        reason => Error::NotRestorable { replica: storage.url(), reason },
    })
}

/// All files of a replica, level by level.
pub fn list(storage: &dyn Storage) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for level in Level::all() {
        objects.extend(storage.list(level, Txid::FIRST)?);
    }
    Ok(objects)
}

/// Nothing there is one thing, something that we cannot read is another.
fn no_backup(storage: &dyn Storage) -> Error {
    match storage.unknown() {
        Err(error) => error.into(),
        Ok(unknown) => match unknown.into_iter().next() {
            Some(name) => Error::UnknownFormat { replica: storage.url(), name },
            None => Error::NoBackup { replica: storage.url() },
        },
    }
}

fn carry_out(
    request: &Request,
    plan: &Plan,
    output: &Output,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    let storage = &*request.storage;
    let temp = output.create_temp()?;
    let apply = apply::Apply { storage, plan, out: temp.file(), path: temp.path(), progress };
    let restored = apply.run(request.parallelism.max(1))?;

    progress.step(Step::Syncing);
    temp.file().sync_all().map_err(|error| Error::output(temp.path(), error))?;
    if request.integrity != IntegrityCheck::None {
        progress.step(Step::Checking);
        integrity::check(temp.path(), request.integrity)?;
    }
    progress.step(Step::Publishing);
    output.publish(temp)?;
    Ok(Outcome {
        txid: plan.txid(),
        timestamp: restored.timestamp,
        pages: restored.pages,
        bytes: restored.bytes,
        files: plan.files().len(),
        read: plan.size(),
        proven: restored.proven,
        integrity: request.integrity,
    })
}
