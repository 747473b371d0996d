//! Levels, snapshots and retention beside running replication, and several replicas.
//! (failures.md A6, A7, A26, A46, A47)

use std::fs;
use std::path::PathBuf;

use testkit::sweep::sweep_of;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Process, Replica, Tool, scaled, turn, wait};

use crate::stage::Stage;

/// The times of a day in some seconds.
const FAST: &str = "\
levels: [{interval: 500ms}, {interval: 2s}]
l0-retention: 1s
snapshot: {interval: 3s, retention: 6s}
sync-interval: 50ms
";

fn config(stage: &Stage, replicas: &[&Replica], more: &str) -> PathBuf {
    let path = stage.scratch.path("litestream.yml");
    let urls: Vec<String> = replicas.iter().map(|it| format!("{{url: {}}}", it.url())).collect();
    let (db, urls) = (stage.db.display(), urls.join(", "));
    let text = format!("dbs:\n- path: {db}\n  replicas: [{urls}]\n{more}");
    fs::write(&path, text).expect("write a configuration");
    path
}

fn count(replica: &Replica, level: u8) -> usize {
    replica.files().iter().filter(|file| file.level == level).count()
}

/// What a level ends with.
fn end(replica: &Replica, level: u8) -> u64 {
    replica
        .files()
        .iter()
        .filter(|file| file.level == level)
        .map(|file| file.max)
        .max()
        .unwrap_or(0)
}

/// Those that can be restored: from the oldest snapshot on.
fn restorable(replica: &Replica) -> Vec<u64> {
    let snapshots = replica.files().into_iter().filter(|file| file.level == 9);
    let first = snapshots.map(|file| file.max).min().expect("a snapshot");
    replica.txids().into_iter().filter(|txid| *txid >= first).collect()
}

#[test]
fn a47_a_replica_stays_small_and_right_while_it_is_compacted() {
    let _turn = turn::shared();
    let mut stage = Stage::new("history", Mix::Everything);
    drop(stage.create(Layout { incremental_vacuum: true, ..Layout::default() }));
    let config = config(&stage, &[&stage.replica], FAST);
    let writer = Process::start(testkit::Writer { rate: 60, ..stage.writer() });
    for round in 0..scaled(4) {
        let mut replicator = stage.tool.replicate_config(&config, &stage.db);
        replicator.await_first_file(&stage.replica);
        let begun = [1, 2, 9].map(|level| end(&stage.replica, level));
        wait::until("every level to move on", PATIENCE, || {
            let ends = [1, 2, 9].map(|level| end(&stage.replica, level));
            ends.iter().zip(begun).all(|(end, begun)| *end > begun).then_some(())
        });
        wait::until("old files to go", PATIENCE, || {
            let gone = stage.replica.files().iter().all(|file| file.level != 9 || file.max > 1);
            gone.then_some(())
        });
        if round % 2 == 0 && stage.rng.bool() { replicator.kill() } else { replicator.stop() }
    }
    let mut replicator = stage.tool.replicate_config(&config, &stage.db);
    let n = writer.stop().committed;
    replicator.await_first_file(&stage.replica);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();

    let txids = restorable(&stage.replica);
    let mut oracle = stage.oracle();
    oracle.committed(n);
    let found = sweep_of(&stage.tool, &stage.replica, &mut oracle, &txids);
    println!("{} TXIDs swept, {n} transactions", found.txids);
    found.expect_all_right(n);
    assert!(count(&stage.replica, 0) < 200, "{:?}", stage.replica.files());
    if let Some(litestream) = Tool::litestream() {
        let newest = &txids[txids.len().saturating_sub(20)..];
        let found = sweep_of(&litestream, &stage.replica, &mut stage.oracle(), newest);
        found.expect_all_right(n);
    }
}

/// What is ours to promise after Litestream wrote to the replica, up to `from`: everything from our
/// first snapshot on. Litestream 0.5.17 loses what was committed before it has its read lock, if the
/// application has copied that back and started the WAL anew ("lost tail", format.md 3.5).
fn ours(replica: &Replica, from: u64) -> Vec<u64> {
    let snapshots = replica.files().into_iter().filter(|file| file.level == 9);
    let own = snapshots.filter(|file| file.max >= from && file.is_proven()).map(|file| file.max);
    let base = own.min().expect("a snapshot of ours");
    replica.txids().into_iter().filter(|txid| *txid >= base).collect()
}

#[test]
fn litestreams_compacted_replica_goes_on_under_us_and_back() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("history-over", Mix::Small);
    let mut app = stage.create(Layout::default());
    let config = config(&stage, &[&stage.replica], FAST);
    let mut n = 0;
    for tool in [&litestream, &stage.tool, &litestream, &stage.tool] {
        let handed_over = stage.replica.last_txid();
        let mut replicator = tool.replicate_config(&config, &stage.db);
        replicator.await_first_file(&stage.replica);
        let begun = [1, 2, 9].map(|level| end(&stage.replica, level));
        wait::until("every level to move on", PATIENCE, || {
            n = stage.workload.commit_many(&mut app, 1);
            let ends = [1, 2, 9].map(|level| end(&stage.replica, level));
            ends.iter().zip(begun).all(|(end, begun)| *end > begun).then_some(())
        });
        replicator.stop();
        for reader in [&litestream, &stage.tool] {
            assert_eq!(
                reader.restored_n(&stage.replica),
                Some(n),
                "{tool:?} wrote, {reader:?} reads"
            );
        }
        if !tool.is_litestream() {
            let txids = ours(&stage.replica, handed_over);
            println!("{} of ours, from {:x} after {handed_over:x}", txids.len(), txids[0]);
            let mut oracle = stage.oracle();
            sweep_of(&stage.tool, &stage.replica, &mut oracle, &txids).expect_all_right(n);
            let newest = &txids[txids.len().saturating_sub(5)..];
            sweep_of(&litestream, &stage.replica, &mut oracle, newest).expect_all_right(n);
        }
    }
}

