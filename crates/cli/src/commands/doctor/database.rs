//! Examines a database. It is only looked at: nothing is locked and nothing written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use engine::local;
use rustix::fs::{Access, access};

use super::disk;
use super::finding::Finding;
use crate::config::Database;
use crate::exit::Exit;
use crate::output;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// A WAL larger than this, and than its database, was not checkpointed for long.
const LONG_WAL: u64 = 64 << 20;

/// Adds what is found, and returns the database's size.
pub fn examine(database: &Database, findings: &mut Vec<Finding>) -> u64 {
    let path = &database.path;
    let subject = path.display().to_string();
    let size = fs::metadata(path).map_or(0, |file| file.len());
    match header(path) {
        Ok(header) => {
            findings.extend(format(&subject, &header, size));
            findings.push(permissions(&subject, path));
            findings.extend(wal(&subject, path, size));
            findings.extend(disk::network(path).map(|kind| {
                Finding::warn(&subject, "file system", format!("it is on a network: {kind}")).hint(
                    "SQLite's WAL needs memory shared by all who use it: keep it on a local disk",
                )
            }));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let finding = Finding::warn(&subject, "file", "it is not there yet");
            findings.push(finding.hint("replicate waits for it; brooklet restore brings it back"));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            findings.push(
                Finding::fail(&subject, "file", Exit::Denied, "it may not be read")
                    .hint("run as the user who owns it"),
            );
        }
        Err(error) => {
            findings.push(Finding::fail(&subject, "file", Exit::Failed, error));
        }
    }
    let state = local::directory(path, database.meta.as_deref());
    findings.push(local_state(&subject, &state));
    findings.push(lock(&subject, database));
    findings.push(disk::space(&subject, &state, size));
    size
}

/// The first bytes of the file: 100, or none of an empty one.
fn header(path: &Path) -> io::Result<Vec<u8>> {
    if path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    Ok(header)
}

fn format(subject: &str, header: &[u8], size: u64) -> Vec<Finding> {
    if header.is_empty() {
        return vec![Finding::ok(
            subject,
            "file",
            "it is empty: replicate waits for its first table",
        )];
    }
    if header.len() < 100 || !header.starts_with(MAGIC) {
        return vec![
            Finding::fail(subject, "file", Exit::Failed, "it is not an SQLite database")
                .hint("an encrypted one cannot be replicated"),
        ];
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size => u32::from(size),
    };
    let file = format!("{} in pages of {page_size} bytes", output::bytes(size));
    let mode = match header[18..20] {
        [2, 2] => Finding::ok(subject, "journal mode", "WAL"),
        _ => Finding::warn(subject, "journal mode", "not WAL: replicate switches it")
            .hint("have the application set it: PRAGMA journal_mode = wal"),
    };
    vec![Finding::ok(subject, "file", file), mode]
}

fn permissions(subject: &str, path: &Path) -> Finding {
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let refused = [path, parent].into_iter().find(|it| access(*it, wanted).is_err());
    match refused {
        None => Finding::ok(subject, "permissions", "it may be read and checkpointed"),
        Some(place) => {
            let detail = format!("{} may not be read and written", place.display());
            Finding::fail(subject, "permissions", Exit::Denied, detail)
                .hint("run as the user who owns the database")
        }
    }
}

fn wal(subject: &str, path: &Path, size: u64) -> Vec<Finding> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        fs::metadata(PathBuf::from(name)).map_or(0, |file| file.len())
    };
    let mut findings = Vec::new();
    let wal = beside("-wal");
    let detail = format!("the WAL has {}", output::bytes(wal));
    findings.push(match wal > LONG_WAL.max(size) {
        false => Finding::ok(subject, "WAL", detail),
        true => Finding::warn(subject, "WAL", detail)
            .hint("no checkpoint gets through: does something read for very long?"),
    });
    if beside("-journal") > 0 {
        findings.push(
            Finding::warn(subject, "journal", "a transaction was interrupted, or is running")
                .hint("it is rolled back when the application opens the database"),
        );
    }
    findings
}

fn local_state(subject: &str, state: &Path) -> Finding {
    let there = disk::existing(state);
    let name = state.display();
    match access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        Err(_) => {
            let detail = format!("{} may not be written, for {name}", there.display());
            Finding::fail(subject, "local state", Exit::Denied, detail)
                .hint("give write permission, or set meta-path")
        }
        Ok(()) if there != state => {
            Finding::ok(subject, "local state", format!("{name} will be made"))
        }
        Ok(()) => Finding::ok(subject, "local state", format!("{name} may be written")),
    }
}

fn lock(subject: &str, database: &Database) -> Finding {
    match local::is_in_use(&database.path, database.meta.as_deref()) {
        Ok(false) => Finding::ok(subject, "lock", "no brooklet replicates it now"),
        Ok(true) => Finding::ok(subject, "lock", "a brooklet replicates it now"),
        Err(error) => Finding::warn(subject, "lock", error),
    }
}
