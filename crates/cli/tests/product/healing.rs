//! Replicas and local state that came to harm. Each once ended with exit code 0 and a backup that
//! could not be restored. (failures.md A5, A8, A12, A21, A22)

use std::fs;

use rusqlite::Connection;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Replica, turn, wait};

use crate::stage::Stage;

/// The latest state restores to transaction `n`, by us and with every check.
fn expect_latest(stage: &Stage, n: u64) {
    let output = stage.scratch.path("healed");
    let restored = stage.tool.restore(&stage.replica, None, &output);
    restored.unwrap_or_else(|why| panic!("the replica does not restore: {why}"));
    assert_eq!(stage.oracle().check_file(&output), Ok(n));
    fs::remove_file(output).expect("remove the restored file");
}

fn remove_replica(replica: &Replica) {
    fs::remove_dir_all(replica.path()).expect("remove the replica");
}

#[test]
fn a_replica_that_vanishes_while_it_is_written_to_is_begun_anew() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-vanished", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 10);
    stage.tool.await_n(&stage.replica, n);
    remove_replica(&stage.replica);
    let n = stage.workload.commit_many(&mut app, 10);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    expect_latest(&stage, n);
}

#[test]
fn a_replica_that_vanishes_from_an_idle_database_is_missed_at_the_end() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-idle", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 10);
    stage.tool.await_n(&stage.replica, n);
    remove_replica(&stage.replica);
    replicator.stop();
    expect_latest(&stage, n);
}

#[test]
fn a8_a_hole_in_the_replica_is_bridged_by_a_snapshot() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-hole", Mix::Small);
    let mut app = stage.create(Layout::default());
    for _ in 0..5 {
        stage.workload.commit_many(&mut app, 2);
        stage.tool.replicate_once(&stage.db, &stage.replica);
    }
    let files = stage.replica.files();
    fs::remove_file(&files[2].path).expect("remove a file from the middle");
    let n = stage.workload.commit_many(&mut app, 2);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
    let n = stage.workload.commit_many(&mut app, 2);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

#[test]
fn another_page_size_without_local_state_begins_with_a_snapshot() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-page-size", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 3);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    drop(app);
    stage.remove_database();
    fs::remove_dir_all(stage.local_state()).expect("remove the local state");
    let layout = Layout { page_size: 8192, ..Layout::default() };
    let mut app = stage.create(layout);
    let n = stage.workload.commit_many(&mut app, 4);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

#[test]
fn a_staged_file_that_a_power_cut_has_emptied_is_not_uploaded() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-torn", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.take_replica_away();
    let staged = Replica::new(stage.local_state());
    wait::until("files that wait for their upload", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        (staged.files().len() >= 4).then_some(())
    });
    replicator.kill();
    stage.bring_replica_back();
    let files = staged.files();
    let torn = &files[files.len() - 2].path;
    fs::write(torn, b"").expect("empty a staged file");
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

