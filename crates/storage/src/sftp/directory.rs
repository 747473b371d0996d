//! Directories on the server: what is in them, and that they are there.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use ltx::{Timestamp, TxidRange};
use russh_sftp::client::error::Error as Failure;
use russh_sftp::protocol::{File as Named, FileAttributes, FileType, StatusCode};

use super::connection::Connection;
use super::place::Place;
use crate::layout::TEMP_SUFFIX;
use crate::remote::Entry;
use crate::{Error, Result};

/// Pages of a directory that are asked for at once, when one was not all.
const PAGES: usize = 8;
/// A temporary file to which nobody has written for so long belongs to nobody.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// All files below a directory of the replica, at any depth; none if it is not there.
pub(super) async fn walk(
    connection: &Connection,
    place: &Place,
    object: &str,
    directory: &str,
) -> Result<Vec<Entry>> {
    let (mut files, mut left) = (Vec::new(), vec![directory.trim_end_matches('/').to_owned()]);
    while let Some(directory) = left.pop() {
        for named in read(connection, object, &place.path(&directory)).await? {
            let name = match directory.as_str() {
                "" => named.filename.clone(),
                directory => format!("{directory}/{}", named.filename),
            };
            match kind(&named) {
                FileType::Dir => left.push(name),
                FileType::File if !is_temporary(&named.filename) => {
                    files.push(entry(name, &named.attrs));
                }
                FileType::Symlink => {
                    let asked = connection.sftp().stat(place.path(&name));
                    match connection.ask(object, asked).await {
                        // A directory may lead back to where we are.
                        Ok(target) if !target.attrs.file_type().is_dir() => {
                            files.push(entry(name, &target.attrs));
                        }
                        Err(error) if !error.is_not_found() => return Err(error),
                        _ => {}
                    }
                }
                FileType::File | FileType::Other => {}
            }
        }
    }
    Ok(files)
}

/// What a directory holds; nothing if it is not there.
pub(super) async fn read(connection: &Connection, object: &str, path: &str) -> Result<Vec<Named>> {
    let handle = match connection.ask(object, connection.sftp().opendir(path)).await {
        Ok(opened) => opened.handle,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let read = read_pages(connection, object, &handle).await;
    // All is read; should it stay open, it ends with the connection.
    let _ = connection.sftp().close(handle).await;
    let mut names = read?;
    names.retain(|it| !matches!(it.filename.as_str(), "." | ".."));
    // A directory that changes meanwhile may be read from its beginning again (seen on ext4).
    names.sort_by(|a, b| a.filename.cmp(&b.filename));
    names.dedup_by(|a, b| a.filename == b.filename);
    Ok(names)
}

async fn read_pages(connection: &Connection, object: &str, handle: &str) -> Result<Vec<Named>> {
    let (mut names, mut at_once) = (Vec::new(), 1);
    loop {
        let ask = |_| async {
            let page = connection.sftp().readdir(handle);
            let page = async {
                match page.await {
                    Err(Failure::Status(it)) if it.status_code == StatusCode::Eof => Ok(None),
                    page => page.map(|page| Some(page.files)),
                }
            };
            connection.ask(object, page).await
        };
        let mut pages = stream::iter(0..at_once).map(ask).buffered(at_once);
        while let Some(page) = pages.next().await {
            match page? {
                Some(page) => names.extend(page),
                // Some servers begin anew behind the end.
                None => return Ok(names),
            }
        }
        at_once = PAGES;
    }
}

/// Makes a directory and those above it, as far as they are not there.
pub(super) async fn make(connection: &Connection, object: &str, path: &str) -> Result<()> {
    let (mut missing, mut path) = (Vec::new(), path);
    loop {
        match make_one(connection, object, path).await {
            Err(error) if error.is_not_found() => missing.push(path),
            Err(error) => return Err(error),
            Ok(()) => break,
        }
        match path.rsplit_once('/') {
            Some((above, _)) if !above.is_empty() => path = above,
            _ => return Err(Error::NotFound { object: object.to_owned() }),
        }
    }
    for path in missing.into_iter().rev() {
        make_one(connection, object, path).await?;
    }
    Ok(())
}

/// A directory that is there already is fine.
async fn make_one(connection: &Connection, object: &str, path: &str) -> Result<()> {
    let asked = connection.sftp().mkdir(path, FileAttributes::empty());
    match connection.ask(object, asked).await {
        Err(error) if !error.is_not_found() && !error.is_passing() => {
            let stat = connection.ask(object, connection.sftp().stat(path)).await;
            match stat.is_ok_and(|it| it.attrs.file_type().is_dir()) {
                true => Ok(()),
                false => Err(error),
            }
        }
        made => made.map(|_| ()),
    }
}

/// Removes temporary files that no writer will finish. What cannot be removed stays.
pub(super) async fn sweep(connection: &Connection, path: &str, names: &[Named]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_abandoned = |named: &&Named| {
        let written = named.attrs.mtime.map(|it| Duration::from_secs(it.into()));
        is_temporary(&named.filename) && written.is_some_and(|it| it + ABANDONED < now)
    };
    for named in names.iter().filter(is_abandoned) {
        let _ = connection.sftp().remove(format!("{path}/{}", named.filename)).await;
    }
}

/// Whether an upload gave a file this name for a while: `<an object's name>.<anything>.tmp`.
fn is_temporary(name: &str) -> bool {
    let Some(name) = name.strip_suffix(TEMP_SUFFIX) else { return false };
    let real = name.find(".ltx").and_then(|at| name.get(..at + ".ltx".len()));
    real.is_some_and(|real| TxidRange::parse_file_name(real).is_some())
}

fn kind(named: &Named) -> FileType {
    match named.attrs.permissions {
        Some(_) => named.attrs.file_type(),
        None if named.longname.starts_with('d') => FileType::Dir,
        None => FileType::File,
    }
}

fn entry(name: String, attributes: &FileAttributes) -> Entry {
    let seconds = i64::from(attributes.mtime.unwrap_or(0));
    Entry {
        name,
        size: attributes.size.unwrap_or(0),
        created: Timestamp::from_millis(seconds * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_ours_and_litestreams() {
        let name = "0000000000000001-0000000000000002.ltx";
        assert!(is_temporary(&format!("{name}.6f2a.tmp")));
        assert!(is_temporary(&format!("{name}.4711.1795382352998000000.tmp")));
        assert!(is_temporary(&format!("{name}.tmp")));
        assert!(!is_temporary(name));
        assert!(!is_temporary("notes.tmp"));
        assert!(!is_temporary("a.ltx.tmp"));
    }
}
