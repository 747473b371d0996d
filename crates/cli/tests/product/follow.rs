//! Copies that follow a replica. (failures.md A15, A23, A27)

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use testkit::oracle::open_immutable;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mismatch, Mix, Oracle, Process, Replica, Tool, Writer, scaled, turn, wait};

use crate::stage::Stage;

fn reader(copy: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(copy, flags).expect("open the copy");
    db.busy_timeout(PATIENCE).expect("be patient");
    db
}

/// What one read transaction sees.
fn look(db: &Connection, oracle: &mut Oracle) -> Result<u64, Mismatch> {
    db.execute_batch("BEGIN").expect("begin to read");
    let seen = oracle.check(db);
    db.execute_batch("COMMIT").expect("end to read");
    seen
}

fn await_copy(db: &Connection, oracle: &mut Oracle, n: u64) {
    wait::until(&format!("transaction {n} in the copy"), PATIENCE, || {
        (look(db, oracle).expect("a committed state") >= n).then_some(())
    });
}

fn await_made(copy: &Path) {
    let sidecar = beside(copy, "-txid");
    wait::until("the copy", PATIENCE, || sidecar.exists().then_some(()));
}

fn beside(copy: &Path, suffix: &str) -> PathBuf {
    let mut name = copy.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[test]
fn a15_readers_never_see_a_torn_state_whenever_the_follower_is_killed() {
    let _turn = turn::shared();
    let mut stage = Stage::new("follow-kill", Mix::Everything);
    drop(stage.create(Layout { incremental_vacuum: true, ..Layout::default() }));
    let replicator = stage.replicate_first();
    let writer = Process::start(Writer { rate: 80, ..stage.writer() });
    let copy = stage.scratch.path("copy.db");
    let mut oracle = stage.oracle();
    let mut follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    let long = reader(&copy);
    let mut seen = 0;
    for round in 0..scaled(25) {
        let last = seen;
        let looks = stage.rng.u32(1..20);
        for _ in 0..looks {
            let n = look(&reader(&copy), &mut oracle).expect("a committed state, newly opened");
            assert!(n >= seen, "round {round}: back from {seen} to {n}");
            seen = look(&long, &mut oracle).expect("a committed state");
            assert!(seen >= n, "round {round}: back from {n} to {seen}");
        }
        if round % 5 == 0 {
            wait::until("the copy to move on", PATIENCE, || {
                seen = look(&long, &mut oracle).expect("a committed state");
                (seen > last).then_some(())
            });
        }
        follower.kill();
        follower = stage.tool.follow(&stage.replica, &copy);
    }
    let n = writer.stop().committed;
    stage.tool.await_n(&stage.replica, n);
    await_copy(&long, &mut oracle, n);
    replicator.stop();
    drop(long);
    follower.stop();
    assert!(!beside(&copy, "-wal").exists(), "nothing is left to copy back");
    let mut oracle = stage.oracle();
    assert_eq!(oracle.check_file(&copy), Ok(n));
}

#[test]
fn a23_a_follower_catches_up_over_pruned_history_and_over_a_hole() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-late", Mix::Small);
    let mut app = stage.create(Layout::default());
    let config = stage.scratch.path("litestream.yml");
    let text = format!(
        "dbs:\n- path: {}\n  replicas: [{{url: {}}}]\nlevels: [{{interval: 200ms}}]\n\
         l0-retention: 1ms\nl0-retention-check-interval: 100ms\nsync-interval: 10ms\n\
         snapshot: {{interval: 1s, retention: 2s}}\n",
        stage.db.display(),
        stage.replica.url()
    );
    fs::write(&config, text).expect("write a configuration");
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    let (db, mut oracle) = (reader(&copy), stage.oracle());
    await_copy(&db, &mut oracle, n);
    follower.stop();
    let at = last_txid(&copy);
    // Compacted, with level 0 gone: the way goes over level 1.
    wait::until("level 0 to be pruned", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        (first_increment(&stage.replica, 0) > at + 1).then_some(())
    });
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.await_n(&stage.replica, n);
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_copy(&db, &mut oracle, n);
    follower.stop();
    let at = last_txid(&copy);
    // All of it gone: only a snapshot is newer.
    wait::until("all history to be pruned", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        (0..=8).all(|level| first_increment(&stage.replica, level) > at + 1).then_some(())
    });
    let n = stage.workload.commit_many(&mut app, 1);
    stage.tool.await_n(&stage.replica, n);
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_copy(&db, &mut oracle, n);
    assert!(follower.log().contains("no way on"), "{}", follower.log());
    let n = stage.workload.commit_many(&mut app, 5);
    await_copy(&db, &mut oracle, n);
    follower.stop();
    replicator.stop();
}

