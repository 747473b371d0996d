//! SQLite's own opinion of a restored database.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Error;

/// What SQLite checks before a restored database gets its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IntegrityCheck {
    /// Nothing.
    #[default]
    None,
    /// `PRAGMA quick_check`: all of the structure, without comparing indexes to tables.
    Quick,
    /// `PRAGMA integrity_check`: everything.
    Full,
}

/// Asks SQLite for the first problem, if there is one.
///
/// The file is opened as immutable: no lock, and no `-wal` or `-shm` appears beside it.
pub(super) fn check(path: &Path, check: IntegrityCheck) -> Result<(), Error> {
    let pragma = match check {
        IntegrityCheck::None => return Ok(()),
        IntegrityCheck::Quick => "PRAGMA quick_check(1)",
        IntegrityCheck::Full => "PRAGMA integrity_check(1)",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let report = Connection::open_with_flags(immutable_uri(path), flags)
        .and_then(|database| database.query_row(pragma, [], |row| row.get::<_, String>(0)));
    match report {
        Ok(report) if report == "ok" => Ok(()),
        Ok(report) => Err(Error::Corrupt { report }),
        Err(error) => Err(Error::Corrupt { report: error.to_string() }),
    }
}

fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;

    let mut uri = String::from("file:");
    if path.is_absolute() {
        uri.push_str("//");
    }
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02x}");
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_becomes_a_uri() {
        let uri = |path: &str| immutable_uri(Path::new(path));
        assert_eq!(uri("/a/shop.db"), "file:///a/shop.db?immutable=1");
        assert_eq!(uri("a?b#c d%é"), "file:a%3fb%23c%20d%25%c3%a9?immutable=1");
    }

    #[test]
    fn a_wal_database_is_checked_and_nothing_appears_beside_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("a ?#%.db");
        let database = Connection::open(&path).expect("open");
        database.pragma_update(None, "journal_mode", "wal").expect("wal");
        database.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").expect("write");
        drop(database);
        check(&path, IntegrityCheck::Quick).expect("sound");
        check(&path, IntegrityCheck::Full).expect("sound");
        assert_eq!(std::fs::read_dir(directory.path()).expect("directory").count(), 1);

        let mut bytes = std::fs::read(&path).expect("read");
        bytes[4096..4200].fill(0xff);
        std::fs::write(&path, bytes).expect("write");
        let error = check(&path, IntegrityCheck::Quick).expect_err("corrupt");
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}
