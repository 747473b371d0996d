//! Many databases in one process. (failures.md A25, A29, A38)

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Oracle, Replica, Workload, turn, wait};

use crate::stage::Stage;

const SMALL: Layout = Layout { page_size: 512, wal: true, incremental_vacuum: false };

fn configure(stage: &Stage, root: &Path, more: &str) -> PathBuf {
    let config = stage.scratch.path("litestream.yml");
    let (root, replicas) = (root.display(), stage.replica.path().display());
    let text = format!(
        "dbs:\n- dir: {root}\n  pattern: \"*.db\"\n{more}  \
         replica: {{path: {replicas}}}\nsync-interval: 50ms\n"
    );
    fs::write(&config, text).expect("write a configuration");
    config
}

fn replica_of(stage: &Stage, name: &str) -> Replica {
    Replica::new(stage.replica.path().join(name))
}

fn await_replicated(stage: &Stage, name: &str, workload: Workload, n: u64) {
    let (replica, output) = (replica_of(stage, name), stage.scratch.path("restored"));
    wait::until(&format!("{name} at {n}"), PATIENCE, || {
        stage.tool.restore(&replica, None, &output).ok()?;
        let found = Oracle::new(workload).check_file(&output);
        fs::remove_file(&output).expect("remove a restored file");
        (found == Ok(n)).then_some(())
    });
}

#[test]
fn a38_many_databases_share_few_files_and_none_is_forgotten() {
    let _turn = turn::shared();
    let stage = Stage::new("many", Mix::Small);
    let root = stage.scratch.path("dbs");
    fs::create_dir(&root).expect("create a directory");
    let name = |index: usize| format!("{index}.db");
    let workload = |index: usize| Workload { seed: index as u64, mix: Mix::Small };
    let create = |index: usize| workload(index).create(&root.join(name(index)), SMALL);
    let mut apps: Vec<Connection> = (0..150).map(create).collect();
    for (index, app) in apps.iter_mut().enumerate() {
        workload(index).commit_many(app, 3);
        if index % 3 == 0 {
            *app = Connection::open_in_memory().expect("close the database");
        }
    }
    let config = configure(&stage, &root, "");
    // Room for a dozen at once.
    let replicator = stage.tool.with_files(200).replicate_config(&config, &stage.db);
    let all = || 0..apps.len();
    wait::until("the first image of all", PATIENCE, || {
        all().all(|index| replica_of(&stage, &name(index)).last_txid() > 0).then_some(())
    });
    let busy = |index: &usize| index % 7 == 1;
    let mut latest = vec![3; apps.len()];
    for index in all().filter(busy) {
        let mut app = Connection::open(root.join(name(index))).expect("open a database");
        latest[index] = workload(index).commit_many(&mut app, 5);
    }
    for index in all().step_by(5) {
        await_replicated(&stage, &name(index), workload(index), latest[index]);
    }
    for index in all() {
        let mut app = Connection::open(root.join(name(index))).expect("open a database");
        latest[index] = workload(index).commit_many(&mut app, 2);
    }
    replicator.stop();
    for index in all() {
        let output = stage.scratch.path("restored");
        stage.tool.restore(&replica_of(&stage, &name(index)), None, &output).expect("restore");
        let found = Oracle::new(workload(index)).check_file(&output);
        assert_eq!(found, Ok(latest[index]), "{index}");
        fs::remove_file(&output).expect("remove a restored file");
    }
}

