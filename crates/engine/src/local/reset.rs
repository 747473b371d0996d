//! Forgets the local state of a database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use storage::layout;

use super::{Local, OWN, directory};
use crate::Error;

/// Removes what is known locally of the history of the database at `path`, so that the next start
/// begins with an image of all of it. The replicas stay as they are. Returns the files; with `dry`
/// none of them is removed.
///
/// Fails with [`Error::InUse`] while one of us replicates the database.
pub fn reset(path: &Path, meta: Option<&Path>, dry: bool) -> Result<Vec<PathBuf>, Error> {
    let local = Local::at(path, meta, u64::MAX);
    let own = local.root.join(OWN);
    // Whoever replicates has made it, and its lock.
    if own.is_dir() {
        local.lock()?;
    }
    let trees = [local.root.join(layout::ROOT), own.join(layout::ROOT)];
    let mut files = Vec::new();
    for tree in &trees {
        collect(tree, &mut files).map_err(|error| Error::local(tree, error))?;
    }
    files.extend(Some(local.sums_path()).filter(|sums| sums.exists()));
    files.sort();
    if !dry {
        // The oldest history goes last: what an interruption leaves must not look like a whole.
        for file in files.iter().rev() {
            remove(file, |path| fs::remove_file(path))?;
        }
        for tree in &trees {
            remove(tree, |path| fs::remove_dir_all(path))?;
        }
    }
    Ok(files)
}

/// Whether one of us replicates the database at `path` now.
pub fn is_in_use(path: &Path, meta: Option<&Path>) -> Result<bool, Error> {
    let local = Local::at(path, meta, u64::MAX);
    if !directory(path, meta).join(OWN).join("lock").exists() {
        return Ok(false);
    }
    match local.lock() {
        Ok(()) => Ok(false),
        Err(Error::InUse(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

fn remove(path: &Path, how: impl Fn(&Path) -> io::Result<()>) -> Result<(), Error> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::local(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_of_the_history_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("app.db");
        let state = directory(&database, None);
        let place = |name: &str| state.join(name);
        for name in ["ltx/0/a.ltx", "ltx/9/b.ltx", "brooklet/ltx/1/c.ltx", "brooklet/sums", "kept"]
        {
            fs::create_dir_all(place(name).parent().expect("a parent")).expect("create");
            fs::write(place(name), name).expect("write");
        }
        let names = ["brooklet/ltx/1/c.ltx", "brooklet/sums", "ltx/0/a.ltx", "ltx/9/b.ltx"];
        let expected = names.map(place).to_vec();
        assert_eq!(reset(&database, None, true).expect("look"), expected);
        assert!(expected.iter().all(|file| file.exists()));
        assert_eq!(reset(&database, None, false).expect("reset"), expected);
        assert!(!place("ltx").exists() && !place("brooklet/ltx").exists());
        assert!(place("kept").exists());
        assert_eq!(reset(&database, None, false).expect("again"), Vec::<PathBuf>::new());
    }

    #[test]
    fn nothing_goes_while_it_is_replicated() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("app.db");
        assert!(!is_in_use(&database, None).expect("look"));
        let other = Local::at(&database, None, u64::MAX);
        other.prepare().expect("prepare");
        assert!(is_in_use(&database, None).expect("look"));
        assert!(matches!(reset(&database, None, false), Err(Error::InUse(_))));
        drop(other);
        assert!(!is_in_use(&database, None).expect("look"));
    }
}