fn last_txid(copy: &Path) -> u64 {
    let text = fs::read_to_string(beside(copy, "-txid")).expect("read the sidecar");
    u64::from_str_radix(text.trim(), 16).expect("a transaction")
}

fn first_increment(replica: &Replica, level: u8) -> u64 {
    let files = replica.files().into_iter().filter(|file| file.level == level && file.min > 1);
    files.map(|file| file.min).min().unwrap_or(u64::MAX)
}

#[test]
fn another_history_and_writes_of_others_are_undone() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-other", Mix::Small);
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    let (db, mut oracle) = (reader(&copy), stage.oracle());
    await_copy(&db, &mut oracle, n);

    let writer = Connection::open(&copy).expect("open the copy");
    writer.busy_timeout(PATIENCE).expect("be patient");
    writer
        .execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
        .expect("write to the copy");
    drop(writer);
    wait::until("the write to be undone", PATIENCE, || {
        (look(&db, &mut oracle) == Ok(n)).then_some(())
    });
    assert!(follower.log().contains("somebody has written"), "{}", follower.log());

    // Everything is set up anew, with the same transaction numbers.
    drop(app);
    fs::remove_dir_all(stage.replica.path()).expect("remove the replica");
    fs::remove_dir_all(stage.local_state()).expect("remove the local state");
    stage.remove_database();
    let other = testkit::Workload { seed: stage.workload.seed + 1, ..stage.workload };
    let mut app = other.create(&stage.db, Layout::default());
    other.commit_many(&mut app, 3);
    let replicator = stage.replicate();
    let mut oracle = Oracle::new(other);
    let n = other.commit_many(&mut app, 30);
    wait::until("the new history in the copy", PATIENCE, || {
        (look(&db, &mut oracle) == Ok(n)).then_some(())
    });
    replicator.stop();
    follower.stop();
}

#[test]
fn what_is_written_to_a_copy_while_nobody_follows_is_undone() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-alone", Mix::Small);
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    let copy = stage.scratch.path("copy.db");
    let made = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    await_copy(&reader(&copy), &mut stage.oracle(), n);
    made.stop();

    // Untouched, it goes on from where it is.
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    let resumed = stage.tool.follow(&stage.replica, &copy);
    await_copy(&reader(&copy), &mut stage.oracle(), n);
    let log = resumed.log();
    resumed.stop();
    assert!(!log.contains("left as") && !log.contains("whole=true"), "{log}");

    let writer = Connection::open(&copy).expect("open the copy");
    let write = "INSERT INTO item(name) VALUES ('of another')";
    writer.execute_batch(write).expect("write to the copy");
    drop(writer);
    let follower = stage.tool.follow(&stage.replica, &copy);
    let (db, mut oracle) = (reader(&copy), stage.oracle());
    wait::until("the write to be undone", PATIENCE, || {
        (look(&db, &mut oracle) == Ok(n)).then_some(())
    });
    assert!(follower.log().contains("not what it was left as"), "{}", follower.log());
    follower.stop();
}

#[test]
fn another_page_size_needs_another_file() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-page-size", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    let mut oracle = stage.oracle();
    await_copy(&reader(&copy), &mut oracle, n);
    drop(app);
    stage.remove_database();
    let layout = Layout { page_size: 8192, ..Layout::default() };
    let mut app = stage.create(layout);
    let n = stage.workload.commit_many(&mut app, 9);
    await_copy_anew(&copy, &mut oracle, n);
    let n = stage.workload.commit_many(&mut app, 9);
    await_copy_anew(&copy, &mut oracle, n);
    replicator.stop();
    follower.stop();
    assert_eq!(oracle.check_file(&copy), Ok(n));
}

