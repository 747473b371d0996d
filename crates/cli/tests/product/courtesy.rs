//! What the application must not notice: locks, changes to its file, a growing WAL, a lost pin.
//! (failures.md A11, A33, A35, A40, A42)

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use testkit::oracle::own_tables;
use testkit::{Layout, Mix, Process, Reader, Writer, locks, scaled, turn, wait};

use crate::stage::Stage;

const MAX_WAL: u64 = 64 << 20;

#[test]
fn an_application_without_busy_timeout_is_never_locked_out() {
    let _turn = turn::alone();
    let stage = Stage::new("busy", Mix::Small);
    drop(stage.create(Layout::default()));
    let impatient = Writer { rate: 200, busy_timeout: 0, ..stage.writer() };
    let writer = Process::start(impatient);
    let reader = Process::start(Reader { db: stage.db.clone(), hold: 30 });
    for _ in 0..scaled(3) {
        let replicator = stage.replicate_first();
        writer.await_commits(600);
        replicator.stop();
    }
    let (written, read) = (writer.stop(), reader.stop());
    println!("longest commit: {} us", written.longest_commit);
    assert_eq!(written.busy, [""; 0], "commits that were locked out");
    assert_eq!(read.busy, [""; 0], "reads that were locked out");
}

#[test]
fn a_long_reader_and_an_impatient_writer_live_beside_the_replicator() {
    let _turn = turn::alone();
    let stage = Stage::new("long-reader", Mix::Small);
    drop(stage.create(Layout::default()));
    let reader = Process::start(Reader { db: stage.db.clone(), hold: 60_000 });
    let replicator = stage.replicate_first();
    let limit = scaled(1500);
    let writer = Writer { rate: 300, busy_timeout: 250, limit, ..stage.writer() };
    let written = Process::start(writer).await_done();
    println!("longest commit: {} us", written.longest_commit);
    assert_eq!(written.busy, [""; 0], "commits that waited for more than 250 ms");
    replicator.stop();
    reader.stop();
    stage.expect_all_right(written.committed);
}

#[test]
fn the_schema_stays_as_it_is() {
    let _turn = turn::shared();
    let stage = Stage::new("schema", Mix::Everything);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 50);
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 50);
    stage.tool.await_n(&stage.replica, n);
    assert_eq!(own_tables(&app).expect("read the schema"), [""; 0], "tables of the replicator");
    replicator.stop();
    assert_eq!(own_tables(&app).expect("read the schema"), [""; 0], "tables of the replicator");
    assert_eq!(stage.oracle().check(&app), Ok(n));
}

#[test]
fn a36_an_idle_replicator_changes_nothing() {
    let _turn = turn::shared();
    let stage = Stage::new("idle", Mix::Small);
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 50);
    let version = |app: &Connection| -> i64 {
        app.query_row("PRAGMA data_version", [], |row| row.get(0)).expect("the data version")
    };
    let before = version(&app);
    let replicator = stage.replicate_first();
    stage.tool.await_n(&stage.replica, n);
    let (txid, wal) = (stage.replica.last_txid(), size(&stage.wal()));
    wait::throughout(Duration::from_secs(3), || {
        assert_eq!(version(&app), before, "the database was changed");
        assert_eq!(stage.replica.last_txid(), txid, "an idle database got a new TXID");
        assert_eq!(size(&stage.wal()), wal, "the WAL of an idle database changed");
    });
    replicator.stop();
    assert_eq!(version(&app), before, "the database was changed");
}

#[test]
fn a_database_that_nobody_uses_stays_the_same_byte_for_byte() {
    let _turn = turn::shared();
    let stage = Stage::new("bytes", Mix::Everything);
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 80);
    drop(app);
    let before = read(&stage.db);
    let replicator = stage.replicate_first();
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    assert!(before == read(&stage.db), "the file changed");
    stage.tool.replicate_once(&stage.db, &stage.replica);
    assert!(before == read(&stage.db), "the file changed by -once");
    assert_eq!(size(&stage.wal()), 0, "a WAL was left beside the database");
    stage.expect_all_right(n);
}

/// What is in a WAL of a crashed application may be checkpointed by us, and nothing else changes.
#[test]
fn a_crashed_applications_wal_is_kept() {
    let _turn = turn::shared();
    let stage = Stage::new("crashed", Mix::Everything);
    drop(stage.create(Layout::default()));
    let writer = Process::start(Writer { autocheckpoint: 0, ..stage.writer() });
    writer.await_commits(60);
    let n = writer.kill().committed;
    let twin = stage.scratch.path("twin.db");
    fs::copy(&stage.db, &twin).expect("copy the database");
    fs::copy(stage.wal(), stage.scratch.path("twin.db-wal")).expect("copy the WAL");
    let replicator = stage.replicate_first();
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    for db in [&stage.db, &twin] {
        let db = Connection::open(db).expect("open");
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    }
    assert!(read(&stage.db) == read(&twin), "the file differs from SQLite's own checkpoint");
    let restored = stage.tool.restored_n(&stage.replica);
    assert!(restored >= Some(n), "{n} was acknowledged, restored {restored:?}");
}