#[test]
fn a_staged_file_that_rots_while_the_storage_is_away_is_not_uploaded() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-rotten", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.take_replica_away();
    let staged = Replica::new(stage.local_state());
    let first = staged.last_txid() + 1;
    wait::until("files that wait for their upload", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        (staged.last_txid() >= first + 4).then_some(())
    });
    let rotten = staged.files().into_iter().find(|file| file.min == first).expect("the first");
    let mut bytes = fs::read(&rotten.path).expect("read a staged file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&rotten.path, bytes).expect("damage it");
    stage.bring_replica_back();
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn a5_a_replica_of_another_database_is_not_continued() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-foreign", Mix::Small);
    let other = Stage::new("heal-foreign-other", Mix::Small);
    let mut app = stage.create(Layout::default());
    let mut others = other.create(Layout::default());
    for _ in 0..4 {
        stage.workload.commit_many(&mut app, 2);
        stage.tool.replicate_once(&stage.db, &stage.replica);
        other.workload.commit_many(&mut others, 3);
        other.tool.replicate_once(&other.db, &other.replica);
    }
    remove_replica(&stage.replica);
    fs::rename(other.replica.path(), stage.replica.path()).expect("swap the replicas");
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

/// What waited for a replica is not all that there is to carry to it.
#[test]
fn success_is_said_of_the_last_commit_and_not_of_what_was_staged_before() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-staged", Mix::Small);
    let mut app = stage.create(Layout::default());
    app.execute_batch("CREATE TABLE filler (x); INSERT INTO filler VALUES (randomblob(20000000))")
        .expect("fill");
    stage.workload.commit_many(&mut app, 3);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    stage.take_replica_away();
    for _ in 0..3 {
        stage.workload.commit_many(&mut app, 2);
        let mut failed = stage.tool.replicate_with(&["-once"], &stage.db, &stage.replica);
        assert!(!failed.await_exit().success(), "nothing was replicated\n{}", failed.log());
    }
    let n = stage.workload.commit_many(&mut app, 10);
    app.execute_batch("PRAGMA wal_checkpoint(truncate)").expect("checkpoint");
    stage.bring_replica_back();
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

/// As that of a server whose disk is not mounted yet.
#[test]
fn a_replica_that_looks_empty_for_a_while_loses_nothing() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-unmounted", Mix::Small);
    let mut app = stage.create(Layout::default());
    for _ in 0..4 {
        stage.workload.commit_many(&mut app, 2);
        stage.tool.replicate_once(&stage.db, &stage.replica);
    }
    let away = Replica::new(stage.scratch.path("away"));
    fs::rename(stage.replica.path(), away.path()).expect("unmount");
    for _ in 0..2 {
        stage.workload.commit_many(&mut app, 2);
        stage.tool.replicate_once(&stage.db, &stage.replica);
    }
    for file in away.files() {
        let below = file.path.strip_prefix(away.path()).expect("below it");
        let there = stage.replica.path().join(below);
        assert!(!there.exists(), "{} was given twice", there.display());
        fs::create_dir_all(there.parent().expect("a level")).expect("create the level");
        fs::copy(&file.path, &there).expect("mount");
    }
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    expect_latest(&stage, n);
}

#[test]
fn a_second_replicator_of_one_database_is_refused() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-second", Mix::Small);
    let mut app = stage.create(Layout::default());
    let first = stage.replicate_first();
    let mut second = stage.replicate();
    let from = second.log().len();
    stage.await_logged(&second, from, &["is another brooklet replicating"]);
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    assert!(!second.terminate().success(), "it may not say that all is well");
    first.stop();
    stage.expect_all_right(n);
}

#[test]
fn a_link_to_the_database_is_followed() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-link", Mix::Small);
    let mut app = stage.create(Layout::default());
    let link = stage.scratch.path("link.db");
    std::os::unix::fs::symlink(&stage.db, &link).expect("link");
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&link, &stage.replica);
    expect_latest(&stage, n);
    drop(app);
    let _: Connection = Connection::open(&stage.db).expect("the database is as it was");
}

/// A limit of the size of files stands for the full disk: nothing large can be staged.
#[test]
fn a21_a_full_disk_is_told_and_the_application_goes_on() {
    let _turn = turn::shared();
    let stage = Stage::new("heal-full", Mix::Small);
    let mut app = stage.create(Layout::default());
    app.execute_batch("CREATE TABLE filler (x); INSERT INTO filler VALUES (randomblob(4000000))")
        .expect("fill");
    let limited = stage.tool.with_file_size(1 << 20);
    let replicator = limited.replicate(&stage.db, &stage.replica);
    stage.await_logged(&replicator, 0, &["level=error"]);
    let n = stage.workload.commit_many(&mut app, 20);
    assert_eq!(stage.replica.last_txid(), 0, "nothing half-written is in the replica");
    assert!(stage.oracle().check(&app).is_ok(), "the application's database is sound");
    replicator.kill();
    let replicator = stage.replicate();
    assert!(stage.tool.await_n(&stage.replica, n) >= n);
    replicator.stop();
    stage.expect_all_right(n);
}