/// The same for readers that open the copy each time. One that comes while the file is replaced may
/// be told that there is none.
fn await_copy_anew(copy: &Path, oracle: &mut Oracle, n: u64) {
    wait::until(&format!("transaction {n} in the copy"), PATIENCE, || {
        let db = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        (oracle.check(&db).ok()? == n).then_some(())
    });
}

#[test]
fn a27_a_hundred_readers_that_stay_hold_nothing_up() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-readers", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    let mut oracle = stage.oracle();
    await_copy(&reader(&copy), &mut oracle, n);
    let readers: Vec<_> = (0..100).map(|_| reader(&copy)).collect();
    for db in &readers {
        db.execute_batch("BEGIN").expect("begin to read");
        assert_eq!(testkit::workload::last(db), Ok(n));
    }
    let m = stage.workload.commit_many(&mut app, 20);
    await_copy(&reader(&copy), &mut oracle, m);
    for db in &readers {
        assert_eq!(testkit::workload::last(db), Ok(n), "a reader keeps its state");
    }
    follower.stop();
    replicator.stop();
}

#[test]
fn a_copy_is_promoted_and_replicated_itself() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-promote", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    await_copy(&reader(&copy), &mut stage.oracle(), n);
    let promote = || {
        let done = stage.tool.command(&["promote"]).arg(&copy).output().expect("start promote");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, said) = promote();
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("kept up to date by another process"), "{said}");
    let mut second = stage.tool.follow(&stage.replica, &copy);
    assert_eq!(second.await_exit().code(), Some(8), "{}", second.log());
    follower.kill();
    drop(app);
    replicator.stop();
    assert_eq!(promote().0, Some(0));
    let (code, said) = promote();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not a copy"), "{said}");
    for suffix in ["-txid", "-follow", "-wal"] {
        assert!(!beside(&copy, suffix).exists(), "{suffix} is left");
    }
    let mut app = Connection::open(&copy).expect("open the promoted database");
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&copy, &stage.replica);
    assert_eq!(stage.tool.restored_n(&stage.replica), Some(n));
}

#[test]
fn an_ordinary_database_is_never_followed_with() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-refuse", Mix::Small);
    let mut app = stage.create(Layout::default());
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    let mut follower = stage.tool.follow(&stage.replica, &stage.db);
    assert_eq!(follower.await_exit().code(), Some(1));
    assert!(follower.log().contains("exists already"), "{}", follower.log());
    assert_eq!(testkit::workload::last(&app), Ok(n));
    assert!(!beside(&stage.db, "-follow").exists());
    let nowhere = Replica::new(stage.scratch.path("nowhere"));
    let copy = stage.scratch.path("copy.db");
    let mut follower = stage.tool.follow(&nowhere, &copy);
    assert_eq!(follower.await_exit().code(), Some(4));
    assert!(!beside(&copy, "-follow").exists(), "no residue");
}

/// Not back: Litestream 0.5.17 refuses to go on with any copy that is ahead of the last snapshot.
#[test]
fn litestreams_follower_goes_on_under_us() {
    let Some(litestream) = Tool::litestream() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("follow-over", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let copy = stage.scratch.path("copy.db");
    for tool in [&litestream, &stage.tool, &stage.tool] {
        let follower = tool.follow(&stage.replica, &copy);
        let n = stage.workload.commit_many(&mut app, 5);
        let txid = {
            stage.tool.await_n(&stage.replica, n);
            stage.replica.last_txid()
        };
        wait::until(&format!("{tool:?} at {txid:x}"), PATIENCE, || {
            let text = fs::read_to_string(beside(&copy, "-txid")).ok()?;
            (u64::from_str_radix(text.trim(), 16).ok()? >= txid).then_some(())
        });
        follower.stop();
        let db = open_immutable(&copy).expect("open the copy");
        assert_eq!(stage.oracle().check(&db), Ok(n), "{tool:?}");
    }
    replicator.stop();
}

#[test]
fn another_history_is_told_apart_though_nothing_was_followed_before() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-reset", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 5);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    let copy = stage.scratch.path("copy.db");
    let follower = stage.tool.follow(&stage.replica, &copy);
    await_made(&copy);
    follower.stop();
    drop(app);
    fs::remove_dir_all(stage.replica.path()).expect("remove the replica");
    fs::remove_dir_all(stage.local_state()).expect("remove the local state");
    stage.remove_database();
    let other = testkit::Workload { seed: stage.workload.seed + 1, ..stage.workload };
    let mut app = other.create(&stage.db, Layout::default());
    for _ in 0..4 {
        other.commit_many(&mut app, 3);
        stage.tool.replicate_once(&stage.db, &stage.replica);
    }
    let follower = stage.tool.follow(&stage.replica, &copy);
    let mut oracle = Oracle::new(other);
    wait::until("the other history in the copy", PATIENCE, || {
        (look(&reader(&copy), &mut oracle) == Ok(12)).then_some(())
    });
    follower.stop();
}

