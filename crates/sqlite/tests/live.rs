//! Pins, views and the WAL-index against SQLite itself.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ltx::Pgno;
use rusqlite::Connection;
use sqlite::{Error, Live, LiveOptions, Placement, Restart, Tip};

struct Fixture {
    directory: tempfile::TempDir,
    application: Connection,
}

impl Fixture {
    fn new(page_size: u32) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let application = Connection::open(directory.path().join("app.db")).unwrap();
        application
            .execute_batch(&format!(
                "PRAGMA page_size = {page_size}; PRAGMA journal_mode = wal;
                 PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = off; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);"
            ))
            .unwrap();
        Fixture { directory, application }
    }

    /// One whose application never waits, attached.
    fn impatient() -> (Fixture, Live) {
        let fixture = Fixture::new(4096);
        let live = fixture.attach();
        fixture.application.busy_timeout(Duration::ZERO).unwrap();
        (fixture, live)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("app.db")
    }

    fn attach(&self) -> Live {
        attach(&self.path()).unwrap()
    }

    fn insert(&self, bytes: u32) {
        self.application.execute("INSERT INTO t (v) VALUES (randomblob(?))", [bytes]).unwrap();
    }

    /// `busy` of an application's checkpoint.
    fn checkpoint(&self, mode: &str) -> bool {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.application.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

fn attach(path: &Path) -> Result<Live, Error> {
    Live::attach(path, &LiveOptions { busy_timeout: Duration::from_millis(100) })
}

fn nothing(_: &Live, tip: Tip) -> Result<Tip, Error> {
    Ok(tip)
}

/// The database as SQLite sees it, page by page.
fn truth(application: &Connection) -> Vec<u8> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    let mut target = Connection::open(copy.path()).unwrap();
    let backup = rusqlite::backup::Backup::new(application, &mut target).unwrap();
    backup.run_to_completion(1 << 30, Duration::ZERO, None).unwrap();
    drop(backup);
    drop(target);
    std::fs::read(copy.path()).unwrap()
}

fn image(live: &mut Live) -> Vec<u8> {
    let pinned = live.pin_exactly().unwrap();
    let view = live.view(&pinned).unwrap();
    let mut bytes = vec![0; view.pages() as usize * view.page_size().bytes()];
    view.read(Pgno::FIRST, &mut bytes).unwrap();
    bytes
}

/// Up to 3.51.2, a checkpoint beside a writer could lose a commit.
#[test]
fn a10_the_sqlite_inside_is_free_of_the_wal_reset_bug() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn a_view_is_the_database_whatever_is_copied_back() {
    for page_size in [512, 4096, 65536] {
        let fixture = Fixture::new(page_size);
        let mut live = fixture.attach();
        for round in 0..6 {
            for _ in 0..20 {
                fixture.insert(3 * page_size / 2);
            }
            if round % 2 == 1 {
                live.rotate(nothing).unwrap();
                live.checkpoint().unwrap();
            }
            if round == 4 {
                fixture.application.execute_batch("DELETE FROM t WHERE id % 2; VACUUM").unwrap();
            }
            let (ours, theirs) = (image(&mut live), truth(&fixture.application));
            // A backup counts its own change in bytes 24..28 and 92..100 of page 1.
            assert_eq!(ours.len(), theirs.len(), "page size {page_size}, round {round}");
            assert!(ours[100..] == theirs[100..], "page size {page_size}, round {round}");
        }
    }
}

#[test]
fn the_index_names_the_last_frame_of_each_page() {
    let fixture = Fixture::new(1024);
    let live = fixture.attach();
    for _ in 0..4000 {
        fixture.insert(600);
    }
    let tip = live.tip().unwrap();
    assert!(tip.frame > 8192, "the index spans three blocks, not {} frames", tip.frame);
    let changes = live.changes(100, &tip).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    let mut frame = vec![0; sqlite::wal::FRAME_HEADER + 1024];
    for number in 101..=tip.frame {
        let header = live.wal().read_frame(live.page_size(), number, &mut frame).unwrap();
        expected.insert(header.unwrap().pgno, number);
    }
    assert_eq!(changes, expected.into_iter().collect::<Vec<_>>());
    assert!(live.wal().verify(0, Default::default(), tip.frame).unwrap());
}