#[test]
fn what_litestream_lost_before_we_take_over_is_there_afterwards() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("history-lost", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 150);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    // Nobody watches: the tail of one WAL is copied back, and the next one begins.
    stage.workload.commit_many(&mut app, 60);
    let (_, log, copied) = app
        .query_row("PRAGMA wal_checkpoint(passive)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .expect("checkpoint");
    assert_eq!(log, copied, "the WAL is copied back whole");
    let n = stage.workload.commit_many(&mut app, 2);
    litestream.replicate_once(&stage.db, &stage.replica);
    let handed_over = stage.replica.last_txid();
    let last = [handed_over];
    let theirs = sweep_of(&litestream, &stage.replica, &mut stage.oracle(), &last);
    println!("what Litestream left: {theirs}");

    // Without a commit, so that the last transaction is still Litestream's; and with some.
    for commits in [0, 3] {
        let before = stage.replica.last_txid();
        let replicator = stage.replicate();
        wait::until("a snapshot of ours", PATIENCE, || {
            let mut files = stage.replica.files().into_iter();
            files.any(|it| it.level == 9 && it.max >= handed_over && it.is_proven()).then_some(())
        });
        let n = if commits > 0 { stage.workload.commit_many(&mut app, commits) } else { n };
        replicator.stop();
        let txids = ours(&stage.replica, handed_over);
        assert_eq!((txids[0], before), (handed_over, handed_over), "at once, and once");
        sweep_of(&stage.tool, &stage.replica, &mut stage.oracle(), &txids).expect_all_right(n);
    }
}

#[test]
fn a_replica_that_is_down_holds_no_other_and_catches_up() {
    let _turn = turn::shared();
    let stage = Stage::new("history-two", Mix::Small);
    let mut app = stage.create(Layout::default());
    let other = Replica::new(stage.scratch.path("other"));
    let config = config(&stage, &[&stage.replica, &other], "sync-interval: 50ms\n");
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.tool.await_n(&other, n);
    let away = stage.scratch.path("away");
    fs::rename(other.path(), &away).expect("take a replica away");
    fs::write(other.path(), b"not a directory").expect("put a file in its place");
    for _ in 0..3 {
        let n = stage.workload.commit_many(&mut app, 5);
        stage.tool.await_n(&stage.replica, n);
    }
    fs::remove_file(other.path()).expect("remove the file in its place");
    fs::rename(&away, other.path()).expect("bring the replica back");
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.tool.await_n(&other, n);
    replicator.stop();
    for replica in [&stage.replica, &other] {
        let txids: Vec<u64> = replica.txids().into_iter().collect();
        sweep_of(&stage.tool, replica, &mut stage.oracle(), &txids).expect_all_right(n);
    }
}

#[test]
fn what_waits_for_a_replica_is_bounded_and_a_snapshot_catches_up() {
    let _turn = turn::shared();
    let stage = Stage::new("history-behind", Mix::Small);
    let mut app = stage.create(Layout::default());
    let other = Replica::new(stage.scratch.path("other"));
    let more = "  spool-limit: 20kB\nsync-interval: 10ms\n";
    let config = config(&stage, &[&stage.replica, &other], more);
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    stage.tool.await_n(&other, n);
    let away = stage.scratch.path("away");
    fs::rename(other.path(), &away).expect("take a replica away");
    fs::write(other.path(), b"not a directory").expect("put a file in its place");
    let from = replicator.log().len();
    wait::until("the replica to be given up", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        replicator.log()[from..].contains("it is given up").then_some(())
    });
    fs::remove_file(other.path()).expect("remove the file in its place");
    fs::rename(&away, other.path()).expect("bring the replica back");
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&other, n);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    assert_eq!(stage.tool.restored_n(&other), Some(n));
    assert!(count(&other, 9) > 1, "{:?}", other.files());
}

#[test]
fn a6_restores_succeed_while_files_are_compacted_and_deleted() {
    let _turn = turn::shared();
    let stage = Stage::new("history-races", Mix::Small);
    drop(stage.create(Layout::default()));
    let more = "levels: [{interval: 20ms}, {interval: 60ms}]\nl0-retention: 1ms\n\
                snapshot: {interval: 200ms, retention: 100ms}\nsync-interval: 5ms\n";
    let config = config(&stage, &[&stage.replica], more);
    let mut replicator = stage.tool.replicate_config(&config, &stage.db);
    replicator.await_first_file(&stage.replica);
    let writer = Process::start(testkit::Writer { rate: 300, ..stage.writer() });
    let (mut oracle, output) = (stage.oracle(), stage.scratch.path("restored"));
    let mut before = 0;
    for round in 0..scaled(60) {
        stage.tool.restore(&stage.replica, None, &output).expect("restore while files go");
        let n = oracle.check_file(&output).expect("a committed state");
        assert!(n >= before, "round {round}: back from {before} to {n}");
        before = n;
        fs::remove_file(&output).expect("remove the restored file");
    }
    let n = writer.stop().committed;
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    assert!(before > 0, "something was restored");
}
