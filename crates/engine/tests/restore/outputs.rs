//! Where a restore may write, what it refuses, and what it leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use engine::restore::{self, Error, ErrorKind, IntegrityCheck, Outcome, Progress, Request};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{Vectors, scratch, sha256};

const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A place to restore to, and a replica to restore from.
struct Place {
    directory: TempDir,
    vectors: Vectors,
}

impl Place {
    fn new() -> Place {
        Place { directory: scratch(), vectors: Vectors::open("ps4096") }
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("shop.db{suffix}"))
    }

    fn restore_to(&self, output: &Path, force: bool) -> Result<Outcome, Error> {
        let mut request = Request::new(self.vectors.storage(), output);
        request.force = force;
        request.integrity = IntegrityCheck::Quick;
        restore::run(&request, &())
    }

    fn restore(&self, force: bool) -> Result<Outcome, Error> {
        self.restore_to(&self.output(), force)
    }

    /// All names in the directory with their content.
    fn content(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.directory.path()).expect("directory");
        let mut content: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("entry");
                let bytes = fs::read(entry.path()).unwrap_or_default();
                (entry.file_name().to_string_lossy().into_owned(), bytes)
            })
            .collect();
        content.sort();
        content
    }

    /// Refused, and nothing is different.
    fn refuses(&self, force: bool) -> Error {
        let before = self.content();
        let error = self.restore(force).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(self.content() == before, "untouched after: {error}");
        error
    }

    /// Done, and nothing but the database is there.
    fn succeeds(&self, force: bool) {
        self.restore(force).expect("restore");
        assert_eq!(sha256(&self.output()), self.vectors.hashes()[&7]);
        assert_eq!(self.content().len(), 1, "no sidecar, no residue");
        let database = Connection::open(self.output()).expect("open");
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).expect("read");
    }
}

#[test]
fn missing_directories_are_created() {
    let place = Place::new();
    let output = place.directory.path().join("a/b/shop.db");
    place.restore_to(&output, false).expect("restore");
    assert_eq!(sha256(&output), place.vectors.hashes()[&7]);
}

#[test]
fn a_leftover_of_any_kind_is_refused_and_with_force_removed() {
    for is_there in [false, true] {
        for sidecar in SIDECARS {
            let place = Place::new();
            if is_there {
                fs::write(place.output(), b"").expect("empty file");
            }
            fs::write(place.beside(sidecar), b"old").expect("sidecar");
            let error = place.refuses(false);
            assert!(matches!(error, Error::Leftover { .. }), "{error}");
            assert!(error.to_string().contains(sidecar), "{error}");
            place.succeeds(true);
        }
    }
}

#[test]
fn an_old_database_is_replaced_only_with_force() {
    let place = Place::new();
    fs::write(place.output(), b"not even a database").expect("old");
    for sidecar in SIDECARS {
        fs::write(place.beside(sidecar), b"old").expect("sidecar");
    }
    let error = place.refuses(false);
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    place.succeeds(true);
}

#[test]
fn an_empty_file_is_filled() {
    let place = Place::new();
    fs::write(place.output(), b"").expect("empty file");
    place.succeeds(false);
}

#[test]
fn force_keeps_the_old_database_when_the_new_one_cannot_be_made() {
    let place = Place::new();
    fs::write(place.output(), b"old").expect("old");
    fs::write(place.beside("-wal"), b"old wal").expect("sidecar");
    for level in 0..10 {
        let level = place.vectors.path().join(format!("ltx/{level}"));
        for entry in fs::read_dir(level).into_iter().flatten() {
            let path = entry.expect("entry").path();
            let mut bytes = fs::read(&path).expect("object");
            bytes[150] ^= 1;
            fs::write(path, bytes).expect("damage");
        }
    }
    let before = place.content();
    let error = place.restore(true).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::NotRestorable, "{error}");
    assert!(place.content() == before);
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::new();
    for output in [place.directory.path().to_owned(), PathBuf::from("/dev/null"), "/".into()] {
        for force in [false, true] {
            let error = place.restore_to(&output, force).expect_err("not a file");
            assert!(matches!(error, Error::NotAFile { .. }), "{error}");
        }
    }
}

#[test]
fn a_link_is_followed() {
    let place = Place::new();
    let link = place.directory.path().join("link.db");
    fs::write(place.output(), b"old").expect("old");
    symlink(place.output(), &link).expect("link");
    assert!(place.restore_to(&link, false).is_err());
    place.restore_to(&link, true).expect("restore");
    assert!(fs::symlink_metadata(&link).expect("link").is_symlink());
    assert_eq!(sha256(&place.output()), place.vectors.hashes()[&7]);
}

