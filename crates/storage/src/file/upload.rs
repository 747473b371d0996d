//! A file being written under a temporary name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::directory;
use crate::{Error, Object, Ownership, Result, Upload, layout};

/// Writes `<path>.tmp`; `commit` makes it durable and renames it to `<path>`.
///
/// The temporary name is fixed, so that a crash leaves at most one file, which the next attempt
/// reuses; a lock on it keeps two processes from mixing their bytes.
pub(super) struct FileUpload {
    file: File,
    temp: PathBuf,
    path: PathBuf,
    object: Object,
    committed: bool,
}

impl FileUpload {
    pub(super) fn start(
        path: PathBuf,
        object: Object,
        owner: Option<Ownership>,
    ) -> Result<FileUpload> {
        let mut temp = path.clone().into_os_string();
        temp.push(layout::TEMP_SUFFIX);
        let temp = PathBuf::from(temp);
        let file = lock_temp(&temp).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy { object: path.display().to_string() },
            _ => Error::from_io(temp.display().to_string(), error),
        })?;
        let upload = FileUpload { file, temp, path, object, committed: false };
        upload.prepare(owner).map_err(|error| upload.error(error))?;
        Ok(upload)
    }

    fn prepare(&self, owner: Option<Ownership>) -> io::Result<()> {
        self.file.set_len(0)?;
        owner.map_or(Ok(()), |owner| owner.apply(&self.file))
    }

    /// The order matters: time and content are on disk before the name is, so that no crash
    /// shows a short file, or one with a wrong time, under its final name.
    fn publish(&self) -> io::Result<u64> {
        self.file.set_modified(self.object.created.to_system_time())?;
        self.file.sync_all()?;
        let size = self.file.metadata()?.len();
        fs::rename(&self.temp, &self.path)?;
        Ok(size)
    }

    fn error(&self, error: io::Error) -> Error {
        Error::from_io(self.path.display().to_string(), error)
    }
}

impl Write for FileUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for FileUpload {
    fn commit(mut self: Box<Self>) -> Result<Object> {
        let size = self.publish().map_err(|error| self.error(error))?;
        self.committed = true;
        let parent = self.path.parent().unwrap_or(Path::new("."));
        directory::sync(parent).map_err(|error| self.error(error))?;
        Ok(Object { size, ..self.object })
    }
}

impl Drop for FileUpload {
    fn drop(&mut self) {
        if !self.committed {
            // A file that we fail to remove is reused by the next attempt.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Opens the temporary file and locks it against other writers, who may rename or remove it
/// between our `open` and our lock: then the name no longer means our file, and we start over.
fn lock_temp(temp: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(temp)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Some network shares have no locks. There, one writer per replica is up to the user.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        if is_named(&file, temp)? {
            return Ok(file);
        }
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
