//! The database comes, goes, and is swapped under a running replicator. (failures.md A3, A4)

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use testkit::sweep::sweep_of;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Workload, turn, wait, workload};

use crate::stage::Stage;

const REPORTED: &[&str] =
    &["replaced", "deleted", "removed", "missing", "gone", "truncated", "another", "different"];

/// Replicates a database, stops the application, lets `swap` put another one in its place, and
/// wants that to be reported, replicated anew, and the past to stay restorable.
fn survive_swap(name: &str, swap: impl FnOnce(&Stage) -> (Connection, Workload)) {
    let _turn = turn::shared();
    let stage = Stage::new(name, Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 40);
    stage.tool.await_n(&stage.replica, n);
    drop(app);
    let (past, heard) = (stage.replica.txids(), replicator.log().len());

    let (mut app, next) = swap(&stage);
    stage.await_same(&app);
    stage.await_logged(&replicator, heard, REPORTED);
    for _ in 0..3 {
        next.commit_many(&mut app, 5);
        stage.await_same(&app);
    }
    next.commit_many(&mut app, 5);
    replicator.stop();
    stage.await_same(&app);

    let past = past.into_iter().collect::<Vec<_>>();
    let found = sweep_of(&stage.tool, &stage.replica, &mut stage.oracle(), &past);
    found.expect_all_right(n);
}

/// Another workload's database, beside the replicated one.
fn other_database(stage: &Stage) -> (PathBuf, Workload) {
    let other = Workload { seed: stage.workload.seed + 1, mix: Mix::Everything };
    let path = stage.scratch.path("other.db");
    let mut db = other.create(&path, Layout::default());
    other.commit_many(&mut db, 60);
    (path, other)
}

fn open(stage: &Stage) -> Connection {
    let db = Connection::open(&stage.db).expect("open the database");
    db.busy_timeout(PATIENCE).expect("be patient");
    db
}

fn remove(stage: &Stage) {
    for file in [stage.db.clone(), stage.wal(), stage.shm()] {
        let _ = fs::remove_file(file);
    }
}

#[test]
fn another_database_is_renamed_into_its_place() {
    survive_swap("renamed", |stage| {
        let (other, workload) = other_database(stage);
        for file in [stage.wal(), stage.shm()] {
            let _ = fs::remove_file(file);
        }
        fs::rename(other, &stage.db).expect("rename");
        (open(stage), workload)
    });
}

#[test]
fn it_is_deleted_and_created_again() {
    survive_swap("recreated", |stage| {
        remove(stage);
        let next = Workload { seed: stage.workload.seed + 2, mix: Mix::Small };
        let mut app = next.create(&stage.db, Layout::default());
        next.commit_many(&mut app, 10);
        (app, next)
    });
}

#[test]
fn it_is_deleted_and_created_again_with_another_page_size() {
    survive_swap("recreated-1024", |stage| {
        remove(stage);
        let next = Workload { seed: stage.workload.seed + 2, mix: Mix::Small };
        let layout = Layout { page_size: 1024, ..Layout::default() };
        let mut app = next.create(&stage.db, layout);
        next.commit_many(&mut app, 10);
        (app, next)
    });
}

#[test]
fn it_is_truncated_to_zero_and_filled_again() {
    survive_swap("truncated", |stage| {
        let file = File::options().write(true).open(&stage.db).expect("open the file");
        file.set_len(0).expect("truncate");
        for file in [stage.wal(), stage.shm()] {
            let _ = fs::remove_file(file);
        }
        let next = Workload { seed: stage.workload.seed + 3, mix: Mix::Small };
        let mut app = next.create(&stage.db, Layout::default());
        next.commit_many(&mut app, 10);
        (app, next)
    });
}

#[test]
fn an_older_copy_is_renamed_over_it() {
    survive_swap("older-renamed", |stage| {
        let older = stage.scratch.path("older.db");
        let txid = stage.replica.txids().into_iter().nth(1).expect("a second TXID");
        stage.tool.restore(&stage.replica, Some(txid), &older).expect("restore");
        for file in [stage.wal(), stage.shm()] {
            let _ = fs::remove_file(file);
        }
        fs::rename(older, &stage.db).expect("rename");
        let mut app = open(stage);
        let next = Workload { seed: stage.workload.seed + 4, mix: Mix::Small };
        next.commit_many(&mut app, 3);
        (app, next)
    });
}

#[test]
fn a_copy_with_the_same_salts_takes_its_place_while_nobody_looks() {
    let _turn = turn::shared();
    let stage = Stage::new("clone", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 20);
    stage.tool.await_n(&stage.replica, n);
    let clone = |from: &str, to: &str| {
        for suffix in ["", "-wal"] {
            let name = |base| stage.scratch.path(&format!("{base}{suffix}"));
            let copied = Command::new("cp").args([name(from), name(to)]).status();
            assert!(copied.expect("run cp").success());
        }
    };
    clone("app.db", "clone.db");
    let n = stage.workload.commit_many(&mut app, 30);
    stage.tool.await_n(&stage.replica, n);
    replicator.kill();
    drop(app);
    remove(&stage);
    let other = Workload { seed: stage.workload.seed + 5, mix: Mix::Small };
    let mut db = Connection::open(stage.scratch.path("clone.db")).expect("open the copy");
    other.commit_many(&mut db, 60);
    clone("clone.db", "app.db");
    drop(db);
    let mut app = open(&stage);
    let replicator = stage.replicate();
    stage.await_same(&app);
    other.commit_many(&mut app, 5);
    replicator.stop();
    stage.await_same(&app);
}

