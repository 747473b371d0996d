//! Backups that Litestream v0.3 wrote: generations of snapshots and WAL segments.
//!
//! `generations/<id>/snapshots/<index>.snapshot.lz4` holds a database, and
//! `generations/<id>/wal/<index>_<offset>.wal.lz4` a piece of the WAL number `index` that was
//! written after it. Both are LZ4 frames, inside an age envelope if the backup is encrypted.

mod frame;
mod identities;
mod names;
mod plan;
mod read;
mod replay;

use std::fs::File;
use std::io;
use std::path::Path;

use ltx::Timestamp;
use storage::Storage;

pub use identities::Identities;
pub use plan::Plan;

use super::{Error, Progress, Step};
use read::Reader;
use replay::Replay;

/// What was restored.
pub(super) struct Restored {
    pub(super) timestamp: Timestamp,
    pub(super) pages: u32,
    pub(super) bytes: u64,
}

/// Looks for a backup of that format with a state at or before the moment.
pub fn find(storage: &dyn Storage, moment: Option<Timestamp>) -> Result<Option<Plan>, Error> {
    Ok(plan::plan(&storage.keys(names::ROOT)?, moment))
}

/// When the oldest snapshot of a backup of that format was made, if there is one.
pub(super) fn begins(storage: &dyn Storage) -> Result<Option<Timestamp>, Error> {
    Ok(plan::begins(&storage.keys(names::ROOT)?))
}

/// Writes the planned state into `out`; `path` is where that is.
pub(super) fn apply(
    storage: &dyn Storage,
    plan: &Plan,
    identities: &Identities,
    (out, path): (&File, &Path),
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    progress.step(Step::Restoring);
    let reader = Reader { storage, identities };
    let failed = |error| Error::output(path, error);
    out.set_len(0).map_err(failed)?;
    let mut snapshot = reader.open(&plan.snapshot)?;
    copy(&mut snapshot, out, progress)
        .map_err(|error| reader.failed(&plan.snapshot, path, error))?;

    let mut replay = Replay::new(out, path);
    for wal in &plan.wals {
        replay.begin(wal)?;
        for segment in &wal.segments {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let mut piece = reader.open(&segment.key)?;
            replay.add(segment, &mut piece, storage)?;
        }
        replay.finish()?;
    }
    let (pages, bytes) = replay.size().map_err(failed)?;
    Ok(Restored { timestamp: plan.created, pages, bytes })
}

/// Copies from start to end, unless the restore is cancelled.
fn copy(from: &mut impl io::Read, mut to: &File, progress: &dyn Progress) -> io::Result<()> {
    let mut buf = vec![0; 1 << 16];
    loop {
        match from.read(&mut buf)? {
            0 => return Ok(()),
            _ if progress.cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            n => io::Write::write_all(&mut to, &buf[..n])?,
        }
    }
}