#[test]
fn a_pin_keeps_what_is_not_captured() {
    let fixture = Fixture::new(4096);
    let live = fixture.attach();
    let before = live.tip().unwrap();
    fixture.insert(100);
    assert!(fixture.checkpoint("TRUNCATE"), "the application's checkpoint must be refused");
    assert!(fixture.checkpoint("RESTART"));
    fixture.insert(100);
    let tip = live.tip().unwrap();
    assert_eq!(tip.salts, before.salts, "the WAL may not restart");
    assert!(tip.frame > before.frame);
}

#[test]
fn a_parked_pin_allows_one_restart_only() {
    let (fixture, mut live) = Fixture::impatient();
    fixture.insert(100);
    live.rotate(nothing).unwrap();
    assert!(live.checkpoint().unwrap().is_complete());
    let parked = live.rotate(nothing).unwrap();

    fixture.insert(100);
    let restarted = live.tip().unwrap();
    assert!(restarted.salts.follow(parked.salts), "{restarted:?} after {parked:?}");
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        fixture.checkpoint(mode);
        fixture.insert(100);
    }
    assert_eq!(live.tip().unwrap().salts, restarted.salts, "a second restart loses frames");
    assert_eq!(live.backfilled().unwrap(), 0);
}

#[test]
fn a_barrier_lets_others_copy_back_but_not_start_over() {
    let (fixture, mut live) = Fixture::impatient();
    fixture.insert(100);
    let captured = live.rotate(nothing).unwrap();
    assert!(live.give_way().unwrap() && live.gave_way());
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        fixture.insert(100);
        fixture.checkpoint(mode);
        let tip = live.tip().unwrap();
        assert_eq!((tip.salts, live.backfilled().unwrap()), (captured.salts, tip.frame), "{mode}");
    }

    fixture.insert(100);
    assert_eq!(let_restart(&mut live), Restart::Missed, "it is not copied back");
    fixture.checkpoint("PASSIVE");
    let Restart::Allowed(parked) = let_restart(&mut live) else { panic!("nothing hinders it") };
    fixture.insert(100);
    let restarted = live.tip().unwrap();
    assert!(restarted.salts.follow(parked.salts), "{restarted:?} after {parked:?}");
    fixture.checkpoint("TRUNCATE");
    fixture.insert(100);
    assert_eq!(live.tip().unwrap().salts, restarted.salts, "a second restart loses frames");
    assert_eq!(live.backfilled().unwrap(), 0);

    assert!(live.give_way().unwrap());
    fixture.checkpoint("PASSIVE");
    fixture.insert(100);
    live.take_back(nothing).unwrap();
    assert!(!live.gave_way());
    assert_eq!(live.tip().unwrap().salts, restarted.salts);
    let (image, truth) = (image(&mut live), truth(&fixture.application));
    // A backup counts its own change in bytes 24..28 and 92..100 of page 1.
    assert!(image[100..] == truth[100..]);
}

fn let_restart(live: &mut Live) -> Restart {
    live.let_restart(Duration::from_millis(10), |_, _| Ok::<_, Error>(())).unwrap()
}

/// A commit between the last look and the fall of the barrier.
#[test]
fn what_is_committed_while_a_wal_may_start_anew_stays_in_it() {
    let (fixture, mut live) = Fixture::impatient();
    fixture.insert(100);
    assert!(live.give_way().unwrap());
    fixture.checkpoint("PASSIVE");
    let missed = live.let_restart(Duration::from_millis(10), |_, _| {
        fixture.insert(100);
        Ok::<_, Error>(())
    });
    assert_eq!(missed.unwrap(), Restart::Missed);
    fixture.insert(100);
    let tip = live.tip().unwrap();
    for mode in ["PASSIVE", "RESTART"] {
        fixture.checkpoint(mode);
        fixture.insert(100);
    }
    assert_eq!(live.tip().unwrap().salts, tip.salts, "a restart loses frames");
}

