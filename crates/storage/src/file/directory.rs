//! Directories of a file replica: listing, creating, and what does not belong in them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use ltx::{Timestamp, TxidRange};

use crate::{Error, Key, Ownership, Result, layout};

/// One name in a directory.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
}

impl Entry {
    /// What lies under the name; `None` if it is no file, or was deleted since the listing.
    pub(super) fn metadata(&self) -> Result<Option<Metadata>> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(name_error(&self.path, error)),
        }
    }
}

/// The names in a directory; none if it does not exist.
pub(super) fn entries(directory: &Path) -> Result<Vec<Entry>> {
    let found = match fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(name_error(directory, error)),
    };
    found
        .map(|entry| {
            let entry = entry.map_err(|error| name_error(directory, error))?;
            Ok(Entry { name: entry.file_name(), path: entry.path() })
        })
        .collect()
}

/// A path without symbolic links and detours, whether or not all of it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
        if fs::symlink_metadata(&real).is_ok_and(|it| it.is_symlink())
            && let Ok(target) = real.canonicalize()
        {
            real = target;
        }
    }
    real
}

/// All files below a directory, itself below `root`.
pub(super) fn keys(root: &Path, directory: &str) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        for Entry { name, path } in entries(&root.join(&directory))? {
            let Some(name) = name.to_str() else { continue };
            let name =
                if directory.is_empty() { name.into() } else { format!("{directory}/{name}") };
            let metadata = match fs::metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(|error| name_error(&path, error))?,
            };
            if metadata.is_dir() {
                ahead.push(name);
                continue;
            }
            let modified = metadata.modified().map_err(|error| name_error(&path, error))?;
            let modified = Timestamp::from_system_time(modified);
            keys.push(Key { name, size: metadata.len(), modified });
        }
    }
    keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(keys)
}

/// Creates a directory and its missing parents, each recorded on disk in the one above it.
pub(super) fn create_durably(directory: &Path, owner: Option<Ownership>) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    create_durably(parent, owner)?;
    let created = create(directory, owner);
    created.and_then(|()| sync(parent)).map_err(|error| name_error(directory, error))
}

fn create(directory: &Path, owner: Option<Ownership>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => owner.map_or(Ok(()), |owner| owner.apply(&File::open(directory)?)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The names at and below the replica's root that are not part of a replica.
///
/// Hidden files, `lost+found` and our own temporary files are nobody's backup.
pub(super) fn unknown(root: &Path) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    for top in entries(root)? {
        if top.name != layout::ROOT {
            unknown.push(top.path);
            continue;
        }
        for level in entries(&top.path)? {
            if level.name.to_str().and_then(layout::parse_level).is_none() {
                unknown.push(level.path);
                continue;
            }
            for file in entries(&level.path)? {
                if !is_object(&file) {
                    unknown.push(file.path);
                }
            }
        }
    }
    let mut names: Vec<String> = unknown
        .iter()
        .filter_map(|path| Some(path.strip_prefix(root).ok()?.to_string_lossy().into_owned()))
        .filter(|name| !is_nothing(name))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn is_object(entry: &Entry) -> bool {
    entry.name.to_str().and_then(TxidRange::parse_file_name).is_some() && !entry.path.is_dir()
}

fn is_nothing(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    layout::is_beside(name)
        || last.starts_with('.')
        || last == "lost+found"
        || last.ends_with(layout::TEMP_SUFFIX)
}

fn name_error(path: &Path, error: io::Error) -> Error {
    Error::from_io(path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_has_one_real_path_before_it_exists_and_after() {
        let folder = tempfile::tempdir().expect("a directory");
        let folder = folder.path().canonicalize().expect("its path");
        fs::create_dir_all(folder.join("disk/a")).expect("directories");
        std::os::unix::fs::symlink(folder.join("disk"), folder.join("link")).expect("a link");
        std::os::unix::fs::symlink("disk/a", folder.join("inner")).expect("a link");
        let expected = folder.join("disk/new/r");
        let spelled = [
            "disk/new/r",
            "disk/new/r/",
            "disk//new/./r",
            "link/new/r",
            "disk/a/../new/r",
            "link/a/../new/x/../r",
            "inner/../new/r",
        ];
        for _ in 0..2 {
            for path in spelled {
                assert_eq!(real(&folder.join(path)), expected, "{path}");
            }
            assert_ne!(real(&folder.join("new/r")), expected);
            fs::create_dir_all(&expected).expect("the directory");
        }
        let here = std::env::current_dir().and_then(|it| it.canonicalize()).expect("here");
        assert_eq!(real(Path::new("r")), here.join("r"));
    }
}
