//! Syncs of a database when another one, or none, has just taken its place, and no event told.
//!
//! Whole folders are renamed: of that, the files in them get no event.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, Replicator};
use rusqlite::Connection;
use storage::{FileStorage, Storage};

use crate::PATIENCE;

const NEVER: Duration = Duration::from_secs(3600);

struct Swapped {
    folder: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    replicator: Replicator,
}

impl Swapped {
    /// Replicates a database that holds 0.
    fn new() -> Swapped {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path().join("replica"));
        let storage: Arc<dyn Storage> = Arc::new(storage);
        put(folder.path(), 0);
        let options = DatabaseOptions {
            meta: Some(folder.path().join("state")),
            monitor_interval: NEVER,
            ..DatabaseOptions::new(path(folder.path()), vec![Arc::clone(&storage)])
        };
        let replicator = Replicator::start(vec![options]).unwrap();
        let swapped = Swapped { folder, storage, replicator };
        swapped.sync().unwrap();
        swapped
    }

    fn sync(&self) -> Result<(), engine::SyncError> {
        self.replicator.sync_one(&path(self.folder.path()), Instant::now() + PATIENCE).unwrap()
    }

    fn restored(&self) -> i64 {
        let output = self.folder.path().join("restored");
        let mut request = engine::restore::Request::new(Arc::clone(&self.storage), &output);
        request.force = true;
        engine::restore::run(&request, &()).unwrap();
        let number = |row: &rusqlite::Row<'_>| row.get(0);
        Connection::open(output).unwrap().query_row("SELECT x FROM t", [], number).unwrap()
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("current/app.db")
}

/// Puts a database that holds this number in the place of the one that is there.
fn put(folder: &Path, number: u32) {
    let other = folder.join("other");
    fs::create_dir(&other).unwrap();
    let app = Connection::open(other.join("app.db")).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch(&format!("CREATE TABLE t (x); INSERT INTO t VALUES ({number})")).unwrap();
    drop(app);
    let current = folder.join("current");
    if current.exists() {
        fs::rename(&current, folder.join(format!("before-{number}"))).unwrap();
    }
    fs::rename(other, current).unwrap();
}

#[test]
fn a_sync_is_one_of_the_database_that_is_at_the_path() {
    let swapped = Swapped::new();
    for number in 1..=3 {
        put(swapped.folder.path(), number);
        swapped.sync().unwrap();
        assert_eq!(swapped.restored(), i64::from(number));
    }
    swapped.replicator.stop(Instant::now() + PATIENCE, &AtomicBool::new(false)).unwrap();
}

#[test]
fn no_sync_is_complete_of_a_database_that_has_just_gone() {
    let swapped = Swapped::new();
    let folder = swapped.folder.path();
    fs::rename(folder.join("current"), folder.join("gone")).unwrap();
    swapped.sync().unwrap_err();
}
