//! Proving that a replica can be restored.
//!
//! The walk needs one listing and a few ranged reads: no hole may lie between the files, and those
//! that a restore of the newest state would read must begin and end as LTX files of their names do.
//! A full check restores into a scratch file, where every checksum and SQLite itself have their
//! say, and compares that with the source, if there is one that can be compared.

mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Object, Storage};

use crate::restore::{self, Error, IntegrityCheck, Moments, Outcome, Progress, Target, plan};
pub use source::Comparison;

/// What to prove.
#[derive(Clone, Debug)]
pub struct Request {
    /// The replica.
    pub storage: Arc<dyn Storage>,
    /// Restores into a directory that has room for the database.
    pub full: Option<Full>,
}

/// How to check everything.
#[derive(Clone, Debug)]
pub struct Full {
    /// Where the scratch file goes. It is removed in any case.
    pub directory: PathBuf,
    /// The database that the replica is of, and its local state directory, to compare with.
    pub source: Option<(PathBuf, Option<PathBuf>)>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The states that can be restored.
    pub moments: Moments,
    /// Files in the replica, and their bytes.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that a restore of the newest state reads.
    pub needed: usize,
    /// What is wrong, though the newest state can be restored.
    pub faults: Vec<String>,
    /// The restore, if one was asked for.
    pub restored: Option<Outcome>,
    /// How the source compares with it.
    pub compared: Option<Comparison>,
}

impl Report {
    /// Whether nothing at all is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && !matches!(self.compared, Some(Comparison::Differs { .. }))
    }
}

/// Verifies. An error says that the newest state cannot be restored, or that nobody can tell.
pub fn run(request: &Request, progress: &dyn Progress) -> Result<Report, Error> {
    let storage = &*request.storage;
    let objects = restore::list(storage)?;
    let plan = restore::plan_of(storage, &objects, Target::Latest)?;
    for object in plan.files() {
        restore::check_ends(storage, object)?;
    }
    let mut report = survey(storage, &objects)?;
    report.needed = plan.files().len();
    if let Some(full) = &request.full {
        let scratch = Scratch::new(&full.directory)?;
        let restored = scratch.restore(request, progress)?;
        if let Some((database, meta)) = &full.source {
            let compared = source::compare(database, meta.as_deref(), &scratch.path, &restored)?;
            report.compared = Some(compared);
        }
        report.restored = Some(restored);
    }
    Ok(report)
}

/// What there is, and which files are of no use.
fn survey(storage: &dyn Storage, objects: &[Object]) -> Result<Report, Error> {
    let moments = Moments::of(storage, objects)?;
    let states = plan::states(objects);
    let useless = objects
        .iter()
        .filter(|file| !states.iter().any(|state| state.txids.max == file.txids.max))
        .map(|file| format!("{file} cannot be reached: files before it are missing"));
    let unknown = storage.unknown()?;
    let unknown = unknown.iter().map(|name| format!("{name} is not a file of a replica"));
    Ok(Report {
        moments,
        files: objects.len(),
        bytes: objects.iter().map(|file| file.size).sum(),
        needed: 0,
        faults: useless.chain(unknown).collect(),
        restored: None,
        compared: None,
    })
}

/// A restored database that goes when we do.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(directory: &Path) -> Result<Scratch, Error> {
        std::fs::create_dir_all(directory).map_err(|error| Error::output(directory, error))?;
        let name = format!(".brooklet-verify-{}-{:08x}", std::process::id(), fastrand::u32(..));
        Ok(Scratch { path: directory.join(name) })
    }

    fn restore(&self, request: &Request, progress: &dyn Progress) -> Result<Outcome, Error> {
        let mut wanted = restore::Request::new(Arc::clone(&request.storage), &self.path);
        wanted.integrity = IntegrityCheck::Full;
        restore::run(&wanted, progress)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
