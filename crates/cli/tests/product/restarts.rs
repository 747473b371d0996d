//! The replicator is killed and stopped again and again while an application writes; then every
//! TXID of the replica is restored. (failures.md A1, A3: Litestream gets a quarter of them wrong.)

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::{Chaos, Layout, Mix, Process, Replica, Vacuum, Writer, scaled, turn};

use crate::stage::Stage;

#[test]
fn every_txid_is_a_committed_state_after_restarts_under_load() {
    let _turn = turn::shared();
    let mut stage = Stage::new("restarts", Mix::Small);
    drop(stage.create(Layout::default()));
    let writer = Process::start(Writer { rate: 120, ..stage.writer() });
    restart_under_load(&mut stage, writer, scaled(12));
}

#[test]
fn every_txid_is_a_committed_state_after_restarts_under_all_kinds_of_transactions() {
    let _turn = turn::shared();
    let mut stage = Stage::new("restarts-all", Mix::Everything);
    drop(stage.create(Layout { incremental_vacuum: true, ..Layout::default() }));
    let writer = Process::start(Writer { rate: 60, ..stage.writer() });
    restart_under_load(&mut stage, writer, scaled(8));
}

#[test]
fn every_txid_is_a_committed_state_when_the_application_reopens_its_database() {
    let _turn = turn::shared();
    let mut stage = Stage::new("reopens", Mix::Small);
    drop(stage.create(Layout::default()));
    let writer = Process::start(Writer { rate: 80, reopen: 7, ..stage.writer() });
    restart_under_load(&mut stage, writer, scaled(8));
}

#[test]
fn nothing_is_lost_while_checkpoints_are_left_to_an_application_at_full_speed() {
    let _turn = turn::alone();
    let mut stage = Stage::new("left", Mix::Inserts);
    drop(stage.create(Layout::default()));
    let full_speed = Writer { rate: 0, synchronous: "OFF".to_owned(), ..stage.writer() };
    for round in 0..scaled(3) {
        let mut replicator =
            stage.tool.replicate_with(&["-log-level", "debug"], &stage.db, &stage.replica);
        replicator.await_first_file(&stage.replica);
        let writer = Process::start(full_speed.clone());
        stage.await_logged(&replicator, 0, &["checkpoints are left to the application"]);
        writer.await_commits(stage.rng.u64(1000..20_000));
        let (acknowledged, kill) = (writer.report().committed, round % 2 == 0);
        match kill {
            true => replicator.kill(),
            false => replicator.stop(),
        }
        let restored = stage.tool.restored_n(&stage.replica);
        assert!(kill || restored >= Some(acknowledged), "{restored:?}, not {acknowledged}");
        writer.await_commits(10);
        writer.stop();
    }
    let replicator = stage.replicate_first();
    let last = Process::start(Writer { rate: 200, limit: 50, ..stage.writer() });
    let n = last.await_done().committed;
    replicator.stop();
    stage.expect_some_right(n, 8);
}

#[test]
fn nothing_is_lost_where_what_was_kept_cannot_be_stored() {
    let _turn = turn::alone();
    let stage = Stage::new("left-full", Mix::Inserts);
    drop(stage.create(Layout::default()));
    let mut replicator =
        stage.tool.replicate_with(&["-log-level", "debug"], &stage.db, &stage.replica);
    replicator.await_first_file(&stage.replica);
    let full_speed = Writer { rate: 0, synchronous: "OFF".to_owned(), ..stage.writer() };
    let writer = Process::start(full_speed);
    stage.await_logged(&replicator, 0, &["checkpoints are left to the application"]);
    let captured = stage.local_state().join("ltx/0");
    let aside = captured.with_file_name("aside");
    fs::rename(&captured, &aside).expect("move the captured files away");
    fs::write(&captured, "").expect("have no directory for them");
    stage.await_logged(&replicator, 0, &["replication failed"]);
    writer.await_commits(1000);
    fs::remove_file(&captured).expect("remove what was in the way");
    fs::rename(&aside, &captured).expect("move the captured files back");
    writer.await_commits(1000);
    let n = writer.stop().committed;
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_some_right(n, 8);
}

