//! `replicate`: its beginnings, and above all its ends.

use crate::program::{Folder, add, files, until};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REPLICA: &str = "replica";
const URL: &str = "@replica";

fn restored(folder: &Folder) -> Vec<i64> {
    folder.run(&["restore", "-o", "restored.db", URL]).ok();
    folder.numbers("restored.db")
}

#[test]
fn once_brings_the_replica_up_to_date() {
    let folder = Folder::new();
    let database = folder.database("app.db");
    add(&database, 1..=100);
    folder.run(&["replicate", "-once", "app.db", URL]).ok();
    assert_eq!(restored(&folder), Vec::from_iter(1..=100));
    add(&database, 101..=103);
    folder.run(&["replicate", "app.db", URL, "-once"]).ok();
    folder.run(&["restore", "-force", "-o", "restored.db", URL]).ok();
    assert_eq!(folder.numbers("restored.db"), Vec::from_iter(1..=103));
}

#[test]
fn once_needs_a_database() {
    Folder::new()
        .run(&["replicate", "-once", "app.db", URL])
        .fails(1, "error: no database at /here/app.db\nhint: with -once it is not waited for");
}

#[test]
fn once_needs_more_than_an_empty_file() {
    let folder = Folder::new();
    folder.write("app.db", "");
    folder
        .run(&["replicate", "-once", "app.db", URL])
        .fails(1, "error: no database at /here/app.db\nhint: with -once it is not waited for");
}

/// What is committed later is not waited for, else it might never end.
#[test]
fn once_ends_though_commits_do_not() {
    let folder = Folder::new();
    let database = folder.database("app.db");
    add(&database, 1..=3);
    let replica = folder.path(REPLICA).display().to_string();
    folder.write(
        "c.yml",
        &format!("request-rate: 2\ndbs: [{{path: app.db, replica: {{path: {replica}}}}}]\n"),
    );
    let (ended, started) = (AtomicBool::new(false), Instant::now());
    let committed = std::thread::scope(|scope| {
        let (writer, ended) = (folder.path("app.db"), &ended);
        let writer = scope.spawn(move || {
            let database = rusqlite::Connection::open(writer).unwrap();
            database.busy_timeout(Duration::from_secs(60)).unwrap();
            let mut numbers = 4..;
            while !ended.load(Ordering::SeqCst) && started.elapsed() < Duration::from_secs(60) {
                let number: i64 = numbers.next().unwrap();
                database.execute("INSERT INTO numbers VALUES (?1)", [number]).unwrap();
            }
            numbers.next().unwrap() - 1
        });
        folder.run(&["replicate", "-once", "-force-snapshot", "-config", "c.yml"]).ok();
        ended.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    assert!(started.elapsed() < Duration::from_secs(60), "it ended with the last commit");
    let numbers = restored(&folder);
    assert_eq!(numbers, Vec::from_iter(1..=numbers.len() as i64));
    assert!(numbers.len() >= 3 && (numbers.len() as i64) <= committed);
}

#[test]
fn once_gives_up_on_a_replica_that_keeps_failing() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=5);
    folder.write("file", "no directory can be made below a file");
    let ran = folder.run(&["replicate", "-once", "app.db", "file/replica"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("error: not replicated: /here/app.db: "), "{ran:?}");
}

#[test]
fn sigterm_and_sigint_carry_the_last_commits() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let database = folder.database("app.db");
        let mut running = folder.start(&["replicate", "app.db", URL]);
        until("the first file", || files(&folder.path(REPLICA)) > 0);
        add(&database, 1..=500);
        running.signal(signal);
        running.wait().ok();
        assert_eq!(restored(&folder), Vec::from_iter(1..=500));
    }
}