#[test]
fn a_database_in_rollback_mode_is_switched_to_wal_and_only_that() {
    let _turn = turn::shared();
    let stage = Stage::new("rollback-mode", Mix::Everything);
    let mut app = stage.create(Layout { wal: false, ..Layout::default() });
    let n = stage.workload.commit_many(&mut app, 50);
    drop(app);
    let before = read(&stage.db);
    let replicator = stage.replicate_first();
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    let after = read(&stage.db);
    assert_eq!(before.len(), after.len());
    let changed = (0..before.len()).filter(|&at| before[at] != after[at]).collect::<Vec<_>>();
    let mode_and_change_counters =
        |at: &usize| [18, 19].contains(at) || (24..28).contains(at) || (92..100).contains(at);
    assert!(changed.iter().all(mode_and_change_counters), "bytes that changed: {changed:?}");
    stage.expect_all_right(n);
}

#[test]
fn a_read_mark_is_held_all_the_time() {
    let _turn = turn::alone();
    let stage = Stage::new("read-mark", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 10);
    let replicator = stage.replicate_first();
    let writer = Process::start(Writer { rate: 0, ..stage.writer() });
    let locked = || locks::held(replicator.pid(), &stage.shm());
    wait::until("the first read mark", Duration::from_secs(10), || {
        locked().filter(|held| locks::has_read_mark(held))
    });
    let (mut looks, mut without) = (0_u32, Vec::new());
    wait::throughout(Duration::from_secs(scaled(6)), || {
        for held in std::iter::repeat_with(locked).take(20).flatten() {
            looks += 1;
            if !locks::has_read_mark(&held) {
                without.push(held);
            }
        }
    });
    writer.stop();
    replicator.stop();
    println!("looked at the locks {looks} times");
    assert!(looks > 100, "the list of locks was hardly ever readable");
    assert!(without.is_empty(), "locks at moments without a read mark: {without:?}");
}

#[test]
fn nobody_restarts_the_wal_over_what_is_not_captured() {
    let _turn = turn::shared();
    let stage = Stage::new("restart", Mix::Small);
    let mut app = stage.create(Layout::default());
    app.busy_timeout(Duration::ZERO).expect("no patience");
    let replicator = stage.replicate_first();
    for _ in 0..scaled(200) {
        stage.workload.commit_many(&mut app, 1);
        app.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    }
    let n = stage.workload.commit_many(&mut app, 1);
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn the_wal_stays_small_under_a_writer_at_full_speed_and_after() {
    let _turn = turn::alone();
    let stage = Stage::new("wal-size", Mix::Inserts);
    drop(stage.create(Layout::default()));
    let replicator = stage.replicate_first();
    let full_speed = Writer { rate: 0, synchronous: "OFF".to_owned(), ..stage.writer() };
    let writer = Process::start(full_speed);
    let mut largest = 0;
    wait::throughout(Duration::from_secs(scaled(8)), || {
        largest = largest.max(size(&stage.wal()));
    });
    let written = writer.stop();
    println!(
        "{} commits, the longest took {} us, the WAL had at most {} MB",
        written.commits,
        written.longest_commit,
        largest >> 20
    );
    assert!(largest <= MAX_WAL, "the WAL grew to {} MB", largest >> 20);
    let after = Process::start(Writer { rate: 200, limit: 400, ..stage.writer() });
    let n = after.await_done().committed;
    assert!(size(&stage.wal()) <= MAX_WAL, "the WAL grew afterwards");
    replicator.stop();
    stage.expect_some_right(n, 6);
}

#[test]
fn the_wal_stays_small_under_several_writers_at_full_speed() {
    let _turn = turn::alone();
    let stage = Stage::new("wal-crowd", Mix::Inserts);
    drop(stage.create(Layout::default()));
    let replicator = stage.replicate_first();
    let full_speed = Writer { rate: 0, synchronous: "OFF".to_owned(), ..stage.writer() };
    let writers = [(); 3].map(|()| Process::start(full_speed.clone()));
    let mut largest = 0;
    wait::throughout(Duration::from_secs(scaled(5)), || {
        largest = largest.max(size(&stage.wal()));
    });
    let n = writers.map(|it| it.stop().committed).into_iter().max().unwrap_or_default();
    println!("{n} commits, the WAL had at most {} MB", largest >> 20);
    assert!(largest <= MAX_WAL, "the WAL grew to {} MB", largest >> 20);
    replicator.stop();
    stage.expect_some_right(n, 6);
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).expect("read a file")
}
