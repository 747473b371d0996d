//! What a database that was there before may have left beside the output.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{directory_of, sync_directory, with_suffix};
use crate::restore::Error;

/// The files that SQLite keeps beside a database and would apply to it.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Added to the name of a leftover while the database is replaced.
const ASIDE: &str = ".replaced";

/// The files beside a database.
pub(super) struct Leftovers {
    database: PathBuf,
    names: Vec<PathBuf>,
}

impl Leftovers {
    /// Those that exist.
    pub(super) fn of(database: &Path) -> Leftovers {
        let names = SUFFIXES.iter().map(|suffix| with_suffix(database, suffix));
        let names = names.filter(|path| path.symlink_metadata().is_ok()).collect();
        Leftovers { database: database.to_owned(), names }
    }

    pub(super) fn first(self) -> Option<PathBuf> {
        self.names.into_iter().next()
    }

    /// Takes them out of SQLite's sight, durably.
    pub(super) fn move_aside(self) -> Result<Aside, Error> {
        let mut aside = Aside { database: self.database, moved: Vec::new() };
        for name in self.names {
            if let Err(error) = fs::rename(&name, with_suffix(&name, ASIDE)) {
                aside.move_back()?;
                return Err(Error::output(&name, error));
            }
            aside.moved.push(name);
        }
        if !aside.moved.is_empty() {
            aside.sync()?;
        }
        Ok(aside)
    }
}

/// Leftovers out of SQLite's sight.
pub(super) struct Aside {
    database: PathBuf,
    moved: Vec<PathBuf>,
}

impl Aside {
    /// Puts them back, since the old database stays.
    pub(super) fn move_back(&self) -> Result<(), Error> {
        for name in &self.moved {
            fs::rename(with_suffix(name, ASIDE), name)
                .map_err(|error| Error::output(name, error))?;
        }
        self.sync()
    }

    /// Removes them, and those of an earlier attempt that a crash ended.
    pub(super) fn remove(self) -> Result<(), Error> {
        for suffix in SUFFIXES {
            let path = with_suffix(&with_suffix(&self.database, suffix), ASIDE);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::output(&path, error));
                }
                _ => {}
            }
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), Error> {
        let directory = directory_of(&self.database);
        sync_directory(directory).map_err(|error| Error::output(directory, error))
    }
}
