//! Backups of Litestream 0.3.13. (failures.md A18)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use engine::restore::v3::Identities;
use engine::restore::{self, Error, ErrorKind, Outcome, Request, Target};
use ltx::Timestamp;

use crate::support::{Vectors, root, scratch, sha256, txid};

/// What the source was, and what both versions of Litestream restore.
const HASH: &str = "dd3c99f16113a6371456273fed56c2fbb5ecb95724ccb9b9a55a68a6159b8791";

/// The times of the files, which git does not keep.
fn with_times(name: &str) -> Vectors {
    let vectors = Vectors::open(name);
    let times = fs::read_to_string(root().join("mtimes-ms.tsv")).expect("times");
    for line in times.lines() {
        let Some((path, millis)) = line.split_once('\t') else { continue };
        let Some(path) = path.strip_prefix(&format!("{name}/replica/")) else { continue };
        let file = fs::File::options().write(true).open(vectors.path().join(path)).expect(path);
        let millis = Duration::from_millis(millis.parse().expect("a number"));
        file.set_modified(UNIX_EPOCH + millis).expect("time");
    }
    vectors
}

fn restored(
    vectors: &Vectors,
    change: impl FnOnce(&mut Request),
) -> Result<(Outcome, String), Error> {
    let directory = scratch();
    let output = directory.path().join("restored.db");
    let mut request = Request::new(vectors.storage(), &output);
    request.integrity = restore::IntegrityCheck::Full;
    change(&mut request);
    let result = restore::run(&request, &());
    let left = fs::read_dir(directory.path()).expect("list").count();
    assert_eq!(left, usize::from(result.is_ok()), "nothing else is left");
    result.map(|outcome| (outcome, sha256(&output)))
}

fn identities() -> Identities {
    let text = fs::read_to_string(root().join("v0.3.13-age/identity.txt")).expect("identity");
    Identities::parse(&text).expect("an identity")
}

fn wal(vectors: &Vectors, name: &str) -> PathBuf {
    let generations = vectors.path().join("generations");
    let generation = fs::read_dir(generations).expect("list").next().expect("one").expect("one");
    generation.path().join("wal").join(name)
}

#[test]
fn a18_a_plain_backup_restores_to_the_same_bytes() {
    let (outcome, hash) = restored(&Vectors::open("v0.3.13-plain"), |_| ()).expect("restore");
    assert_eq!(hash, HASH);
    assert_eq!((outcome.txid, outcome.files), (None, 16));
}

#[test]
fn an_encrypted_backup_needs_its_identity() {
    let vectors = Vectors::open("v0.3.13-age");
    let (_, hash) =
        restored(&vectors, |request| request.identities = identities()).expect("restore");
    assert_eq!(hash, HASH);
    let error = restored(&vectors, |_| ()).expect_err("no identity");
    assert!(matches!(error, Error::Encrypted { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotRestorable);
}

#[test]
fn a_moment_takes_what_was_written_by_then() {
    let vectors = with_times("v0.3.13-plain");
    let at = |millis| {
        let target = Target::Timestamp(Timestamp::from_millis(millis));
        restored(&vectors, |request| request.target = target)
    };
    let (first, last) = (1_795_382_451_401, 1_795_382_457_191);
    assert_eq!(at(last + 10).expect("the last").1, HASH);
    assert_eq!(at(first).expect("the snapshot").0.files, 1);
    let (outcome, hash) = at(1_795_382_454_000).expect("between");
    assert_eq!(outcome.files, 7);
    assert_ne!(hash, HASH);
    let error = at(first - 1).expect_err("before");
    assert_eq!(error.kind(), ErrorKind::NotRestorable);
    assert!(error.to_string().contains("the backup begins at 2026-"), "{error}");
}

#[test]
fn holes_are_named() {
    for (name, wanted) in [
        (
            "00000001_00002050.wal.lz4",
            "WAL 00000001 is missing from the backup, from byte 00002050",
        ),
        (
            "00000000_00000000.wal.lz4",
            "WAL 00000000 is missing from the backup, from byte 00000000",
        ),
        (
            "00000002_00000000.wal.lz4",
            "WAL 00000002 is missing from the backup, from byte 00000000",
        ),
    ] {
        let vectors = Vectors::open("v0.3.13-plain");
        fs::remove_file(wal(&vectors, name)).expect("remove");
        let error = restored(&vectors, |_| ()).expect_err("a hole");
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(error.kind(), ErrorKind::NotRestorable);
    }
}

#[test]
fn damage_is_named() {
    let vectors = Vectors::open("v0.3.13-plain");
    let path = wal(&vectors, "00000001_00003068.wal.lz4");
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("damage");
    let error = restored(&vectors, |_| ()).expect_err("damage");
    assert!(error.to_string().contains("00000001_00003068.wal.lz4 is damaged"), "{error}");
}

#[test]
fn of_two_formats_the_newer_is_taken() {
    let vectors = Vectors::open("v0.3.13-plain");
    copy(&Vectors::open("ps4096"), &vectors);
    let wanted = Vectors::open("ps4096").hashes();
    // The old backup's files have been copied just now, those of the new one know their times.
    assert_eq!(restored(&vectors, |_| ()).expect("v0.3").1, HASH);
    let vectors = with_times("v0.3.13-plain");
    age(vectors.path());
    copy(&Vectors::open("ps4096"), &vectors);
    let last = *wanted.keys().next_back().expect("hashes");
    assert_eq!(restored(&vectors, |_| ()).expect("LTX").1, wanted[&last]);
    let by_txid = restored(&vectors, |request| request.target = Target::Txid(txid(3)));
    assert_eq!(by_txid.expect("LTX").1, wanted[&3]);
}

/// Makes all files older than any other vector.
fn age(directory: &Path) {
    for entry in fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = fs::File::options().write(true).open(&path).expect("open");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("time");
        }
    }
}

fn copy(from: &Vectors, to: &Vectors) {
    crate::support::copy(from.path(), to.path());
}