/// By its transactions alone, there is nothing new.
#[test]
fn another_history_that_ends_at_the_same_transaction_is_told_apart() {
    let _turn = turn::shared();
    let ours = Stage::new("follow-same-end", Mix::Small);
    let mut theirs = Stage::new("follow-same-end-other", Mix::Small);
    theirs.workload.seed += 1;
    for stage in [&ours, &theirs] {
        let mut app = stage.create(Layout::default());
        for _ in 0..3 {
            stage.workload.commit_many(&mut app, 3);
            stage.tool.replicate_once(&stage.db, &stage.replica);
        }
    }
    assert_eq!(ours.replica.last_txid(), theirs.replica.last_txid());
    let copy = ours.scratch.path("copy.db");
    let follower = ours.tool.follow(&ours.replica, &copy);
    await_made(&copy);
    let db = reader(&copy);
    await_copy(&db, &mut ours.oracle(), 9);
    ours.await_logged(&follower, 0, &["following"]);
    let await_content = |of: &Stage| {
        wait::until("the other history in the copy", PATIENCE, || {
            (look(&db, &mut of.oracle()) == Ok(9)).then_some(())
        });
    };

    swap(&ours.replica, &theirs.replica);
    await_content(&theirs);
    assert!(follower.log().contains("another history"), "{}", follower.log());
    follower.stop();

    swap(&ours.replica, &theirs.replica);
    let follower = ours.tool.follow(&ours.replica, &copy);
    await_content(&ours);
    follower.stop();
}

fn swap(one: &Replica, other: &Replica) {
    let aside = one.path().with_extension("aside");
    for (from, to) in [(one.path(), &*aside), (other.path(), one.path()), (&aside, other.path())] {
        fs::rename(from, to).expect("rename a replica");
    }
}

/// SQLite counts on page 1 whenever it writes it: the copy's is never quite the replica's.
#[test]
fn a_copy_that_followed_page_1_is_not_taken_for_damaged() {
    let _turn = turn::shared();
    let stage = Stage::new("follow-first", Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let copy = stage.scratch.path("copy.db");
    let mut oracle = stage.oracle();
    for round in 1..=3 {
        let mut follower = stage.tool.follow(&stage.replica, &copy);
        await_made(&copy);
        let db = reader(&copy);
        app.pragma_update(None, "user_version", round).expect("change page 1");
        let n = stage.workload.commit_many(&mut app, 2);
        await_copy(&db, &mut oracle, n);
        let version = |row: &rusqlite::Row<'_>| row.get(0);
        let version = db.query_row("PRAGMA user_version", [], version).unwrap_or(0);
        assert_eq!(version, round);
        assert!(follower.terminate().success(), "{}", follower.log());
        let log = follower.log();
        assert!(!log.contains("left as") && !log.contains("whole=true"), "{log}");
    }
    // Another's change of page 1 alone is still seen.
    Connection::open(&copy)
        .and_then(|db| db.pragma_update(None, "user_version", 99))
        .expect("write to the copy");
    let follower = stage.tool.follow(&stage.replica, &copy);
    stage.await_logged(&follower, 0, &["left as"]);
    replicator.stop();
}
