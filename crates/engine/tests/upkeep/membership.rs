//! Databases that come and go while others are replicated, and syncs of one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, DatabaseState, Error, Replicator};
use ltx::{Level, Txid};
use storage::Storage;

use crate::{PATIENCE, Stage, until};

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn options(stage: &Stage) -> DatabaseOptions {
    let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
    DatabaseOptions::new(&stage.db, vec![storage])
}

#[test]
fn a_database_is_let_go_of_and_taken_up_again_while_commits_go_on() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    let abort = AtomicBool::new(false);
    for _ in 0..10 {
        stage.commit();
        let left = replicator.remove(&stage.db, soon(), &abort).unwrap().unwrap();
        assert_eq!(left.replicas[0].txid, left.local_txid, "the last sync came first");
        assert!(left.local_txid.is_some());
        assert!(!replicator.replicates(&stage.db));
        assert!(replicator.statuses().is_empty());
        assert!(replicator.remove(&stage.db, soon(), &abort).is_none());
        stage.commit();
        replicator.add(options(&stage)).unwrap();
        replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    }
    replicator.stop(soon(), &abort).unwrap();
}

#[test]
fn a_database_whose_upload_hangs_does_not_come_back_before_that_has_ended() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    stage.commit();
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    let hang = stage.storage.hang.lock().unwrap();
    stage.commit();
    until("an upload that hangs", || {
        let waits = replicator.status(&stage.db).unwrap().replicas[0].backlog.files > 0;
        waits && stage.storage.hanging.load(Ordering::SeqCst) > 0
    });
    let left = replicator.remove(&stage.db, Instant::now(), &AtomicBool::new(false)).unwrap();
    let unsynced = left.unwrap_err().unsynced;
    assert_eq!(unsynced[0].path, stage.db);
    assert!(unsynced[0].backlog.files >= 1 && unsynced[0].backlog.bytes > 0, "{unsynced:?}");
    assert!(matches!(replicator.add(options(&stage)), Err(Error::Leaving(_))));
    // Nor does another one in its place, which it may still write to.
    let other = DatabaseOptions { path: stage.db.with_file_name("b.db"), ..options(&stage) };
    assert!(matches!(replicator.add(other), Err(Error::Leaving(path)) if path == stage.db));
    drop(hang);
    until("its end", || replicator.add(options(&stage)).is_ok());
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn of_a_database_that_was_let_go_only_what_is_under_way_is_still_stored() {
    let stage = Stage::new();
    let replicator = stage.replicate_untouched();
    stage.commit();
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    let captured = || stage.storage.list(Level::L0, Txid::FIRST).unwrap().len();
    let before = captured();
    let hang = stage.storage.hang.lock().unwrap();
    until("files that wait behind an upload that hangs", || {
        stage.commit();
        replicator.capture(&stage.db, soon()).unwrap().unwrap();
        let waits = replicator.status(&stage.db).unwrap().replicas[0].backlog.files > 3;
        waits && stage.storage.hanging.load(Ordering::SeqCst) > 0
    });
    let left = replicator.remove(&stage.db, Instant::now(), &AtomicBool::new(false)).unwrap();
    assert!(left.is_err());
    drop(hang);
    until("its end", || replicator.leaving(&stage.db, &[]).is_none());
    assert_eq!(captured(), before + 1);
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn what_waits_of_a_deleted_database_is_missed_when_it_is_let_go() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    stage.commit();
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    stage.stage_files(&replicator, 3);
    let Stage { storage, db, app, _directory } = stage;
    app.close().unwrap();
    std::fs::remove_file(&db).unwrap();
    let missing = || replicator.status(&db).unwrap().state == DatabaseState::Waiting;
    until("its deletion to be seen", missing);
    let deadline = Instant::now() + Duration::from_millis(500);
    let left = replicator.remove(&db, deadline, &AtomicBool::new(false)).unwrap();
    let unsynced = left.unwrap_err().unsynced;
    assert!(unsynced[0].backlog.files >= 3, "{unsynced:?}");
    drop((storage, replicator));
}

