//! A damaged replica gives either the right bytes or an error without a file. Never another
//! database.

use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::restore::{self, ErrorKind, Request, Target};
use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Object, Storage, Upload};

use crate::support::{Vectors, scratch, sha256, txid};

/// Trees with both forms of page frames, small enough for thousands of restores.
const TREES: [&str; 3] = ["ps512", "ps4096", "mixed-v0.5.15-then-v0.5.17"];

/// Restores one state: its hash, or an error and nothing in the directory.
fn restored(storage: Arc<dyn Storage>, id: u64) -> Result<String, restore::Error> {
    let directory = scratch();
    let output = directory.path().join("restored.db");
    let mut request = Request::new(storage, &output);
    request.target = Target::Txid(txid(id));
    let names = || fs::read_dir(directory.path()).expect("directory").count();
    match restore::run(&request, &()) {
        Ok(_) => {
            assert_eq!(names(), 1, "no residue");
            Ok(sha256(&output))
        }
        Err(error) => {
            assert_eq!(names(), 0, "no residue after {error}");
            Err(error)
        }
    }
}

/// Puts bytes in the place of an object while `check` runs.
fn with_content(path: &Path, bytes: &[u8], check: impl FnOnce()) {
    let whole = fs::read(path).expect("object");
    fs::write(path, bytes).expect("damage");
    check();
    fs::write(path, whole).expect("repair");
}

fn objects(vectors: &Vectors) -> Vec<PathBuf> {
    let objects = restore::list(&*vectors.storage()).expect("list");
    objects.iter().map(|object| vectors.path().join(object.to_string())).collect()
}

#[test]
fn every_damage_to_every_object_is_an_error_or_makes_no_difference() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut flips = random.fork();
    let mut rejected = 0;
    for tree in TREES {
        let vectors = Vectors::open(tree);
        let hashes = vectors.hashes();
        let newest = *hashes.keys().last().expect("hashes");
        let mut check = |what: &str, path: &Path| {
            for id in [newest, random.u64(1..=newest)] {
                match restored(vectors.storage(), id) {
                    Ok(hash) => assert_eq!(hash, hashes[&id], "{tree} at {id}: {what} {path:?}"),
                    Err(error) => {
                        rejected += 1;
                        assert_eq!(error.kind(), ErrorKind::NotRestorable, "{error}");
                    }
                }
            }
        };
        for path in objects(&vectors) {
            let whole = fs::read(&path).expect("object");
            let hidden = path.with_extension("hidden");
            fs::rename(&path, &hidden).expect("rename");
            check("without", &path);
            fs::rename(&hidden, &path).expect("rename back");

            for length in [0, 99, 100, whole.len() / 2, whole.len() - 1] {
                with_content(&path, &whole[..length], || check("cut", &path));
            }
            with_content(&path, &[&whole[..], &[0]].concat(), || check("longer", &path));
            for _ in 0..12 {
                let mut flipped = whole.clone();
                let at = flips.usize(..whole.len());
                flipped[at] ^= 1 << flips.u32(..8);
                with_content(&path, &flipped, || check(&format!("flipped at {at}"), &path));
            }
        }
    }
    assert!(rejected > 100, "most damage matters, yet only {rejected} restores failed");
}