#[test]
fn owner_and_mode_are_those_of_the_old_database_or_its_directory() {
    let mode = |path: &Path| fs::metadata(path).expect("metadata").mode() & 0o777;
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let place = Place::new();
    chmod(place.directory.path(), 0o700);
    place.restore(false).expect("restore");
    assert_eq!(mode(&place.output()), 0o600);
    chmod(&place.output(), 0o664);
    place.restore(true).expect("restore");
    assert_eq!(mode(&place.output()), 0o664);
}

#[test]
fn a_second_restore_to_the_same_place_is_refused_while_the_first_runs() {
    let place = Place::new();
    let other = storage::TempFile::create(place.beside(".restore.tmp"), 0o600).expect("lock");
    let error = place.restore(false).expect_err("concurrent");
    assert!(matches!(error, Error::Concurrent { .. }), "{error}");
    drop(other);
    fs::write(place.beside(".restore.tmp"), b"of a crash").expect("leftover");
    place.succeeds(false);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    struct Intruder(PathBuf);
    impl Progress for Intruder {
        fn step(&self, step: restore::Step) {
            if step == restore::Step::Publishing {
                fs::write(&self.0, b"an application was quicker").expect("write");
            }
        }
    }
    let place = Place::new();
    let request = Request::new(place.vectors.storage(), place.output());
    let error = restore::run(&request, &Intruder(place.output())).expect_err("taken");
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(fs::read(place.output()).expect("file"), b"an application was quicker");
    assert_eq!(place.content().len(), 1);
}

#[test]
fn giving_up_leaves_nothing() {
    #[derive(Default)]
    struct Impatient(AtomicU64);
    impl Progress for Impatient {
        fn read(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) > 0
        }
    }
    let place = Place::new();
    let mut request = Request::new(place.vectors.storage(), place.output());
    request.target = restore::Target::Txid(ltx::Txid::new(5).expect("txid"));
    let error = restore::run(&request, &Impatient::default()).expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(place.content().len(), 0);
}

#[test]
fn progress_adds_up() {
    #[derive(Default)]
    struct Sum(AtomicU64, AtomicU64);
    impl Progress for Sum {
        fn started(&self, plan: &restore::Plan) {
            self.0.store(plan.size(), Ordering::Relaxed);
        }
        fn read(&self, bytes: u64) {
            self.1.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    let place = Place::new();
    let sum = Sum::default();
    restore::run(&Request::new(place.vectors.storage(), place.output()), &sum).expect("restore");
    assert!(sum.0.load(Ordering::Relaxed) > 0);
    assert_eq!(sum.0.into_inner(), sum.1.into_inner());
}

/// Another process that has a database open.
struct Holder {
    process: Child,
    output: BufReader<ChildStdout>,
    release: Option<ChildStdin>,
}

const HELD: &str = "BROOKLET_TEST_HELD_DATABASE";

impl Holder {
    fn hold(database: &Path) -> Holder {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "outputs::hold_a_database", "--nocapture"])
            .env(HELD, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut output = BufReader::new(process.stdout.take().expect("pipe"));
        let ready = output.by_ref().lines().map_while(Result::ok).any(|line| line == "held");
        assert!(ready, "the other process opened the database");
        let release = process.stdin.take();
        Holder { process, output, release }
    }

    fn release(mut self) {
        drop(self.release.take());
        std::io::copy(&mut self.output, &mut std::io::sink()).expect("the rest");
        assert!(self.process.wait().expect("wait").success());
    }
}

/// The other process of the tests below; by itself it has nothing to do.
#[test]
fn hold_a_database() {
    let Some(path) = std::env::var_os(HELD) else { return };
    let database = Connection::open(path).expect("open");
    let is_wal = database.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
    if is_wal.expect("mode") != "wal" {
        database.execute_batch("BEGIN").expect("a read transaction");
    }
    database.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).expect("read");
    println!("\nheld");
    std::io::stdout().flush().expect("flush");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("wait");
}

#[test]
fn a_database_in_use_is_not_replaced_even_with_force() {
    let place = Place::new();
    let database = Connection::open(place.output()).expect("open");
    database.pragma_update(None, "journal_mode", "wal").expect("wal");
    database.execute_batch("CREATE TABLE t (a)").expect("write");
    drop(database);

    let holder = Holder::hold(&place.output());
    let error = place.refuses(true);
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    holder.release();
    place.succeeds(true);
}

#[test]
fn an_empty_file_that_an_application_holds_is_not_replaced() {
    let place = Place::new();
    fs::write(place.output(), b"").expect("empty file");
    let holder = Holder::hold(&place.output());
    let error = place.refuses(false);
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    holder.release();
}

#[test]
fn a_crash_while_replacing_never_leaves_the_old_wal_beside_the_new_database() {
    // The state after a power failure between moving the leftovers and renaming.
    let place = Place::new();
    fs::write(place.output(), b"old").expect("old");
    fs::write(place.beside("-wal.replaced"), b"old wal").expect("moved aside");
    fs::write(place.beside(".restore.tmp"), b"new").expect("temporary file");
    place.succeeds(true);
}
