//! A directory whose databases are replicated, each by itself.

mod changes;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glob::{Pattern, PatternError};
use walkdir::{DirEntry, WalkDir};

pub use changes::{Changes, Stop};

/// First bytes of every SQLite database (file format, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Ends of names that lie beside databases, and of files that become databases.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", ".tmp"];
/// End of the name of a local state directory.
const STATE: &str = "-litestream";

/// Where databases are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Absolute.
    pub root: PathBuf,
    /// What the name of a database matches.
    pub pattern: Pattern,
    /// Whether they are looked for in the directories below, too.
    pub recursive: bool,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Files that are databases by their name and their first bytes.
    pub databases: Vec<PathBuf>,
    /// Whether there are empty files of such a name, which may become databases.
    pub may_grow: bool,
}

impl Folder {
    /// A folder with a pattern as Litestream knows it: `*`, `?` and `[a-z]`, `[^a-z]`.
    pub fn new(root: PathBuf, pattern: &str, recursive: bool) -> Result<Folder, PatternError> {
        let pattern = Pattern::new(&pattern.replace("[^", "[!"))?;
        Ok(Folder { root, pattern, recursive })
    }

    /// Looks for databases. `known` says of which it is known that they are some.
    pub fn scan(&self, known: impl Fn(&Path) -> bool) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in self.walk(|entry| !entry.file_type().is_dir()) {
            let path = entry?;
            if !self.may_hold(&path) {
                continue;
            }
            if known(&path) {
                found.databases.push(path);
                continue;
            }
            match first_bytes(&path) {
                Ok(Some(bytes)) if bytes == *MAGIC => found.databases.push(path),
                Ok(Some(_)) => {}
                Ok(None) => found.may_grow = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "not looked at"),
            }
        }
        Ok(found)
    }

    /// Whether a path is one at which this folder's databases are.
    pub fn may_hold(&self, path: &Path) -> bool {
        let within = match self.recursive {
            true => path.starts_with(&self.root),
            false => path.parent() == Some(&self.root),
        };
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        within && !is_beside(&name) && self.pattern.matches(&name)
    }

    /// The directories that are looked through.
    fn directories(&self) -> impl Iterator<Item = io::Result<PathBuf>> {
        self.walk(|entry| entry.file_type().is_dir())
    }

    /// What can be reached, without our own directories; only the root must be there.
    fn walk(
        &self,
        wanted: impl Fn(&DirEntry) -> bool,
    ) -> impl Iterator<Item = io::Result<PathBuf>> {
        let depth = if self.recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(&self.root).max_depth(depth).into_iter();
        let entries = walk.filter_entry(|entry| entry.depth() == 0 || !is_state(entry));
        entries.filter_map(move |entry| match entry {
            Ok(entry) => wanted(&entry).then(|| Ok(entry.into_path())),
            Err(error) if error.depth() == 0 => Some(Err(error.into())),
            Err(error) => {
                let gone = error.io_error().map(io::Error::kind) == Some(io::ErrorKind::NotFound);
                if !gone {
                    tracing::warn!(%error, "not looked at");
                }
                None
            }
        })
    }
}

/// Whether a name is one that lies beside a database.
fn is_beside(name: &str) -> bool {
    BESIDE.iter().any(|end| name.ends_with(end))
}

fn is_state(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() && entry.file_name().as_bytes().ends_with(STATE.as_bytes())
}

/// `None` if the file is empty.
fn first_bytes(path: &Path) -> io::Result<Option<[u8; 16]>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() == 0 && metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn databases_are_told_by_name_and_first_bytes() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("sub/.c.db-litestream/ltx")).expect("directories");
        for name in ["a.db", "sub/b.db", "a.db-wal", "a.db-journal.db", "no.txt"] {
            fs::write(at(name), MAGIC).expect("write");
        }
        fs::write(at("sub/.c.db-litestream/d.db"), MAGIC).expect("write");
        fs::write(at("text.db"), "not a database at all").expect("write");
        fs::write(at("short.db"), "SQLite").expect("write");
        let folder = |recursive| Folder {
            root: directory.path().to_owned(),
            pattern: Pattern::new("*.db").expect("pattern"),
            recursive,
        };
        let scan = |folder: &Folder| {
            let mut found = folder.scan(|_| false).expect("scan");
            found.databases.sort();
            found
        };
        let found = scan(&folder(false));
        assert_eq!(found.databases, [at("a.db"), at("a.db-journal.db")]);
        assert!(!found.may_grow);
        fs::write(at("new.db"), "").expect("write");
        let found = scan(&folder(true));
        assert_eq!(found.databases, [at("a.db"), at("a.db-journal.db"), at("sub/b.db")]);
        assert!(found.may_grow);
        assert!(folder(true).may_hold(&at("sub/x.db")));
        assert!(!folder(false).may_hold(&at("sub/x.db")));
    }
}
