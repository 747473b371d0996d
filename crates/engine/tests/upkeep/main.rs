//! The upkeep of a replica, seen from its storage: which requests are made, and what a refusal does.
//! (failures.md A45, A46, A49)
#![allow(clippy::unwrap_used)]

mod followed;
mod membership;
mod overwritten;
mod rotten;
mod swapped;
mod watched;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, HistoryOptions, Replicator, Retention};
use ltx::{Level, Txid};
use rusqlite::Connection;
use storage::Storage;
use watched::Watched;

const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    _directory: tempfile::TempDir,
    app: Connection,
    db: PathBuf,
    storage: Arc<Watched>,
}

impl Stage {
    fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let db = directory.path().join("app.db");
        let app = Connection::open(&db).unwrap();
        app.pragma_update(None, "journal_mode", "wal").unwrap();
        app.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x)").unwrap();
        let storage = Arc::new(Watched::new(directory.path().join("replica")));
        Stage { _directory: directory, app, db, storage }
    }

    /// Everything that usually takes hours, in milliseconds.
    fn replicate(&self) -> Replicator {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let ms = Duration::from_millis;
        let retention =
            Retention { enabled: true, levels: vec![Some(ms(100))], snapshots: ms(400) };
        let options = DatabaseOptions {
            history: HistoryOptions {
                levels: vec![ms(50), ms(200)],
                snapshot_interval: ms(300),
                retention,
                validation: None,
            },
            sync_interval: ms(5),
            ..DatabaseOptions::new(&self.db, vec![storage])
        };
        Replicator::start(vec![options]).unwrap()
    }

    /// What is stored stays as it is.
    fn replicate_untouched(&self) -> Replicator {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let mut options = DatabaseOptions::new(&self.db, vec![storage]);
        options.history.levels.clear();
        Replicator::start(vec![options]).unwrap()
    }

    fn commit(&self) {
        self.app.execute("INSERT INTO t (x) VALUES (randomblob(100))", []).unwrap();
    }

    /// Has so many captured files wait for their upload. The TXID before them.
    fn stage_files(&self, replicator: &Replicator, count: u64) -> u64 {
        self.storage.refuses_puts.store(true, Ordering::Relaxed);
        let captured = || replicator.statuses()[0].local_txid.unwrap().get();
        let first = captured();
        until("captured files that wait", || {
            self.commit();
            captured() >= first + count
        });
        first
    }

    /// What is in the replica is proven, and is what is in the database.
    fn expect_restored(&self) {
        let output = self.db.with_extension("restored");
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let request = engine::restore::Request::new(storage, &output);
        assert!(engine::restore::run(&request, &()).unwrap().proven);
        let count = |db: &Connection| db.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        let restored: i64 = count(&Connection::open(&output).unwrap()).unwrap();
        assert_eq!(restored, count(&self.app).unwrap());
    }

    fn count(&self, level: u8) -> usize {
        self.storage.list(Level::new(level).unwrap(), Txid::FIRST).unwrap().len()
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until nothing was asked of the storage for a while.
fn quiet(storage: &Watched) -> u64 {
    let (mut seen, mut since) = (storage.requests(), Instant::now());
    until("the storage to be left alone", || {
        if storage.requests() != seen {
            (seen, since) = (storage.requests(), Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    });
    seen
}

#[test]
fn a45_an_idle_database_makes_no_requests() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    for _ in 0..50 {
        stage.commit();
        replicator.sync(Instant::now() + PATIENCE).unwrap();
    }
    let before = quiet(&stage.storage);
    // By the compressed clock more than an hour for every interval.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(stage.storage.requests(), before, "{:?}", stage.storage);
    drop(replicator);
}

#[test]
fn a46_what_is_compacted_comes_from_local_files() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    until("two levels and a second snapshot", || {
        stage.commit();
        stage.count(1) > 0 && stage.count(2) > 0 && stage.storage.stored_at(9) > 1
    });
    assert_eq!(stage.storage.reads.load(Ordering::Relaxed), 0, "{:?}", stage.storage);
    drop(replicator);
}

#[test]
fn what_had_to_wait_goes_out_as_one_object() {
    let stage = Stage::new();
    let replicator = stage.replicate();
    stage.commit();
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    let before = stage.storage.stored_at(0);
    stage.stage_files(&replicator, 20);
    stage.storage.refuses_puts.store(false, Ordering::Relaxed);
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    assert!(stage.storage.stored_at(0) <= before + 3, "{:?}", stage.storage);
    stage.expect_restored();
    drop(replicator);
}

#[test]
fn what_is_committed_before_a_pause_waits_no_longer_than_others() {
    let stage = Stage::new();
    let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
    let mut options = DatabaseOptions::new(&stage.db, vec![storage]);
    options.sync_interval = Duration::from_secs(3);
    options.monitor_interval = 4 * PATIENCE;
    let replicator = Replicator::start(vec![options]).unwrap();
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    let captured = || replicator.statuses()[0].local_txid;
    for _ in 0..2 {
        let before = captured();
        stage.commit();
        until("a commit to be captured", || captured() > before);
    }
    drop(replicator);
}

#[test]
fn what_waits_for_its_time_is_behind() {
    let stage = Stage::new();
    let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
    let mut options = DatabaseOptions::new(&stage.db, vec![storage]);
    options.sync_interval = 4 * PATIENCE;
    let replicator = Replicator::start(vec![options]).unwrap();
    let status = || replicator.statuses().remove(0);
    // The first image, and a commit that all others have to wait after.
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    stage.commit();
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    let captured = status().local_txid;
    stage.commit();
    until("a lag", || !status().replicas[0].lag.is_zero());
    assert_eq!(status().local_txid, captured, "its time has not come");
    replicator.sync(Instant::now() + PATIENCE).unwrap();
    until("no lag", || status().replicas[0].lag.is_zero());
    drop(replicator);
}

#[test]
fn a49_refused_deletions_hold_nothing_up() {
    let stage = Stage::new();
    stage.storage.refuses_deletes.store(true, Ordering::Relaxed);
    let replicator = stage.replicate();
    until("a refused deletion", || {
        stage.commit();
        stage.storage.deletes.load(Ordering::Relaxed) > 0
    });
    for _ in 0..20 {
        stage.commit();
        replicator.sync(Instant::now() + PATIENCE).unwrap();
    }
    until("the status to tell of it", || {
        let status = replicator.statuses().remove(0).replicas.remove(0);
        assert_eq!(status.last_error, None);
        status.upkeep_error.is_some_and(|error| error.contains("denied"))
    });
    assert_eq!(stage.storage.deletes.load(Ordering::Relaxed), 1, "asked once in an hour");
    drop(replicator);
}