#[test]
fn a_restored_database_goes_on_being_replicated() {
    for keep_state in [false, true] {
        let _turn = turn::shared();
        let stage = Stage::new("restored", Mix::Small);
        let mut app = stage.create(Layout::default());
        let replicator = stage.replicate_first();
        let early = stage.workload.commit_many(&mut app, 20);
        stage.tool.await_n(&stage.replica, early);
        let point = stage.replica.last_txid();
        let late = stage.workload.commit_many(&mut app, 30);
        stage.tool.await_n(&stage.replica, late);
        replicator.kill();
        drop(app);
        for target in [None, Some(point)] {
            remove(&stage);
            if !keep_state {
                fs::remove_dir_all(stage.local_state()).expect("remove the local state");
            }
            stage.tool.restore(&stage.replica, target, &stage.db).expect("restore");
            let mut app = open(&stage);
            let n = workload::last(&app).expect("the restored transaction");
            assert_eq!(n, if target.is_some() { early } else { late });
            let replicator = stage.replicate();
            stage.workload.commit_many(&mut app, 5);
            stage.await_same(&app);
            replicator.kill();
            drop(app);
            assert_eq!(stage.tool.restored_n(&stage.replica), Some(n + 5));
            let past = sweep_of(&stage.tool, &stage.replica, &mut stage.oracle(), &[point]);
            past.expect_all_right(early);
            if target.is_none() {
                remove(&stage);
                stage.tool.restore(&stage.replica, None, &stage.db).expect("restore");
                fs::create_dir_all(stage.local_state()).expect("a folder to remove");
            }
        }
    }
}

#[test]
fn a_database_that_does_not_exist_yet_is_waited_for() {
    let _turn = turn::shared();
    let stage = Stage::new("waits", Mix::Small);
    let mut replicator = stage.replicate();
    wait::throughout(Duration::from_secs(2), || {
        assert!(!replicator.has_ended(), "replicate has ended\n{}", replicator.log());
        assert!(!stage.db.exists(), "the database was created by the replicator");
    });
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 20);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.await_same(&app);
}

#[test]
fn an_empty_file_is_waited_for() {
    let _turn = turn::shared();
    let stage = Stage::new("waits-empty", Mix::Small);
    File::create(&stage.db).expect("create an empty file");
    let mut replicator = stage.replicate();
    wait::throughout(Duration::from_secs(2), || {
        assert!(!replicator.has_ended(), "replicate has ended\n{}", replicator.log());
        let size = fs::metadata(&stage.db).expect("the file stays").len();
        assert_eq!(size, 0, "the file was written by the replicator");
    });
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 20);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.await_same(&app);
}

#[test]
fn a_locked_database_is_reported_and_replicated_once_it_is_free() {
    let _turn = turn::shared();
    let stage = Stage::new("locked", Mix::Small);
    let mut app = stage.create(Layout { wal: false, ..Layout::default() });
    let n = stage.workload.commit_many(&mut app, 20);
    app.execute_batch("BEGIN EXCLUSIVE").expect("lock the database");
    let replicator = stage.replicate();
    stage.await_logged(&replicator, 0, &["locked", "busy"]);
    app.execute_batch("COMMIT").expect("free the database");
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn a_file_that_is_no_database_is_reported_and_left_alone() {
    let _turn = turn::shared();
    let stage = Stage::new("no-database", Mix::Small);
    let text = "certainly not a database\n".repeat(400);
    fs::write(&stage.db, &text).expect("write a text");
    let replicator = stage.replicate();
    stage.await_logged(&replicator, 0, &["not a database", "not an sqlite"]);
    drop(replicator);
    assert_eq!(fs::read_to_string(&stage.db).expect("read it"), text, "the file was changed");
    assert_eq!(stage.replica.last_txid(), 0, "something was replicated");
}

/// Root may write everywhere, so the replicator runs as nobody there.
#[test]
fn a_database_that_may_not_be_written_is_reported() {
    const NOBODY: u32 = 65534;
    let _turn = turn::shared();
    let stage = Stage::new("read-only", Mix::Small);
    let mut app = stage.create(Layout { wal: false, ..Layout::default() });
    stage.workload.commit_many(&mut app, 20);
    drop(app);
    let program = stage.scratch.path("program");
    fs::copy(stage.tool.command(&[]).get_program(), &program).expect("copy the program");
    let log = stage.scratch.path("read-only.log");
    let stderr = File::create(&log).expect("create the log");
    let mode = |file: &Path, mode| {
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("set permissions");
    };
    mode(&program, 0o755);
    mode(&stage.db, 0o444);
    mode(stage.scratch.root(), 0o555);
    let before = fs::read(&stage.db).expect("read the database");
    let mut command = Command::new(&program);
    command
        .arg("replicate")
        .args([&stage.db, stage.replica.path()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut replicator = command.spawn().expect("start replicate");
    let said = wait::within(PATIENCE, || {
        let said = fs::read_to_string(&log).unwrap_or_default().to_lowercase();
        ["read-only", "readonly", "permission", "denied"]
            .iter()
            .any(|word| said.contains(word))
            .then_some(())
    });
    let _ = replicator.kill();
    let _ = replicator.wait();
    mode(stage.scratch.root(), 0o755);
    let log = fs::read_to_string(&log).unwrap_or_default();
    assert!(said.is_some(), "no clear error in the log:\n{log}");
    assert!(log.contains("app.db"), "the error does not name the database:\n{log}");
    assert!(before == fs::read(&stage.db).expect("read it"), "the file was changed");
}

#[test]
fn what_waits_for_its_upload_goes_out_though_the_database_is_gone() {
    let _turn = turn::shared();
    let stage = Stage::new("gone-staged", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.take_replica_away();
    let heard = replicator.log().len();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.await_logged(&replicator, heard, &["upload failed"]);
    replicator.kill();
    drop(app);
    stage.remove_database();
    let replicator = stage.replicate();
    stage.bring_replica_back();
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
}
