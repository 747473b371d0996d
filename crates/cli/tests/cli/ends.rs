//! How a running `replicate` ends when its storage is slow. (failures.md A41)

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::program::{Folder, files, until};

/// So slow that nothing large goes out in time.
const SLOW: &str = "upload-rate: 20000\nshutdown-sync-timeout: 5s\n\
                    dbs: [{path: a.db, replica: {path: ra}}]\n";

/// A daemon with more to upload than it can.
fn behind(folder: &Folder) -> Daemon<'_> {
    let database = folder.database("a.db");
    let daemon = Daemon::start(folder, SLOW);
    until("the first file", || files(&folder.path("ra")) > 0);
    database.execute_batch("CREATE TABLE large AS SELECT randomblob(4000000) AS bytes").unwrap();
    until("the backlog", || {
        let status = daemon.get("/status").json();
        status["databases"][0]["replicas"][0]["backlog_bytes"].as_u64() > Some(3_000_000)
    });
    daemon
}

#[test]
fn a41_a_slow_storage_does_not_hold_the_end_beyond_its_budget() {
    let folder = Folder::new();
    let mut daemon = behind(&folder);
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(11), "{log}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {log}", began.elapsed());
    let line = log.lines().find(|it| it.contains("final sync did not finish")).expect(&log);
    assert!(line.contains("transactions=1") && line.contains(" bytes=4"), "{line}");
    let early = log.lines().find(|it| it.contains("not uploaded yet")).expect(&log);
    assert!(early.contains(" bytes=4"), "whoever gives us less time finds it in the log: {early}");

    // The rest goes first next time.
    folder.write("c.yml", "dbs: [{path: a.db, replica: {path: ra}}]\n");
    folder.run(&["replicate", "-config", "c.yml", "-once"]).ok();
    folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
    let copy = rusqlite::Connection::open(folder.path("copy.db")).unwrap();
    let length = copy.query_row("SELECT length(bytes) FROM large", [], |row| row.get::<_, i64>(0));
    assert_eq!(length.unwrap(), 4_000_000);
}

#[test]
fn a41_a_second_signal_ends_the_wait_for_a_slow_storage() {
    let folder = Folder::new();
    let mut daemon = behind(&folder);
    daemon.running.signal(Signal::TERM);
    daemon.await_log("stopping: carrying the last commits");
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(11), "{log}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}: {log}", began.elapsed());
}

#[test]
fn a41_a_reload_does_not_hold_the_end() {
    let folder = Folder::new();
    let mut daemon = behind(&folder);
    folder.database("b.db");
    let other = SLOW.replace("a.db", "b.db").replace("path: ra", "path: rb");
    Daemon::configure(&folder, &other);
    daemon.running.signal(Signal::HUP);
    daemon.await_log("added=1 changed=0 removed=1 kept=0");
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(11), "{log}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {log}", began.elapsed());
    let told = log.lines().find(|it| it.contains("final sync did not finish")).expect(&log);
    assert!(told.contains("a.db"), "the one that was to go is not forgotten: {told}");
}
