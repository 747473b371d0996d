//! Where a restored database goes, and how it gets there without harm.
//!
//! The pages go to a temporary file in the same directory. Only when that is whole, synced and
//! checked does it get its name:
//!
//! - Where nothing is, it is renamed so that a file which appeared meanwhile is not replaced.
//! - An old database (with `force`), or an empty file, is replaced while we hold SQLite's
//!   exclusive lock on it: a process that uses it makes us refuse.
//! - An old `-wal`, `-shm` or `-journal` beside the new database would be taken for its own and
//!   ruin it. So they are moved aside, durably, *before* the rename, and removed after it. Should
//!   the rename fail, they are moved back. Should the power fail in between, the old database is
//!   still there and its `-wal` beside it as `-wal.replaced`: nothing is lost, and no moment
//!   exists with an old `-wal` beside the new database.

mod leftovers;
mod lock;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use storage::{Ownership, TempFile};

use super::Error;
use leftovers::Leftovers;
use lock::DatabaseLock;

/// A place where a database may be restored to.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    force: bool,
}

impl Output {
    /// Looks whether a restore may go there, before any work is done.
    pub(super) fn prepare(path: &Path, force: bool) -> Result<Output, Error> {
        let output = Output { path: resolve(path)?, force };
        output.claim()?;
        Ok(output)
    }

    /// A place beside a database that is there, for a file that will not take its place.
    pub(super) fn beside(path: &Path) -> Output {
        Output { path: path.to_owned(), force: false }
    }

    /// Creates the directory that it is in.
    pub(super) fn create_directory(&self) -> Result<(), Error> {
        let directory = self.directory();
        create_directories(directory).map_err(|error| Error::output(directory, error))
    }

    /// Creates the temporary file, owned and readable as the database will be.
    pub(super) fn create_temp(&self) -> Result<TempFile, Error> {
        self.create_directory()?;
        let directory = self.directory();
        let temp = with_suffix(&self.path, ".restore.tmp");
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Concurrent { path: self.path.clone() },
            _ => Error::output(&temp, error),
        };
        let parent = fs::metadata(directory).map_err(failed)?;
        let file = TempFile::create(&temp, parent.mode() & 0o666).map_err(failed)?;
        let owner = match fs::metadata(&self.path) {
            Ok(existing) => Ownership::of(&existing),
            // As the directory, with the mode that the umask has left of it.
            Err(_) => {
                let mode = Ownership::of(&file.file().metadata().map_err(failed)?).mode;
                Ownership { mode, ..Ownership::of(&parent) }
            }
        };
        owner.apply(file.file()).map_err(failed)?;
        Ok(file)
    }

    /// Gives the whole and checked file its name.
    pub(super) fn publish(&self, mut temp: TempFile) -> Result<(), Error> {
        let claim = self.claim()?;
        let failed = |error| Error::output(&self.path, error);
        let aside = Leftovers::of(&self.path).move_aside()?;
        let renamed = if claim.has_database() {
            temp.rename(&self.path)
        } else {
            temp.rename_new(&self.path)
        };
        if let Err(error) = renamed {
            aside.move_back()?;
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists { path: self.path.clone() },
                _ => failed(error),
            });
        }
        sync_directory(self.directory()).map_err(failed)?;
        aside.remove()
    }

    /// Takes what is there away from everybody else; refuses if it must not be replaced.
    ///
    /// A database in use is refused as such, before anything is called a leftover: nobody shall
    /// be told to remove the `-wal` of a living database.
    fn claim(&self) -> Result<DatabaseLock, Error> {
        match fs::metadata(&self.path) {
            Ok(existing) if !existing.is_file() => {
                return Err(Error::NotAFile { path: self.path.clone() });
            }
            Ok(existing) if existing.len() > 0 && !self.force => {
                return Err(Error::Exists { path: self.path.clone() });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::output(&self.path, error));
            }
            _ => {}
        }
        let lock = DatabaseLock::take(&self.path)?;
        match Leftovers::of(&self.path).first() {
            Some(path) if !self.force => Err(Error::Leftover { path }),
            _ => Ok(lock),
        }
    }

    fn directory(&self) -> &Path {
        directory_of(&self.path)
    }
}

/// Follows a symbolic link, so that the file it means is replaced and not the link.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            fs::canonicalize(path).map_err(|error| Error::output(path, error))
        }
        _ if path.file_name().is_none() => Err(Error::NotAFile { path: path.to_owned() }),
        _ => Ok(path.to_owned()),
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates missing directories, each owned as the one above it.
fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory_of(directory);
    create_directories(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result?,
    }
    let owner = fs::metadata(above)?;
    match chown(directory, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
        _ => {}
    }
    sync_directory(above)
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