#[test]
fn the_childs_code_is_ours_and_its_commits_are_kept() {
    for (command, code) in
        [("sh -c 'exit 7'", 7), ("true", 0), ("sh -c 'kill -9 $$'", 137), ("sh -c 'kill $$'", 143)]
    {
        let folder = Folder::new();
        let database = folder.database("app.db");
        add(&database, 1..=50);
        let ran = folder.run(&["replicate", "-exec", command, "app.db", URL]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(restored(&folder), Vec::from_iter(1..=50));
    }
}

#[test]
fn signals_reach_the_child_and_it_is_waited_for() {
    let folder = Folder::new();
    let database = folder.database("app.db");
    let command =
        "sh -c 'trap \"echo got it; exit 9\" TERM; echo ready; while :; do sleep 0.01; done'";
    let mut running = folder.start(&["replicate", "-exec", command, "app.db", URL]);
    let mut stdout = BufReader::new(running.child().stdout.take().unwrap()).lines();
    assert_eq!(stdout.next().unwrap().unwrap(), "ready");
    add(&database, 1..=20);
    running.signal(Signal::TERM);
    assert_eq!(stdout.next().unwrap().unwrap(), "got it");
    assert_eq!(running.wait().code, Some(9));
    assert_eq!(restored(&folder), Vec::from_iter(1..=20));
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let folder = Folder::new();
    folder.database("app.db");
    let command = "sh -c 'trap \"\" TERM; echo ready; exec sleep 1000'";
    let mut running = folder.start(&["replicate", "-exec", command, "app.db", URL]);
    let mut stdout = BufReader::new(running.child().stdout.take().unwrap()).lines();
    assert_eq!(stdout.next().unwrap().unwrap(), "ready");
    running.signal(Signal::TERM);
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap()).lines();
    until("the first signal", || stderr.next().unwrap().unwrap().contains("signal received"));
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, Some(137));
}

#[test]
fn a_final_sync_that_does_not_finish_is_code_11() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=5);
    folder.write("file", "no directory can be made below a file");
    folder.write(
        "c.yml",
        "shutdown-sync-timeout: 100ms\nlogging: {type: json}\n\
         dbs: [{path: app.db, replica: {path: file/replica}}]\n",
    );
    let ran = folder.run(&["replicate", "-config", "c.yml", "-exec", "true"]);
    assert_eq!(ran.code, Some(11), "{ran:?}");
    let lines: Vec<serde_json::Value> =
        ran.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let unfinished = |line: &serde_json::Value| {
        line["level"] == "ERROR" && line["msg"].as_str().is_some_and(|it| it.contains("final sync"))
    };
    assert!(lines.iter().any(unfinished), "{}", ran.stderr);

    let ran = folder.run(&["replicate", "-config", "c.yml", "-exec", "sh -c 'exit 3'"]);
    assert_eq!(ran.code, Some(3), "the child's own code comes first: {ran:?}");
}

#[test]
fn a_program_that_cannot_run_is_an_error() {
    let folder = Folder::new();
    folder.database("app.db");
    let ran = folder.run(&["replicate", "-exec", "/no/such/program", "app.db", URL]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("error: cannot run \"/no/such/program\""), "{ran:?}");
}

#[test]
fn a_configuration_replicates_all_of_its_databases() {
    let folder = Folder::new();
    folder.write(
        "c.yml",
        "dbs:\n- {path: a.db, replica: {path: ra}}\n- {path: b.db, replica: {path: rb}}\n",
    );
    add(&folder.database("a.db"), 1..=3);
    add(&folder.database("b.db"), 4..=6);
    folder.run(&["replicate", "-config", "c.yml", "-once"]).ok();
    let back = |name: &str, copy: &str| {
        folder.run(&["restore", "-config", "c.yml", "-o", copy, name]).ok();
        folder.numbers(copy)
    };
    assert_eq!(back("a.db", "a2.db"), [1, 2, 3]);
    assert_eq!(back("b.db", "b2.db"), [4, 5, 6]);
}

#[test]
fn a_database_that_comes_later_is_waited_for() {
    let folder = Folder::new();
    let mut running = folder.start(&["replicate", "app.db", URL]);
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap()).lines();
    until("the start", || stderr.next().unwrap().unwrap().contains("msg=starting"));
    assert!(!folder.path("app.db").exists());
    add(&folder.database("app.db"), 1..=9);
    until("the first file", || files(&folder.path(REPLICA)) > 0);
    running.signal(Signal::TERM);
    running.wait().ok();
    assert_eq!(restored(&folder), Vec::from_iter(1..=9));
}

