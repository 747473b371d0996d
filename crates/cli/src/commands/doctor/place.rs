//! Examines a replica: everything that replication will do there, done once with a small object.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use engine::restore::{self, ErrorKind, Moments, Target};
use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, Storage, Url};

use super::disk;
use super::finding::Finding;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Below the replica, where neither we nor Litestream look for files.
const PROBE: &str = ".brooklet-doctor";
const CONTENT: &[u8] = b"brooklet doctor";
/// Files from further in the future say that a clock is wrong.
const SKEW: Duration = Duration::from_secs(60);

/// Adds what is found. `database` is the one that goes there, with its size.
pub fn examine(replica: &Replica, database: Option<(&Path, u64)>, findings: &mut Vec<Finding>) {
    let subject = replica.to_string();
    let storage = match replica.open() {
        Ok(storage) => storage,
        Err(failure) => return findings.push(Finding::failure(&subject, "credentials", failure)),
    };
    match restore::list(&*storage) {
        Err(error) => {
            let finding = Finding::failure(&subject, "list", error.into());
            let hint = finding.hint.clone().unwrap_or_else(|| "is it the right place?".to_owned());
            return findings.push(finding.hint(hint));
        }
        Ok(objects) => {
            findings.push(Finding::ok(
                &subject,
                "list",
                format!("{} files are there", objects.len()),
            ));
            findings
                .extend(objects.iter().map(|it| it.created).max().map(|it| clock(&subject, it)));
        }
    }
    findings.push(content(&subject, &*storage));
    let Url::File(root) = &replica.url else {
        findings.extend(probe(&subject, replica, None));
        return;
    };
    let made = missing(root);
    findings.extend(probe(&subject, replica, database.map(|(path, _)| path)));
    for directory in made.iter().rev() {
        // Only what was not there before, and only if it is empty.
        let _ = fs::remove_dir(directory);
    }
    if let Some((path, size)) = database {
        findings.push(disk::space(&subject, root, size));
        findings.extend(same_disk(&subject, root, path));
    }
}

/// Does it all with an object, owned as replication's files are.
fn probe(subject: &str, replica: &Replica, database: Option<&Path>) -> Vec<Finding> {
    let place = replica.join(Path::new(PROBE));
    let opened = match database {
        Some(database) => place.open_for(database),
        None => place.open(),
    };
    match opened {
        Ok(storage) => {
            let mut findings = handle(subject, &*storage);
            let wants_lease = replica.lease.is_some() && matches!(replica.url, Url::Remote(_));
            findings.extend(wants_lease.then(|| lease(subject, &*storage)));
            findings
        }
        Err(failure) => vec![Finding::failure(subject, "write", failure)],
    }
}

/// The directories that the probe will make.
fn missing(root: &Path) -> Vec<PathBuf> {
    let probe = root.join(PROBE).join("ltx").join("0");
    let mut missing: Vec<_> =
        probe.ancestors().take_while(|it| !it.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Writes, reads and removes.
fn handle(subject: &str, storage: &dyn Storage) -> Vec<Finding> {
    let (level, txids) = (Level::L0, TxidRange::single(Txid::FIRST));
    let mut findings = Vec::new();
    let written = write(storage, level, txids);
    let is_written = written.is_ok();
    findings.push(told(subject, "write", written, "objects can be stored"));
    if is_written {
        let mut buf = vec![0; CONTENT.len()];
        let read = storage.read_at(level, txids, 0, &mut buf);
        let differs = read.is_ok() && buf != CONTENT;
        findings.push(match differs {
            false => told(subject, "read", read, "objects can be read"),
            true => {
                Finding::fail(subject, "read", Exit::Unrestorable, "it gives back something else")
            }
        });
    }
    findings.push(match storage.delete(&[(level, txids)]) {
        Err(error @ Error::Denied { .. }) => Finding::warn(subject, "delete", error)
            .hint("nothing will ever be removed: say so with retention: {enabled: false}"),
        result => told(subject, "delete", result, "objects can be removed"),
    });
    findings
}

/// Whether one writer can be told from two.
fn lease(subject: &str, storage: &dyn Storage) -> Finding {
    match storage.keeps_conditions() {
        Ok(true) => Finding::ok(subject, "lease", "conditions are kept"),
        Ok(false) => {
            let detail = "it does not keep to conditions: no lease can be had there";
            Finding::fail(subject, "lease", Exit::Usage, detail)
                .hint("use another storage, or take lease: true out")
        }
        Err(error) => Finding::failure(subject, "lease", Failure::from(error)),
    }
}

fn write(storage: &dyn Storage, level: Level, txids: TxidRange) -> Result<(), Error> {
    let mut upload =
        storage.create(level, txids, Timestamp::from_system_time(SystemTime::now()))?;
    upload.write_all(CONTENT).map_err(|error| Error::from_io(storage.url(), error))?;
    upload.commit().map(|_| ())
}

fn told(subject: &str, check: &'static str, result: Result<(), Error>, detail: &str) -> Finding {
    match result {
        Ok(()) => Finding::ok(subject, check, detail),
        Err(error) => Finding::failure(subject, check, Failure::from(error)),
    }
}

fn clock(subject: &str, newest: Timestamp) -> Finding {
    let ahead = newest.to_system_time().duration_since(SystemTime::now()).unwrap_or_default();
    match ahead > SKEW {
        false => Finding::ok(
            subject,
            "clock",
            format!("the newest file is of {}", output::moment(newest)),
        ),
        true => {
            let detail = format!("the newest file is of {}, in the future", output::moment(newest));
            Finding::warn(subject, "clock", detail).hint(
                "a clock is wrong, here or where it was written: restores by -timestamp suffer",
            )
        }
    }
}

fn content(subject: &str, storage: &dyn Storage) -> Finding {
    let looked = Moments::read(storage)
        .and_then(|moments| restore::find_plan(storage, Target::Latest).map(|_| moments));
    match looked {
        Ok(moments) => {
            let (first, last) = (output::moment(moments.first.1), output::moment(moments.last.1));
            Finding::ok(subject, "backup", format!("can be restored, from {first} to {last}"))
        }
        Err(error) if error.kind() == ErrorKind::NoBackup => {
            Finding::ok(subject, "backup", "there is none yet: the first sync makes one")
        }
        Err(error) => Finding::failure(subject, "backup", error.into()),
    }
}

fn same_disk(subject: &str, root: &Path, database: &Path) -> Option<Finding> {
    let device = |path: &Path| fs::metadata(disk::existing(path)).ok().map(|it| it.dev());
    (device(root)? == device(database)?).then(|| {
        Finding::warn(subject, "place", "it is on the disk of the database, and is lost with it")
            .hint("replicate to another disk, a mounted share, or a bucket")
    })
}