#[test]
fn an_object_under_another_name_is_not_believed() {
    let vectors = Vectors::open("ps4096");
    let hashes = vectors.hashes();
    let level = vectors.path().join("ltx/0");
    let name = |id| level.join(TxidRange::single(txid(id)).file_name());
    for path in objects(&vectors).into_iter().filter(|path| !path.starts_with(&level)) {
        fs::remove_file(path).expect("only L0 is left");
    }
    fs::rename(name(5), level.join("kept")).expect("rename");
    fs::copy(name(6), name(5)).expect("copy");
    let error = restored(vectors.storage(), 7).expect_err("6 is not 5");
    assert!(matches!(error, restore::Error::Misnamed { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotRestorable);
    assert_eq!(restored(vectors.storage(), 4).expect("before"), hashes[&4]);
}

#[test]
fn twenty_failures_leave_nothing() {
    let vectors = Vectors::open("ps4096");
    for path in objects(&vectors) {
        let mut bytes = fs::read(&path).expect("object");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).expect("damage");
    }
    for _ in 0..20 {
        restored(vectors.storage(), 7).expect_err("damaged");
    }
}

#[test]
fn nothing_there_is_not_the_same_as_nothing_readable() {
    let kind = |root: &Path| {
        let storage = Arc::new(storage::FileStorage::new(root));
        restored(storage, 1).expect_err("no backup").kind()
    };
    let directory = scratch();
    assert_eq!(kind(directory.path()), ErrorKind::NoBackup);
    assert_eq!(kind(&directory.path().join("missing")), ErrorKind::NoBackup);
    fs::create_dir_all(directory.path().join("generations/0123456789abcdef")).expect("directory");
    assert_eq!(kind(directory.path()), ErrorKind::NotRestorable);
    fs::write(directory.path().join("file"), b"").expect("file");
    assert_eq!(kind(&directory.path().join("file")), ErrorKind::Other);

    // An empty replica has the last word, whatever lies at the output.
    let output = directory.path().join("shop.db");
    fs::write(directory.path().join("shop.db-wal"), b"leftover").expect("sidecar");
    let storage = Arc::new(storage::FileStorage::new(directory.path().join("missing")));
    let error = restore::run(&Request::new(storage, output), &()).expect_err("no backup");
    assert_eq!(error.kind(), ErrorKind::NoBackup);
}

/// A storage that fails as told.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Storage>,
    fault: Fault,
    left: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The lists do not answer.
    Unreachable,
    /// Reads are forbidden.
    Denied,
    /// The newest snapshot vanishes between the list and the first read.
    Vanishes,
    /// So does whatever is listed, always.
    AllVanish,
}

impl Faulty {
    fn storage(vectors: &Vectors, fault: Fault) -> Arc<dyn Storage> {
        let inner = vectors.storage();
        Arc::new(Faulty { inner, fault, left: AtomicU32::new(1) })
    }

    fn read(&self, level: Level, txids: TxidRange) -> storage::Result<()> {
        let object = txids.file_name();
        match self.fault {
            Fault::Denied => Err(storage::Error::Denied { object, reason: "no key".into() }),
            Fault::Vanishes if level == Level::SNAPSHOT => {
                if self
                    .left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok()
                {
                    self.inner.delete(&[(level, txids)])?;
                }
                Ok(())
            }
            Fault::AllVanish => Err(storage::Error::NotFound { object }),
            _ => Ok(()),
        }
    }
}

impl Storage for Faulty {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn list(&self, level: Level, from: Txid) -> storage::Result<Vec<Object>> {
        match self.fault {
            Fault::Unreachable => {
                let object = self.url();
                Err(storage::Error::Unreachable { object, reason: "timed out".into() })
            }
            _ => self.inner.list(level, from),
        }
    }

    fn read_at(
        &self,
        level: Level,
        txids: TxidRange,
        offset: u64,
        buf: &mut [u8],
    ) -> storage::Result<()> {
        self.read(level, txids)?;
        self.inner.read_at(level, txids, offset, buf)
    }

    fn open(
        &self,
        level: Level,
        txids: TxidRange,
        offset: u64,
    ) -> storage::Result<Box<dyn Read + Send>> {
        self.read(level, txids)?;
        self.inner.open(level, txids, offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> storage::Result<Box<dyn Upload>> {
        self.inner.create(level, txids, created)
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> storage::Result<()> {
        self.inner.delete(objects)
    }

    fn unknown(&self) -> storage::Result<Vec<String>> {
        self.inner.unknown()
    }
}

#[test]
fn what_could_not_be_looked_at_is_told_apart() {
    let vectors = Vectors::open("ps4096");
    for (fault, kind) in [
        (Fault::Unreachable, ErrorKind::Unreachable),
        (Fault::Denied, ErrorKind::Denied),
        (Fault::AllVanish, ErrorKind::NotRestorable),
    ] {
        let error = restored(Faulty::storage(&vectors, fault), 7).expect_err("fault");
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
    }
}

#[test]
fn a6_a_file_that_vanishes_is_planned_around() {
    let vectors = Vectors::open("ps4096");
    let hash = restored(Faulty::storage(&vectors, Fault::Vanishes), 7).expect("from other files");
    assert_eq!(hash, vectors.hashes()[&7]);
}

#[test]
fn a_snapshot_that_claims_more_pages_than_its_bytes_hold_costs_no_memory() {
    let vectors = Vectors::open("ps4096");
    for path in objects(&vectors) {
        let mut file = fs::OpenOptions::new().write(true).open(path).expect("object");
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(12)).expect("seek");
        file.write_all(&u32::MAX.to_be_bytes()).expect("commit");
    }
    let error = restored(vectors.storage(), 7).expect_err("too many pages");
    assert!(matches!(error, restore::Error::MissingPages { .. }), "{error}");
}