#[test]
fn a_barrier_stays_until_everything_is_captured() {
    let (fixture, mut live) = Fixture::impatient();
    fixture.insert(100);
    assert!(live.give_way().unwrap());
    fixture.checkpoint("PASSIVE");
    let tip = live.tip().unwrap();
    let fail = |_: &Live, _| Err::<(), _>(Error::Busy { path: fixture.path() });
    assert!(live.let_restart(Duration::from_secs(1), fail).is_err());
    assert!(live.take_back(fail).is_err());
    assert!(live.gave_way());
    fixture.insert(100);
    assert_eq!(live.tip().unwrap().salts, tip.salts, "a restart loses frames");
    fixture.checkpoint("PASSIVE");
    assert!(matches!(let_restart(&mut live), Restart::Allowed(_)));
}

#[test]
fn a_pin_stays_where_readers_have_all_marks() {
    let (fixture, mut live) = Fixture::impatient();
    let readers: Vec<Connection> = (0..4)
        .map(|_| {
            fixture.insert(100);
            let reader = Connection::open(fixture.path()).unwrap();
            reader.execute_batch("BEGIN; SELECT count(*) FROM t;").unwrap();
            reader
        })
        .collect();
    assert!(!live.give_way().unwrap() && !live.gave_way());
    drop(readers);
    let tip = live.rotate(nothing).unwrap();
    fixture.checkpoint("RESTART");
    fixture.insert(100);
    assert_eq!(live.tip().unwrap().salts, tip.salts, "the pin was given up");
}

#[test]
fn stopped_writers_are_stopped_for_the_moment() {
    let (fixture, mut live) = Fixture::impatient();
    let application = &fixture.application;
    let stopped = live.with_writers_stopped(Duration::from_secs(1), |_| {
        Ok::<_, Error>(application.execute("DELETE FROM t", []).is_err())
    });
    assert_eq!(stopped.unwrap(), Some(true));
    fixture.insert(10);

    application.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patience = Duration::from_millis(5);
    assert!(live.with_writers_stopped(patience, |_| Ok::<_, Error>(())).unwrap().is_none());
}

#[test]
fn a_replaced_database_is_noticed() {
    let fixture = Fixture::new(4096);
    let live = fixture.attach();
    assert_eq!(live.placement().unwrap(), Placement::Same);
    let aside = fixture.path().with_extension("old");
    std::fs::rename(fixture.path(), &aside).unwrap();
    assert_eq!(live.placement().unwrap(), Placement::Missing);
    std::fs::copy(&aside, fixture.path()).unwrap();
    assert_eq!(live.placement().unwrap(), Placement::Replaced);
}

#[test]
fn a_link_leads_to_the_database_and_its_wal() {
    let fixture = Fixture::new(4096);
    let link = fixture.directory.path().join("link.db");
    std::os::unix::fs::symlink(fixture.path(), &link).unwrap();
    let live = attach(&link).unwrap();
    fixture.insert(100);
    assert!(live.tip().unwrap().frame > 0);
    assert_eq!(live.placement().unwrap(), Placement::Same);
    assert!(live.wal_path().ends_with("app.db-wal"));
}

#[test]
fn what_is_no_database_is_refused_and_nothing_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.db");
    assert!(matches!(attach(&missing), Err(Error::Missing { .. })));
    assert!(!missing.exists());
    let text = directory.path().join("text.db");
    std::fs::write(&text, "not a database\n".repeat(100)).unwrap();
    assert!(matches!(attach(&text), Err(Error::NotADatabase { .. })));
}

#[test]
fn a_rollback_database_is_switched_unless_it_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    let application = Connection::open(&path).unwrap();
    application.execute_batch("CREATE TABLE t (v); BEGIN; INSERT INTO t VALUES (1)").unwrap();
    assert!(matches!(attach(&path), Err(Error::NotWal { .. })));
    application.execute_batch("COMMIT").unwrap();
    drop(application);
    drop(attach(&path).unwrap());
    let application = Connection::open(&path).unwrap();
    let mode: String = application.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(mode, "wal");
}