#[test]
fn nothing_is_lost_at_full_speed_beside_others_that_write_and_checkpoint() {
    let _turn = turn::alone();
    let stage = Stage::new("left-crowd", Mix::Small);
    drop(stage.create(Layout::default()));
    let replicator = stage.replicate_first();
    let full_speed = Writer { rate: 0, synchronous: "OFF".to_owned(), ..stage.writer() };
    let writer = Process::start(full_speed.clone());
    let another = Process::start(Writer { rate: 100, ..full_speed });
    let vacuum =
        Process::start(Vacuum { db: stage.db.clone(), seed: stage.rng.get_seed(), pause: 200 });
    let chaos =
        Process::start(Chaos { db: stage.db.clone(), seed: stage.rng.get_seed(), pause: 20 });
    writer.await_commits(scaled(15_000));
    another.stop();
    vacuum.stop();
    chaos.stop();
    let n = writer.stop().committed;
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_some_right(n, 8);
}

fn restart_under_load(stage: &mut Stage, writer: Process, restarts: u64) {
    let mut lost = Vec::new();
    for _ in 0..restarts {
        let replicator = stage.replicate_first();
        writer.await_commits(stage.rng.u64(5..150));
        if stage.rng.bool() {
            replicator.kill();
        } else {
            let acknowledged = writer.report().committed;
            replicator.stop();
            let restored = stage.tool.restored_n(&stage.replica);
            if restored < Some(acknowledged) {
                lost.push((acknowledged, restored));
            }
        }
        writer.await_commits(stage.rng.u64(0..20));
    }
    let replicator = stage.replicate_first();
    writer.await_commits(20);
    let n = writer.stop().committed;
    replicator.stop();
    stage.expect_all_right(n);
    assert_eq!(lost, [], "acknowledged before SIGTERM, and what the replica had after it");
}

#[test]
fn sigterm_waits_for_the_last_commit() {
    let _turn = turn::shared();
    let stage = Stage::new("sigterm", Mix::Small);
    let mut app = stage.create(Layout::default());
    let mut n = 0;
    for _ in 0..scaled(5) {
        let replicator = stage.replicate_first();
        n = stage.workload.commit_many(&mut app, 30);
        replicator.stop();
        assert_eq!(stage.tool.restored_n(&stage.replica), Some(n), "after SIGTERM");
    }
    stage.expect_all_right(n);
}

#[test]
fn a_lister_never_sees_a_short_file_whenever_the_replicator_is_killed() {
    let _turn = turn::shared();
    let mut stage = Stage::new("lister", Mix::Growth);
    drop(stage.create(Layout::default()));
    let writer = Process::start(Writer { rate: 40, ..stage.writer() });
    let stop = AtomicBool::new(false);
    let replica = stage.replica.clone();
    let seen = std::thread::scope(|threads| {
        let lister = threads.spawn(|| list_until(&stop, &replica));
        for _ in 0..scaled(8) {
            let replicator = stage.replicate();
            writer.await_commits(stage.rng.u64(1..40));
            replicator.kill();
        }
        stop.store(true, Ordering::Relaxed);
        lister.join().expect("the lister")
    });
    assert!(!seen.is_empty(), "no file was ever there");
    for file in stage.replica.files() {
        if let Some(&size) = seen.get(&file.path) {
            assert_eq!(size, file.size, "{} was seen half written", file.path.display());
        }
    }
    let n = writer.stop().committed;
    let replicator = stage.replicate();
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_all_right(n);
}

/// The size that each file had when it was first seen.
fn list_until(stop: &AtomicBool, replica: &Replica) -> BTreeMap<PathBuf, u64> {
    let mut seen = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        for file in replica.files() {
            seen.entry(file.path).or_insert(file.size);
        }
    }
    seen
}
