//! A database whose file is written to past SQLite, as when a backup is copied over it.
//!
//! Other processes do that here: closing a descriptor of the file would take this one's locks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, DatabaseState, Replicator};
use rusqlite::Connection;
use storage::Storage;

use crate::{PATIENCE, Stage, until};

const OLD: &str = "what the backup holds";
const NEW: &str = "what came afterwards!";
const NEVER: Duration = Duration::from_secs(3600);

/// A database whose WAL is copied back whole, so that readers see what the file holds.
struct Copied {
    stage: Stage,
    replicator: Option<Replicator>,
    backup: PathBuf,
    options: DatabaseOptions,
}

impl Copied {
    /// Ends with `NEW` in the database, and with `OLD` in the backup. Both are of one size.
    fn new(check_interval: Duration) -> Copied {
        let stage = Stage::new();
        let options = DatabaseOptions {
            monitor_interval: Duration::from_millis(10),
            checkpoint_interval: Duration::from_millis(20),
            sync_interval: Duration::from_millis(1),
            check_interval,
            ..DatabaseOptions::new(&stage.db, vec![Arc::clone(&stage.storage) as Arc<dyn Storage>])
        };
        let replicator = Some(Replicator::start(vec![options.clone()]).unwrap());
        stage.app.execute("INSERT INTO t (x) VALUES (?1)", [OLD]).unwrap();
        let backup = stage.db.with_extension("backup");
        let copied = Copied { stage, replicator, backup, options };
        copied.copy_back();
        run("cp", &[&copied.stage.db, &copied.backup]);
        copied.stage.app.execute("UPDATE t SET x = ?1", [NEW]).unwrap();
        copied.copy_back();
        copied
    }

    fn replicator(&self) -> &Replicator {
        self.replicator.as_ref().unwrap()
    }

    /// Waits until all is captured and copied back.
    fn copy_back(&self) {
        self.replicator().sync(Instant::now() + PATIENCE).unwrap();
        until("a checkpoint of all", || {
            let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get(2)?));
            let (all, copied): (i64, i64) =
                self.stage.app.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], frames).unwrap();
            all == copied
        });
        self.rest();
    }

    /// Waits until the file has been looked at as it is.
    fn rest(&self) {
        let syncs = || self.replicator().status(&self.stage.db).unwrap().counts.syncs;
        let before = syncs();
        until("three looks", || syncs() >= before + 3);
        self.replicator().sync(Instant::now() + PATIENCE).unwrap();
    }

    fn stop(&mut self) {
        let replicator = self.replicator.take().unwrap();
        replicator.stop(Instant::now() + PATIENCE, &AtomicBool::new(false)).unwrap();
    }

    fn restored(&self) -> String {
        let output = self.stage.db.with_extension("restored");
        let storage = Arc::clone(&self.stage.storage) as Arc<dyn Storage>;
        let mut request = engine::restore::Request::new(storage, &output);
        request.force = true;
        engine::restore::run(&request, &()).unwrap();
        value(&Connection::open(output).unwrap())
    }

    fn await_old(&self) {
        until("the backup's state in the replica", || {
            let synced = self.replicator().sync(Instant::now() + PATIENCE);
            synced.is_ok() && self.restored() == OLD
        });
        assert_eq!(value(&Connection::open(&self.stage.db).unwrap()), OLD, "as SQLite has it");
    }
}

fn value(db: &Connection) -> String {
    db.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap()
}

fn run(program: &str, paths: &[&Path]) {
    assert!(Command::new(program).args(paths).status().unwrap().success(), "{program} {paths:?}");
}

#[test]
fn a_backup_that_is_copied_over_the_database_is_replicated() {
    let copied = Copied::new(NEVER);
    assert_eq!(copied.restored(), NEW);
    run("cp", &[&copied.backup, &copied.stage.db]);
    copied.await_old();
}

#[test]
fn a_backup_that_is_copied_over_the_database_in_our_absence_is_replicated() {
    let mut copied = Copied::new(NEVER);
    copied.stop();
    run("cp", &[&copied.backup, &copied.stage.db]);
    copied.replicator = Some(Replicator::start(vec![copied.options.clone()]).unwrap());
    copied.await_old();
}

#[test]
fn nothing_is_compared_if_the_file_is_as_we_left_it() {
    let mut copied = Copied::new(NEVER);
    copied.stop();
    copied.replicator = Some(Replicator::start(vec![copied.options.clone()]).unwrap());
    copied.rest();
    assert_eq!(copied.replicator().status(&copied.stage.db).unwrap().rebases, 0);
}

#[test]
fn a_database_that_is_emptied_and_filled_again_is_compared() {
    let copied = Copied::new(NEVER);
    run("truncate", &[Path::new("--size=0"), &copied.stage.db]);
    until("the loss to be seen", || {
        copied.replicator().status(&copied.stage.db).unwrap().state == DatabaseState::Waiting
    });
    run("cp", &[&copied.backup, &copied.stage.db]);
    copied.await_old();
}

#[test]
fn a_page_that_changes_unseen_is_found_by_the_checks() {
    let copied = Copied::new(Duration::from_millis(10));
    let checks = || copied.replicator().status(&copied.stage.db).unwrap().counts;
    until("a check", || checks().checks > 0);
    assert_eq!(checks().failed_checks, 0);
    // The same size and time: as a disk does it that forgets.
    let same_time = copied.stage.db.with_extension("time");
    run("cp", &[Path::new("--preserve=timestamps"), &copied.stage.db, &same_time]);
    let script = "dd if=\"$0\" of=\"$1\" conv=notrunc status=none && touch -r \"$2\" \"$1\"";
    let overwritten = Command::new("sh")
        .args(["-c", script])
        .args([&copied.backup, &copied.stage.db, &same_time])
        .status();
    assert!(overwritten.unwrap().success());
    copied.await_old();
    until("the finding to be counted", || checks().failed_checks > 0);
}