#[test]
fn replicas_that_do_not_answer_hold_no_other_database_up() {
    let silent: Vec<Stage> = (0..5).map(|_| Stage::new()).collect();
    let held: Vec<_> = silent.iter().map(|it| it.storage.silent.lock().unwrap()).collect();
    let replicator = Replicator::start(silent.iter().map(options).collect()).unwrap();
    let asked = |it: &Stage| it.storage.requests() > 0;
    until("all of them to be asked", || silent.iter().all(asked));
    let well = Stage::new();
    replicator.add(options(&well)).unwrap();
    well.commit();
    replicator.sync_one(&well.db, soon()).unwrap().unwrap();
    drop(held);
    for stage in &silent {
        replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    }
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn a_removal_that_is_given_up_changes_nothing() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    stage.commit();
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    stage.storage.refuses_puts.store(true, Ordering::Relaxed);
    stage.commit();
    let given_up = replicator.remove(&stage.db, soon(), &AtomicBool::new(true)).unwrap();
    assert!(given_up.is_err());
    assert!(replicator.replicates(&stage.db));
    stage.storage.refuses_puts.store(false, Ordering::Relaxed);
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn a_sync_of_what_is_there_already_uploads_nothing() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    stage.commit();
    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    let (puts, txid) =
        (stage.storage.stored_at(0), replicator.status(&stage.db).unwrap().local_txid);
    for _ in 0..50 {
        replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
    }
    assert_eq!(stage.storage.stored_at(0), puts);
    assert_eq!(replicator.status(&stage.db).unwrap().local_txid, txid);
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn syncs_from_many_threads_are_all_barriers() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    let stored = || replicator.status(&stage.db).unwrap().replicas[0].txid;
    for _ in 0..20 {
        stage.commit();
        let captured = replicator.capture(&stage.db, soon()).unwrap();
        captured.unwrap();
        let wanted = replicator.status(&stage.db).unwrap().local_txid;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    replicator.sync_one(&stage.db, soon()).unwrap().unwrap();
                    assert!(stored() >= wanted);
                });
            }
        });
    }
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn nothing_is_promised_of_a_database_that_is_not_there() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    let missing = stage.db.with_file_name("missing.db");
    assert!(replicator.sync_one(&missing, soon()).is_none());
    replicator.add(DatabaseOptions { path: missing.clone(), ..options(&stage) }).unwrap();
    let began = Instant::now();
    let error = replicator.sync_one(&missing, soon()).unwrap().unwrap_err();
    assert!(error.to_string().ends_with("missing.db: the database does not exist yet"), "{error}");
    assert!(replicator.capture(&missing, soon()).unwrap().is_err());
    assert!(began.elapsed() < PATIENCE, "it is known before the time is up");
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
}

#[test]
fn a_database_that_cannot_be_looked_at_is_not_taken_for_one_that_is_not_there() {
    let stage = Stage::new();
    let path = stage.db.with_file_name("loop.db");
    std::os::unix::fs::symlink("loop.db", &path).unwrap();
    let replicator = stage.replicate();
    replicator.add(DatabaseOptions { path: path.clone(), ..options(&stage) }).unwrap();
    until("the failure to be told", || {
        let status = replicator.status(&path).unwrap();
        assert!(!status.absent, "{status:?}");
        let told = status.capture_error.is_some_and(|it| it.contains(path.to_str().unwrap()));
        told && matches!(status.state, DatabaseState::Failing { .. })
    });
}

#[test]
fn a_replicator_at_work_is_alive() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    for _ in 0..5 {
        assert!(replicator.is_alive(PATIENCE));
        stage.commit();
    }
    replicator.stop(soon(), &AtomicBool::new(false)).unwrap();
    assert!(!replicator.is_alive(Duration::from_millis(100)), "its threads have ended");
}