#[test]
fn a29_databases_that_come_and_go_are_found() {
    let _turn = turn::shared();
    let stage = Stage::new("folder", Mix::Small);
    let root = stage.scratch.path("dbs");
    fs::create_dir(&root).expect("create a directory");
    let config = configure(&stage, &root, "  recursive: true\n  watch: true\n");
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let workload = stage.workload;

    let deep = root.join("a/b/c");
    fs::create_dir_all(&deep).expect("create directories");
    let mut app = workload.create(&deep.join("deep.db"), SMALL);
    let n = workload.commit_many(&mut app, 3);
    await_replicated(&stage, "a/b/c/deep.db", workload, n);

    let aside = stage.scratch.path("aside.db");
    let mut app = workload.create(&aside, Layout { wal: false, ..SMALL });
    let n = workload.commit_many(&mut app, 3);
    drop(app);
    fs::rename(&aside, root.join("renamed.db")).expect("rename into place");
    await_replicated(&stage, "renamed.db", workload, n);

    fs::write(root.join("late.db"), "").expect("create an empty file");
    fs::write(root.join("other.txt"), "no database").expect("create another file");
    wait::until("the empty file to be seen", PATIENCE, || {
        replica_of(&stage, "renamed.db").last_txid().gt(&0).then_some(())
    });
    let mut app = workload.create(&root.join("late.db"), SMALL);
    let n = workload.commit_many(&mut app, 3);
    await_replicated(&stage, "late.db", workload, n);

    drop(app);
    let heard = replicator.log().len();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(root.join(format!("late.db{suffix}")));
    }
    stage.await_logged(&replicator, heard, &["the database is gone"]);
    let next = Workload { seed: workload.seed + 1, ..workload };
    let mut app = next.create(&root.join("late.db"), SMALL);
    let n = next.commit_many(&mut app, 4);
    await_replicated(&stage, "late.db", next, n);

    let names: Vec<String> = (0..200).map(|index| format!("burst-{index}.db")).collect();
    for name in &names {
        let mut app = workload.create(&root.join(name), SMALL);
        workload.commit_many(&mut app, 1);
    }
    for name in &names {
        await_replicated(&stage, name, workload, 1);
    }
    replicator.stop();
    let listed = stage.tool.command(&["databases", "-config"]).arg(&config).output();
    let listed = String::from_utf8(listed.expect("start databases").stdout).expect("text");
    assert_eq!(listed.lines().count(), 1 + 3 + names.len(), "{listed}");
}

#[test]
fn a25_a_large_database_holds_no_small_one_up() {
    let _turn = turn::alone();
    let stage = Stage::new("many-large", Mix::Small);
    let root = stage.scratch.path("dbs");
    fs::create_dir(&root).expect("create a directory");
    let small: Vec<String> = (0..20).map(|index| format!("{index}.db")).collect();
    let workload = stage.workload;
    let mut apps: Vec<Connection> =
        small.iter().map(|name| workload.create(&root.join(name), SMALL)).collect();
    let config = configure(&stage, &root, "  watch: true\n");
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    for (name, app) in small.iter().zip(&mut apps) {
        workload.commit_many(app, 1);
        await_replicated(&stage, name, workload, 1);
    }

    let large = Connection::open(stage.scratch.path("large.db")).expect("open");
    large
        .execute_batch("PRAGMA synchronous = off; PRAGMA journal_mode = wal; CREATE TABLE t (a)")
        .expect("create the large database");
    for _ in 0..400 {
        large.execute("INSERT INTO t VALUES (randomblob(1000000))", []).expect("fill");
    }
    drop(large);
    fs::rename(stage.scratch.path("large.db"), root.join("large.db")).expect("rename into place");
    let arrived = || replica_of(&stage, "large.db").last_txid() > 0;
    let mut rounds = 0;
    while !arrived() {
        for (name, app) in small.iter().zip(&mut apps) {
            let txid = replica_of(&stage, name).last_txid();
            let began = std::time::Instant::now();
            workload.commit_many(app, 1);
            wait::until("the next file", PATIENCE, || {
                (replica_of(&stage, name).last_txid() > txid).then_some(())
            });
            let took = began.elapsed();
            assert!(took.as_secs() < 2, "{name}: {took:?} from commit to replica");
        }
        rounds += 1;
    }
    println!("{rounds} rounds while the large database arrived");
    replicator.stop();
}
