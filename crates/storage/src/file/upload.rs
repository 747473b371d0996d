//! A file being written under a temporary name.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::directory;
use crate::error::is_disk_failure;
use crate::{Error, Object, Ownership, Result, TempFile, Upload, layout};

/// Writes `<path>.tmp`; `commit` makes it durable and renames it to `<path>`.
pub(super) struct FileUpload {
    temp: TempFile,
    path: PathBuf,
    object: Object,
    /// Whether another object of this name stands in the way.
    once: bool,
}

impl FileUpload {
    pub(super) fn start(
        path: PathBuf,
        object: Object,
        owner: Option<Ownership>,
        once: bool,
    ) -> Result<FileUpload> {
        let mut temp = path.clone().into_os_string();
        temp.push(layout::TEMP_SUFFIX);
        let temp = TempFile::create(temp, 0o600).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy { object: path.display().to_string() },
            _ => Error::from_io(path.display().to_string(), error),
        })?;
        let upload = FileUpload { temp, path, object, once };
        if let Some(owner) = owner {
            owner.apply(upload.temp.file()).map_err(|error| upload.error(error))?;
        }
        Ok(upload)
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        self.temp.file()
    }

    /// The order matters: time and content are on disk before the name is, so that no crash
    /// shows a short file, or one with a wrong time, under its final name.
    fn publish(&mut self) -> io::Result<u64> {
        let file = self.temp.file();
        file.set_modified(self.object.created.to_system_time())?;
        file.sync_all()?;
        let size = file.metadata()?.len();
        self.name()?;
        directory::sync(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(size)
    }

    /// Transactions are named once and for all: only a copy of the same bytes, from an upload that
    /// was interrupted before it was noted, may be there already.
    fn name(&mut self) -> io::Result<()> {
        if !self.once {
            return self.temp.rename(&self.path);
        }
        match self.temp.rename_new(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match File::open(&self.path).and_then(|there| ending(&there)) {
                    Ok(there) if there == ending(self.temp.file())? => {}
                    Err(unread) if !is_disk_failure(&unread) => return Err(unread),
                    _ => return Err(error),
                }
                self.temp.rename(&self.path)
            }
            result => result,
        }
    }

    fn error(&self, error: io::Error) -> Error {
        Error::from_io(self.path.display().to_string(), error)
    }
}

impl Write for FileUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temp.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.file().flush()
    }
}

impl Upload for FileUpload {
    fn commit(mut self: Box<Self>) -> Result<Object> {
        let size = self.publish().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::Conflict { object: self.path.display().to_string() }
            }
            _ => self.error(error),
        })?;
        Ok(Object { size, ..self.object })
    }
}

/// Size and checksum of an LTX file: equal for equal content.
fn ending(file: &File) -> io::Result<(u64, [u8; 8])> {
    let (size, mut end) = (file.metadata()?.len(), [0; 8]);
    match file.read_exact_at(&mut end, size.saturating_sub(8)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        result => result?,
    }
    Ok((size, end))
}
