//! What applications do to the WAL while it is replicated: checkpoints of every kind from other
//! processes, any auto-checkpoint, long readers, VACUUM, growth, every page size. (capture.md 8)

use std::fs;

use testkit::{
    Chaos, Layout, Mix, Process, Reader, Tool, Vacuum, Writer, scaled, sweep, turn, workload,
};

use crate::stage::Stage;

#[test]
fn checkpoints_from_other_processes_without_auto_checkpoint() {
    survive_chaos("chaos-0", 0);
}

#[test]
fn checkpoints_from_other_processes_with_auto_checkpoint_at_every_page() {
    survive_chaos("chaos-1", 1);
}

#[test]
fn checkpoints_from_other_processes_with_the_usual_auto_checkpoint() {
    survive_chaos("chaos-1000", 1000);
}

/// Two writers, a checkpointer, a long reader, and a replicator that is killed twice.
fn survive_chaos(name: &str, autocheckpoint: u32) {
    let _turn = turn::shared();
    let mut stage = Stage::new(name, Mix::Everything);
    drop(stage.create(Layout::default()));
    let write = |rate| Process::start(Writer { rate, autocheckpoint, ..stage.writer() });
    let writers = [write(60), write(25)];
    let chaos = Chaos { db: stage.db.clone(), seed: stage.workload.seed, pause: 40 };
    let chaos = Process::start(chaos);
    let reader = Process::start(Reader { db: stage.db.clone(), hold: 400 });
    for _ in 0..scaled(3) {
        let replicator = stage.replicate_first();
        writers[0].await_commits(stage.rng.u64(50..150));
        replicator.kill();
        writers[0].await_commits(stage.rng.u64(0..20));
    }
    let replicator = stage.replicate_first();
    writers[0].await_commits(scaled(150));
    let n = writers.map(|writer| writer.stop().committed).into_iter().max().unwrap_or(0);
    let (checkpoints, reads) = (chaos.stop(), reader.stop());
    assert!(checkpoints.rounds > 0, "no checkpoint was made");
    assert!(reads.rounds > 0, "no read transaction ended");
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn a13_vacuum_again_and_again() {
    let _turn = turn::shared();
    let stage = Stage::new("vacuum", Mix::Everything);
    drop(stage.create(Layout::default()));
    let replicator = stage.replicate_first();
    let writer = Process::start(Writer { rate: 60, ..stage.writer() });
    let vacuum = Vacuum { db: stage.db.clone(), seed: stage.workload.seed, pause: 300 };
    let vacuum = Process::start(vacuum);
    writer.await_commits(scaled(300));
    assert!(vacuum.stop().rounds > 0, "no VACUUM was made");
    let n = writer.stop().committed;
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn a_large_deletion_vacuumed_shrinks_the_restored_file() {
    let _turn = turn::shared();
    let stage = Stage::new("shrink", Mix::Growth);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let n = stage.workload.commit_many(&mut app, 25);
    stage.tool.await_n(&stage.replica, n);
    app.execute_batch("CREATE TABLE filler(x); DROP TABLE filler; VACUUM").expect("VACUUM");
    let n = stage.workload.commit_many(&mut app, 5);
    stage.tool.await_n(&stage.replica, n);
    app.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; VACUUM").expect("turn on auto-vacuum");
    for _ in 0..scaled(5) {
        let n = stage.workload.commit_many(&mut app, 4);
        stage.tool.await_n(&stage.replica, n);
        let mut vacuum = app.prepare("PRAGMA incremental_vacuum(1000)").expect("prepare");
        let mut rows = vacuum.query([]).expect("incremental vacuum");
        while rows.next().expect("incremental vacuum").is_some() {}
    }
    let n = workload::last(&app).expect("the last transaction");
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn growth_by_thousands_of_pages_while_others_checkpoint() {
    let _turn = turn::shared();
    let mut stage = Stage::new("growth", Mix::Growth);
    drop(stage.create(Layout { page_size: 1024, ..Layout::default() }));
    let writer = Process::start(Writer { rate: 25, autocheckpoint: 0, ..stage.writer() });
    let chaos = Chaos { db: stage.db.clone(), seed: stage.workload.seed, pause: 5 };
    let chaos = Process::start(chaos);
    for _ in 0..scaled(3) {
        let replicator = stage.replicate_first();
        writer.await_commits(stage.rng.u64(15..40));
        replicator.kill();
    }
    let replicator = stage.replicate_first();
    writer.await_commits(scaled(30));
    let n = writer.stop().committed;
    chaos.stop();
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn every_page_size_restores_alike_by_us_and_by_litestream() {
    let _turn = turn::shared();
    let litestream = Tool::litestream();
    std::thread::scope(|sizes| {
        for exponent in 9..=16 {
            let litestream = litestream.as_ref();
            sizes.spawn(move || restore_alike(1 << exponent, litestream));
        }
    });
}

fn restore_alike(page_size: u32, litestream: Option<&Tool>) {
    let mut stage = Stage::new(&format!("page-size-{page_size}"), Mix::Everything);
    let incremental_vacuum = stage.rng.bool();
    let layout = Layout { page_size, incremental_vacuum, ..Layout::default() };
    let mut app = stage.create(layout);
    let mut n = 0;
    for _ in 0..scaled(2) {
        let replicator = stage.replicate_first();
        for _ in 0..3 {
            let burst = stage.rng.u64(1..20);
            n = stage.workload.commit_many(&mut app, burst);
            stage.tool.await_n(&stage.replica, n);
        }
        if stage.rng.bool() {
            replicator.kill();
        } else {
            replicator.stop();
        }
    }
    stage.expect_all_right(n);
    if let Some(litestream) = litestream {
        stage.expect_same_restores(litestream);
    }
}

#[test]
fn a20_a_wal_that_is_reused_in_place_keeps_its_size_and_is_still_read() {
    let _turn = turn::shared();
    let stage = Stage::new("reused", Mix::Small);
    let mut app = stage.create(Layout::default());
    app.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA busy_timeout=0")
        .expect("no auto-checkpoint, no patience");
    let replicator = stage.replicate_first();
    for _ in 0..scaled(3) {
        let n = stage.workload.commit_many(&mut app, 300);
        stage.tool.await_n(&stage.replica, n);
        let restart = app.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        restart.expect("ask for a restart");
        for _ in 0..3 {
            let n = stage.workload.commit_many(&mut app, 1);
            stage.tool.await_n(&stage.replica, n);
        }
    }
    let n = workload::last(&app).expect("the last transaction");
    replicator.stop();
    stage.expect_all_right(n);
}

#[test]
fn a_tagged_replica_is_right_under_a_writer_at_full_speed() {
    let _turn = turn::alone();
    let stage = Stage::new("full-speed", Mix::Small);
    drop(stage.create(Layout::default()));
    let replicator = stage.replicate_first();
    let limit = scaled(60_000);
    let writer = Writer { rate: 0, limit, synchronous: "OFF".to_owned(), ..stage.writer() };
    let n = Process::start(writer).await_done().committed;
    replicator.stop();
    let mut oracle = stage.oracle();
    let found = sweep(&stage.tool, &stage.replica, &mut oracle);
    found.expect_all_right(n);
}

/// A disk that takes its time for the WAL.
const SLOW: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int sync_slowly(int file, const char *name) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    if (length >= 4 && !memcmp(path + length - 4, "-wal", 4)) usleep(40000);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return sync_slowly(file, "fsync"); }
int fdatasync(int file) { return sync_slowly(file, "fdatasync"); }
"#;

/// Its write to the WAL is the last event, and comes while we are busy with the commit before.
#[test]
fn a_commit_right_behind_another_is_found_though_its_fsync_takes_long() {
    let _turn = turn::shared();
    let stage = Stage::new("behind", Mix::Small);
    let (source, library) = (stage.scratch.path("slow.c"), stage.scratch.path("slow.so"));
    fs::write(&source, SLOW).expect("write the library");
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    assert!(compiler.status().expect("run the C compiler").success());
    // Found by the next slow look it would be too late.
    let config = stage.scratch.path("litestream.yml");
    let replica = stage.replica.path().display();
    let text = format!(
        "dbs:\n- path: {}\n  monitor-interval: 10m\n  replica: {{path: {replica}, \
         sync-interval: 10ms}}\n",
        stage.db.display(),
    );
    fs::write(&config, text).expect("write a configuration");
    let _app = stage.create(Layout::default());
    let mut replicator = stage.tool.replicate_config(&config, &stage.db);
    replicator.await_first_file(&stage.replica);
    for round in 1..=5 {
        let synchronous = "FULL".to_owned();
        let pair = Writer { rate: 0, limit: 2, synchronous, ..stage.writer() };
        Process::start_with(pair, Some(&library)).await_done();
        stage.tool.await_n(&stage.replica, 2 * round);
    }
    replicator.stop();
}
