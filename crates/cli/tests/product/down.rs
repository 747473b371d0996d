//! What happens to the database while the replicator is down. (failures.md A3, format.md 9.6)

use std::fs;

use rusqlite::Connection;
use testkit::{Chaos, Layout, Mix, Process, Writer, scaled, turn};

use crate::stage::Stage;

/// Commits, loses the replicator by SIGKILL and once more by SIGTERM, lets `meanwhile` happen, and
/// wants every TXID right, old ones and new ones.
fn survive(name: &str, mut meanwhile: impl FnMut(&Stage, Connection) -> Connection) {
    let _turn = turn::shared();
    let stage = Stage::new(name, Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 20);
    for kill in [true, false] {
        let replicator = stage.replicate_first();
        let n = stage.workload.commit_many(&mut app, 30);
        stage.tool.await_n(&stage.replica, n);
        stage.workload.commit_many(&mut app, 10);
        if kill {
            replicator.kill();
        } else {
            replicator.stop();
        }
        app = meanwhile(&stage, app);
    }
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    replicator.stop();
    stage.expect_all_right(n);
}

fn checkpoint(app: &Connection, mode: &str) {
    let busy = app.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0));
    assert_eq!(busy, Ok(0), "{mode} without anybody else");
}

#[test]
fn nothing_happens() {
    survive("down-nothing", |_, app| app);
}

#[test]
fn writes_go_on() {
    survive("down-writes", |stage, mut app| {
        stage.workload.commit_many(&mut app, 40);
        app
    });
}

#[test]
fn the_last_connection_closes_and_deletes_the_wal() {
    survive("down-close", |stage, app| {
        drop(app);
        Connection::open(&stage.db).expect("open again")
    });
}

#[test]
fn the_application_writes_and_the_last_connection_closes() {
    survive("down-write-close", |stage, mut app| {
        stage.workload.commit_many(&mut app, 40);
        drop(app);
        let mut app = Connection::open(&stage.db).expect("open again");
        stage.workload.commit_many(&mut app, 3);
        app
    });
}

#[test]
fn the_journal_mode_goes_to_delete_and_back() {
    survive("down-delete", |stage, mut app| {
        app.execute_batch("PRAGMA journal_mode=DELETE").expect("leave WAL mode");
        stage.workload.commit_many(&mut app, 25);
        app.execute_batch("PRAGMA journal_mode=WAL").expect("go back to WAL mode");
        stage.workload.commit_many(&mut app, 3);
        app
    });
}

#[test]
fn the_journal_mode_stays_at_delete() {
    survive("down-stays-delete", |stage, mut app| {
        app.execute_batch("PRAGMA journal_mode=DELETE").expect("leave WAL mode");
        stage.workload.commit_many(&mut app, 25);
        drop(app);
        Connection::open(&stage.db).expect("open again")
    });
}

#[test]
fn a_checkpoint_truncates() {
    survive("down-truncate", |stage, mut app| {
        stage.workload.commit_many(&mut app, 15);
        checkpoint(&app, "TRUNCATE");
        stage.workload.commit_many(&mut app, 15);
        app
    });
}

#[test]
fn a_full_checkpoint_and_fewer_frames_than_before() {
    survive("down-full", |stage, mut app| {
        stage.workload.commit_many(&mut app, 200);
        checkpoint(&app, "FULL");
        stage.workload.commit_many(&mut app, 2);
        app
    });
}

/// A short middle generation leaves no trace of its salts. (Litestream loses its rows.)
#[test]
fn the_wal_restarts_twice() {
    survive("down-twice", |stage, mut app| {
        checkpoint(&app, "RESTART");
        stage.workload.commit_many(&mut app, 3);
        checkpoint(&app, "RESTART");
        stage.workload.commit_many(&mut app, 8);
        app
    });
}

#[test]
fn the_database_is_vacuumed() {
    survive("down-vacuum", |stage, mut app| {
        stage.workload.commit_many(&mut app, 30);
        app.execute_batch("VACUUM").expect("VACUUM");
        app
    });
}

#[test]
fn the_page_size_changes() {
    let mut page_size = 4096;
    survive("down-page-size", |stage, mut app| {
        page_size /= 2;
        app.execute_batch(&format!(
            "PRAGMA journal_mode=DELETE; PRAGMA page_size={page_size}; VACUUM;
             PRAGMA journal_mode=WAL;"
        ))
        .expect("change the page size");
        stage.workload.commit_many(&mut app, 5);
        app
    });
}

#[test]
fn a22_the_local_state_is_lost() {
    survive("down-state-lost", |stage, mut app| {
        stage.workload.commit_many(&mut app, 5);
        fs::remove_dir_all(stage.local_state()).expect("remove the local state");
        app
    });
}

#[test]
fn checkpoints_and_last_closes_go_on_while_it_is_killed() {
    let _turn = turn::shared();
    let mut stage = Stage::new("down-chaos", Mix::Small);
    drop(stage.create(Layout::default()));
    let writer = Writer { rate: 150, reopen: 11, ..stage.writer() };
    let writer = Process::start(writer);
    for _ in 0..scaled(8) {
        let replicator = stage.replicate_first();
        let seed = stage.rng.u64(..);
        let chaos = Process::start(Chaos { db: stage.db.clone(), seed, pause: 10 });
        writer.await_commits(stage.rng.u64(5..80));
        replicator.kill();
        writer.await_commits(stage.rng.u64(1..15));
        chaos.stop();
        writer.await_commits(stage.rng.u64(1..15));
    }
    let replicator = stage.replicate_first();
    writer.await_commits(10);
    let n = writer.stop().committed;
    replicator.stop();
    stage.expect_all_right(n);
}
