//! Files that get their real name only once they are whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A file being written under a temporary name; dropped, it is removed.
///
/// The caller chooses a fixed name, so that a crash leaves at most one file, which the next
/// attempt replaces. A lock keeps two processes from writing under one name.
#[derive(Debug)]
pub struct TempFile {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl TempFile {
    /// Creates the file, empty, with these permissions less the umask.
    ///
    /// Fails with [`io::ErrorKind::WouldBlock`] while another process is writing it.
    pub fn create(path: impl Into<PathBuf>, mode: u32) -> io::Result<TempFile> {
        let path = path.into();
        loop {
            match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path)
            {
                Ok(file) => {
                    if lock(&file)? && is_named(&file, &path)? {
                        return Ok(TempFile { file, path, renamed: false });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    remove_stale(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The temporary name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its real name, in place of whatever has it.
    ///
    /// The name is durable once the directory is synced; the content must be synced before.
    pub fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }

    /// Gives the file its real name, or fails with [`io::ErrorKind::AlreadyExists`].
    pub fn rename_new(&mut self, path: &Path) -> io::Result<()> {
        match rename_exclusively(&self.path, path) {
            // The file system cannot tell; what is left is to look first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if path.symlink_metadata().is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.rename(path),
            result => {
                result?;
                self.renamed = true;
                Ok(())
            }
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.renamed {
            // One that we fail to remove is replaced by the next attempt.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(target_os = "linux")]
fn rename_exclusively(from: &Path, to: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

#[cfg(not(target_os = "linux"))]
fn rename_exclusively(_from: &Path, _to: &Path) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Removes what a crashed process left, unless its writer lives.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !lock(&file)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // Between our open and our lock its writer may have given it its real name.
    if is_named(&file, path)? { fs::remove_file(path) } else { Ok(()) }
}

/// Takes the writer's lock; false if another process has it.
fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        // Some network shares have no locks. There, one writer at a time is up to the user.
        Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
