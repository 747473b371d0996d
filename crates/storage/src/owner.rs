//! Whose the files are that we create: the database owner's, as far as we may.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Owner and mode of a new file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Ownership {
    /// The ownership of something that exists.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Ownership {
        Ownership { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o777 }
    }

    /// Gives this ownership to an open file or directory.
    ///
    /// Only root may give files away: without that right, the owner stays as it is.
    pub fn apply(&self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (self.uid, self.gid) {
            match fchown(file, Some(self.uid), Some(self.gid)) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        if now.mode() & 0o777 != self.mode {
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        }
        Ok(())
    }
}

/// The database whose owner and mode new files copy.
///
/// It is looked at for each new file (by `stat` alone, it is never opened), since it may appear,
/// or change hands, after we started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model(Option<PathBuf>);

impl Model {
    pub(crate) fn database(path: &Path) -> Model {
        Model(Some(path.to_owned()))
    }

    /// For a new file: as the database file.
    pub(crate) fn file(&self) -> Option<Ownership> {
        self.0.as_deref().and_then(|path| fs::metadata(path).ok()).map(|it| Ownership::of(&it))
    }

    /// For a new directory: as the directory that holds the database.
    pub(crate) fn directory(&self) -> Option<Ownership> {
        let parent = self.0.as_deref()?.parent()?;
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::metadata(parent).ok().map(|it| Ownership::of(&it))
    }
}