/// The names of the files of a level, in their order.
fn level(folder: &Folder, level: u8) -> Vec<String> {
    let place = folder.path(REPLICA).join("ltx").join(level.to_string());
    let names = std::fs::read_dir(place).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<_> = names.map(|it| it.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn once_can_have_the_newest_state_stored_as_a_snapshot() {
    let folder = Folder::new();
    let database = folder.database("app.db");
    add(&database, 1..=3);
    let once = |flags: &[&str]| {
        folder.run(&[&["replicate", "-once"], flags, &["app.db", URL]].concat()).ok();
        level(&folder, 9)
    };
    let first = once(&["-force-snapshot"]);
    assert_eq!(first.len(), 1, "{first:?}");
    add(&database, 4..=6);
    assert_eq!(once(&[]), first, "it is not due");
    let both = once(&["-force-snapshot"]);
    assert_eq!((both.len(), &both[0]), (2, &first[0]), "{both:?}");
    assert_eq!(both[1][17..], level(&folder, 0).last().unwrap()[17..], "it is of the newest state");
    assert_eq!(once(&["-force-snapshot"]), both, "one is there already");
    assert_eq!(restored(&folder), Vec::from_iter(1..=6));
}

#[test]
fn once_can_delete_snapshots_that_are_too_old() {
    let folder = Folder::new();
    folder.write(
        "c.yml",
        "snapshot: {retention: 1s}\ndbs: [{path: app.db, replica: {path: replica}}]\n",
    );
    let database = folder.database("app.db");
    let once = |flags: &[&str]| {
        let args = [&["replicate", "-config", "c.yml", "-once"], flags].concat();
        folder.run(&args).ok();
        level(&folder, 9)
    };
    for n in 1..=3 {
        add(&database, n..=n);
        once(&["-force-snapshot"]);
    }
    let all = level(&folder, 9);
    assert_eq!(all.len(), 3, "{all:?}");
    let newest = std::fs::metadata(folder.path("replica/ltx/9").join(&all[2])).unwrap();
    until("the newest to be old", || newest.modified().unwrap().elapsed().unwrap().as_secs() >= 2);
    assert_eq!(once(&["-enforce-retention"]), all[2..]);
    assert_eq!(restored(&folder), [1, 2, 3]);
}

#[test]
fn a_missing_database_is_restored_before_it_begins() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=5);
    folder.run(&["replicate", "-once", "app.db", URL]).ok();
    let lose = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path(&format!("app.db{suffix}")));
        }
    };
    let flag = ["replicate", "-once", "-restore-if-db-not-exists", "app.db", URL];
    lose();
    folder.run(&flag).ok();
    assert_eq!(folder.numbers("app.db"), Vec::from_iter(1..=5));
    add(&folder.database_or_open("app.db"), 6..=6);
    folder.run(&flag).ok();
    assert_eq!(folder.numbers("app.db"), Vec::from_iter(1..=6), "one that is there stays");
    folder.write(
        "c.yml",
        "dbs: [{path: app.db, restore-if-db-not-exists: yes, replica: {path: replica}}]\n",
    );
    lose();
    folder.run(&["replicate", "-once", "-config", "c.yml"]).ok();
    assert_eq!(folder.numbers("app.db"), Vec::from_iter(1..=6));
    lose();
    // The application finds it when it starts.
    let application = "test -s app.db";
    folder.run(&["replicate", "-config", "c.yml", "-exec", application]).ok();
}

#[test]
fn without_a_backup_it_begins_afresh_and_with_a_bad_one_not_at_all() {
    let folder = Folder::new();
    let flag = |url: &'static str| ["replicate", "-restore-if-db-not-exists", "app.db", url];
    let mut running = folder.start(&flag("@nothing"));
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap()).lines();
    until("the start", || stderr.next().unwrap().unwrap().contains("starting afresh"));
    running.signal(Signal::TERM);
    running.wait().ok();
    std::fs::create_dir_all(folder.path("bad/ltx/0")).unwrap();
    folder.write("bad/ltx/0/0000000000000001-0000000000000001.ltx", "no LTX file");
    let ran = folder.run(&flag("@bad"));
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(!folder.path("app.db").exists());
    let once = ["replicate", "-once", "-restore-if-db-not-exists", "app.db", "@nothing"];
    let ran = folder.run(&once);
    assert!(ran.code == Some(1) && ran.stderr.contains("error: no database at"), "{ran:?}");
}
