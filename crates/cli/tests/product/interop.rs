//! Either program reads what the other wrote, and takes over where the other stopped.

use testkit::sweep::sweep_of;
use testkit::{Layout, Mix, Process, Tool, Writer, scaled, turn};

use crate::stage::{Stage, brooklet};

/// More than any increment here, less than a snapshot.
const HALF_A_SNAPSHOT: u64 = 1 << 20;

#[test]
fn litestreams_replica_restores_alike_at_every_txid() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let mut stage = Stage::new("their-replica", Mix::Everything);
    drop(stage.create(Layout { incremental_vacuum: true, ..Layout::default() }));
    let writer = Process::start(Writer { rate: 40, ..stage.writer() });
    for _ in 0..scaled(4) {
        let mut replicator = litestream.replicate(&stage.db, &stage.replica);
        replicator.await_first_file(&stage.replica);
        let txid = stage.replica.last_txid();
        testkit::wait::until("new TXIDs", testkit::tool::PATIENCE, || {
            (stage.replica.last_txid() >= txid + 3).then_some(())
        });
        if stage.rng.bool() {
            replicator.kill();
        } else {
            replicator.stop();
        }
    }
    writer.stop();
    stage.expect_same_restores(&litestream);
}

#[test]
fn our_replica_restores_alike_at_every_txid_after_restarts_under_load() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let mut stage = Stage::new("our-replica", Mix::Everything);
    drop(stage.create(Layout { incremental_vacuum: true, ..Layout::default() }));
    let writer = Process::start(Writer { rate: 60, ..stage.writer() });
    for _ in 0..scaled(5) {
        let replicator = stage.replicate_first();
        writer.await_commits(stage.rng.u64(10..100));
        replicator.kill();
    }
    let replicator = stage.replicate_first();
    let n = writer.stop().committed;
    replicator.stop();
    stage.expect_same_restores(&litestream);
    stage.expect_all_right(n);
}

/// In place: same database, same replica, same local state, the application stays connected. The
/// transactions go on; only our snapshot beside them is new.
#[test]
fn either_takes_over_from_the_other_without_starting_over() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    std::thread::scope(|orders| {
        orders.spawn(|| take_turns(&litestream, [&litestream, &brooklet()]));
        orders.spawn(|| take_turns(&litestream, [&brooklet(), &litestream]));
    });
}

fn take_turns(litestream: &Tool, tools: [&Tool; 2]) {
    let stage = Stage::new("take-over", Mix::Small);
    let mut app = stage.create(Layout::default());
    fill(&app);
    let (mut n, mut last) = (0, 0);
    for (round, tool) in tools.into_iter().cycle().take(6).enumerate() {
        let mut replicator = tool.replicate(&stage.db, &stage.replica);
        replicator.await_first_file(&stage.replica);
        for _ in 0..2 {
            n = stage.workload.commit_many(&mut app, 5);
            stage.tool.await_n(&stage.replica, n);
        }
        n = stage.workload.commit_many(&mut app, 5);
        replicator.stop();
        for file in stage.replica.increments_after(last) {
            let small = file.size < HALF_A_SNAPSHOT;
            assert!(round == 0 || small, "round {round}: {tool:?} wrote a snapshot: {file:?}");
        }
        last = stage.replica.last_txid();
    }
    stage.expect_all_right(n);
    stage.expect_same_restores(litestream);
}

/// On a fresh host: the replica is there, the local state is not.
#[test]
fn either_goes_on_with_the_others_replica_without_local_state() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("fresh-host", Mix::Small);
    let mut app = stage.create(Layout::default());
    let mut n = 0;
    for tool in [&litestream, &stage.tool, &litestream, &stage.tool] {
        let last = stage.replica.last_txid();
        let mut replicator = tool.replicate(&stage.db, &stage.replica);
        replicator.await_first_file(&stage.replica);
        n = stage.workload.commit_many(&mut app, 10);
        stage.tool.await_n(&stage.replica, n);
        replicator.stop();
        std::fs::remove_dir_all(stage.local_state()).expect("remove the local state");
        assert!(stage.replica.last_txid() > last, "TXIDs went back");
    }
    stage.expect_all_right(n);
    stage.expect_same_restores(&litestream);
}

/// Litestream's own tables and rows stay what they are when we take over.
#[test]
fn litestreams_restore_of_our_latest_equals_the_live_database() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("latest", Mix::Everything);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 60);
    replicator.stop();
    let last = stage.replica.last_txid();
    sweep_of(&litestream, &stage.replica, &mut stage.oracle(), &[last]).expect_all_right(n);
}

/// Bytes that do not compress, so that a snapshot is told by its size.
fn fill(app: &rusqlite::Connection) {
    app.execute_batch("CREATE TABLE filler(x); INSERT INTO filler VALUES (randomblob(4 << 20));")
        .expect("fill");
}
