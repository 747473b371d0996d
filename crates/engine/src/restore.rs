//! Restore: from the files of a replica back to a database file.
//!
//! [`plan`] decides which files are needed, `apply` writes their pages into a temporary file,
//! each page once, from the newest file that holds it, and `output` puts the whole and checked
//! file where it belongs.

mod any;
mod apply;
mod error;
mod follow;
mod integrity;
mod moment;
mod moments;
mod output;
pub mod plan;
mod progress;
pub mod v3;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use ltx::{Header, Timestamp, Txid};
use storage::{Object, Storage, TempFile};

pub use any::{find_plan_any, run_any};
pub(crate) use apply::check_ends;
pub use error::{Error, ErrorKind};
pub use follow::{Advance, Follower, promote};
pub use integrity::IntegrityCheck;
pub use moments::{Moments, Rung};
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
    /// The keys of encrypted backups.
    pub identities: v3::Identities,
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
            identities: v3::Identities::default(),
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
    /// The transaction that the database ends with; backups of v0.3 have none.
    pub txid: Option<Txid>,
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

/// A backup of either format.
enum Found {
    Ltx(Plan),
    V3(v3::Plan),
}

/// Restores a database. On any error there is no new file, and an old one is untouched.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Outcome, Error> {
    // First of all, whether there is a backup: without one, nothing at the output matters.
    let mut found = find(request)?;
    let output = Output::prepare(&request.output, request.force)?;
    for _ in 1..MAX_PLANS {
        match carry_out(request, &found, &output, progress) {
            // Compaction replaced a planned file by a larger one: the data is still there.
            Err(error) if error.is_vanished_object() => found = find(request)?,
            result => return result,
        }
    }
    carry_out(request, &found, &output, progress)
}

/// Of two formats the one that is newer, or that has a newer snapshot to begin with.
fn find(request: &Request) -> Result<Found, Error> {
    let (storage, target) = (&*request.storage, request.target);
    let ltx = match find_plan(storage, target) {
        Err(error @ Error::Storage(_)) => return Err(error),
        ltx => ltx,
    };
    let moment = match target {
        Target::Txid(_) => return ltx.map(Found::Ltx),
        Target::Timestamp(moment) => Some(moment),
        Target::Latest => None,
    };
    let missing =
        |error: &Error| matches!(error, Error::NoBackup { .. } | Error::UnknownFormat { .. });
    let before_all = |error: &Error| {
        matches!(error, Error::NotRestorable { reason: PlanError::BeforeFirst { .. }, .. })
    };
    match (ltx, v3::find(storage, moment)?) {
        (Ok(ltx), Some(v3)) if prefers_v3(&ltx, &v3, moment) => Ok(Found::V3(v3)),
        (Err(error), Some(v3)) if missing(&error) || before_all(&error) => Ok(Found::V3(v3)),
        (Err(error), None) if missing(&error) => match v3::begins(storage)? {
            Some(first) => Err(Error::BeforeFirst { replica: storage.url(), first }),
            None => Err(error),
        },
        (ltx, _) => ltx.map(Found::Ltx),
    }
}

fn prefers_v3(ltx: &Plan, v3: &v3::Plan, moment: Option<Timestamp>) -> bool {
    match moment {
        None => v3.updated > ltx.timestamp(),
        Some(_) => v3.snapshot_created() > ltx.files()[0].created,
    }
}

/// Lists a replica and plans a restore from it.
pub fn find_plan(storage: &dyn Storage, target: Target) -> Result<Plan, Error> {
    plan_of(storage, &list(storage)?, target)
}

/// Plans a restore from a listing.
pub(crate) fn plan_of(
    storage: &dyn Storage,
    objects: &[Object],
    target: Target,
) -> Result<Plan, Error> {
    let failed = |error| match error {
        PlanError::Empty => no_backup(storage),
        reason => Error::NotRestorable { replica: storage.url(), reason },
    };
    let Target::Timestamp(moment) = target else {
        return plan(objects, target).map_err(failed);
    };
    let txid = plan::at_moment(objects, moment, |file| captured(storage, file))?;
    plan(objects, Target::Txid(txid.map_err(failed)?)).map_err(failed)
}

/// When a file's last transaction was captured, by its header: a listing may only know when it was
/// uploaded, or copied. A file without a sound header keeps that time; its damage is found if it
/// is needed.
pub(crate) fn captured(storage: &dyn Storage, file: &Object) -> Result<Timestamp, storage::Error> {
    let mut header = [0; Header::SIZE];
    match storage.read_at(file.level, file.txids, 0, &mut header) {
        Err(error) if error.is_damage() => Ok(file.created),
        result => {
            result?;
            Ok(Header::decode(&header).map_or(file.created, |header| header.timestamp))
        }
    }
}

/// All files of a replica, level by level.
pub fn list(storage: &dyn Storage) -> Result<Vec<Object>, Error> {
    Ok(storage.list_all()?)
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
    found: &Found,
    output: &Output,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    let temp = output.create_temp()?;
    let mut outcome = fill(request, found, &temp, progress)?;
    progress.step(Step::Syncing);
    temp.file().sync_all().map_err(|error| Error::output(temp.path(), error))?;
    if request.integrity != IntegrityCheck::None {
        progress.step(Step::Checking);
        integrity::check(temp.path(), request.integrity)?;
    }
    progress.step(Step::Publishing);
    output.publish(temp)?;
    outcome.integrity = request.integrity;
    Ok(outcome)
}

/// Writes all pages into the temporary file.
fn fill(
    request: &Request,
    found: &Found,
    temp: &TempFile,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    let storage = &*request.storage;
    let integrity = IntegrityCheck::None;
    match found {
        Found::Ltx(plan) => {
            let apply =
                apply::Apply { storage, plan, out: temp.file(), path: temp.path(), progress };
            let restored = apply.run(request.parallelism.max(1))?;
            Ok(Outcome {
                txid: Some(plan.txid()),
                timestamp: restored.timestamp,
                pages: restored.pages,
                bytes: restored.bytes,
                files: plan.files().len(),
                read: plan.size(),
                proven: restored.proven,
                integrity,
            })
        }
        Found::V3(plan) => {
            let place = (temp.file(), temp.path());
            let restored = v3::apply(storage, plan, &request.identities, place, progress)?;
            Ok(Outcome {
                txid: None,
                timestamp: restored.timestamp,
                pages: restored.pages,
                bytes: restored.bytes,
                files: plan.files(),
                read: plan.size,
                proven: false,
                integrity,
            })
        }
    }
}
