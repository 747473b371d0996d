//! Small files beside the levels that are replaced under a condition.
//!
//! What compares and what replaces are two steps here, so that a lock is held over both: on a
//! network share, it has to hold between machines, as those of NFS and SMB do by default.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::directory;
use crate::{Condition, Error, Ownership, Result, TempFile, Version, layout};

/// Stores a file if the condition holds.
pub(super) fn put(
    path: &Path,
    body: &[u8],
    condition: &Condition,
    owner: Option<Ownership>,
) -> Result<Version> {
    let failed = |error| Error::from_io(path.display().to_string(), error);
    let _guard = guard(path).map_err(failed)?;
    let known = match get(path) {
        Ok((_, version)) => Some(version),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let holds = match condition {
        Condition::Absent => known.is_none(),
        Condition::Unchanged(version) => known.as_ref() == Some(version),
    };
    if !holds {
        return Err(Error::Conflict { object: path.display().to_string() });
    }
    replace(path, body, owner).map_err(failed)?;
    Ok(version(body))
}

/// Reads it.
pub(super) fn get(path: &Path) -> Result<(Vec<u8>, Version)> {
    let body = fs::read(path);
    let body = body.map_err(|error| Error::from_io(path.display().to_string(), error))?;
    let version = version(&body);
    Ok((body, version))
}

/// Removes it.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = || {
        let _guard = guard(path)?;
        fs::remove_file(path)
    };
    match removed() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::from_io(path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

fn version(body: &[u8]) -> Version {
    let digest = Sha256::digest(body);
    Version(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn replace(path: &Path, body: &[u8], owner: Option<Ownership>) -> io::Result<()> {
    let mut temp = TempFile::create(beside(path, layout::TEMP_SUFFIX), 0o600)?;
    owner.map_or(Ok(()), |owner| owner.apply(temp.file()))?;
    temp.file().write_all(body)?;
    temp.file().sync_all()?;
    temp.rename(path)?;
    directory::sync(path.parent().unwrap_or(Path::new(".")))
}

/// Held, nobody else replaces a file of this directory. Its own name stays: a lock on a file that
/// is removed keeps nobody out.
fn guard(path: &Path) -> io::Result<File> {
    let guard = path.with_file_name(".brooklet.guard");
    let file = File::options().create(true).truncate(false).write(true).open(guard)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// A hidden name, which nobody takes for a part of a backup.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}
