//! What `verify` proves, and what it finds. (failures.md A6, A8, A9)

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Output;

use testkit::{Layout, Mix, Replica, turn};

use crate::stage::Stage;

fn config(stage: &Stage, replicas: &[&Replica]) -> PathBuf {
    let path = stage.scratch.path("litestream.yml");
    let urls: Vec<String> = replicas.iter().map(|it| format!("{{url: {}}}", it.url())).collect();
    let (db, urls) = (stage.db.display(), urls.join(", "));
    fs::write(&path, format!("dbs: [{{path: {db}, replicas: [{urls}]}}]\n")).expect("write");
    path
}

fn run(stage: &Stage, command: &str, config: &PathBuf, more: &[&str]) -> Output {
    let mut command = stage.tool.command(&[command, "-config"]);
    command.arg(config).args(more).arg(&stage.db).output().expect("start")
}

#[track_caller]
fn expect(output: &Output, code: i32, word: &str) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word), "{word:?} is not in: {said}");
}

/// A database with a replica of ten files.
fn replicated(name: &str) -> Stage {
    let stage = Stage::new(name, Mix::Small);
    let mut app = stage.create(Layout::default());
    for _ in 0..10 {
        stage.workload.commit_many(&mut app, 3);
        stage.tool.replicate_once(&stage.db, &stage.replica);
    }
    stage
}

#[test]
fn a_replica_is_compared_with_its_running_database() {
    let _turn = turn::shared();
    let stage = Stage::new("verify-live", Mix::Small);
    let mut app = stage.create(Layout::default());
    let config = config(&stage, &[&stage.replica]);
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let n = stage.workload.commit_many(&mut app, 20);
    stage.tool.await_n(&stage.replica, n);
    expect(&run(&stage, "verify", &config, &["-full"]), 0, "pages equal the database's");
    expect(&run(&stage, "verify", &config, &["-full", "-json"]), 0, "\"compared\": \"equal\"");
    expect(&run(&stage, "verify", &config, &[]), 0, "can be restored");
    let left = fs::read_dir(stage.scratch.path("")).expect("list").flatten();
    let left = left.filter(|it| it.file_name().to_string_lossy().contains("brooklet-verify"));
    assert_eq!(left.count(), 0, "no scratch file stays");
    replicator.stop();
}

#[test]
fn a_database_that_is_not_what_was_captured_is_told_apart() {
    let _turn = turn::shared();
    let stage = Stage::new("verify-differs", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 20);
    let config = config(&stage, &[&stage.replica]);
    stage.tool.replicate_once(&stage.db, &stage.replica);
    app.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("checkpoint");
    let mut file = fs::File::options().read(true).write(true).open(&stage.db).expect("open");
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).expect("seek");
    file.read_exact(&mut last).expect("read");
    file.seek(SeekFrom::End(-1)).expect("seek");
    file.write_all(&[!last[0]]).expect("damage the last page");
    // The file must not be closed by this process while `app` has its locks.
    expect(&run(&stage, "verify", &config, &["-full"]), 8, "is not the database's");
    drop(app);
    drop(file);
}

#[test]
fn a9_holes_and_rot_are_named() {
    let _turn = turn::shared();
    let stage = replicated("verify-rot");
    let config = config(&stage, &[&stage.replica]);
    let files = stage.replica.files();
    let rotten = &files[5].path;
    let sound = fs::read(rotten).expect("read");
    let mut rot = sound.clone();
    let middle = rot.len() / 2;
    rot[middle] ^= 0x10;
    fs::write(rotten, &rot).expect("rot");
    let name = rotten.file_name().expect("a name").to_string_lossy().into_owned();
    expect(&run(&stage, "verify", &config, &["-full"]), 7, &name);
    fs::write(rotten, &sound[..50]).expect("cut short");
    expect(&run(&stage, "verify", &config, &[]), 7, &name);
    fs::remove_file(rotten).expect("remove");
    expect(&run(&stage, "verify", &config, &[]), 7, "are missing from the replica");
}

#[test]
fn restore_falls_back_to_the_next_replica() {
    let _turn = turn::shared();
    let stage = Stage::new("verify-fall-back", Mix::Small);
    let other = Replica::new(stage.scratch.path("other"));
    let mut app = stage.create(Layout::default());
    let config = config(&stage, &[&stage.replica, &other]);
    let replicator = stage.tool.replicate_config(&config, &stage.db);
    let mut n = 0;
    for _ in 0..5 {
        n = stage.workload.commit_many(&mut app, 3);
        stage.tool.await_n(&stage.replica, n);
        stage.tool.await_n(&other, n);
    }
    replicator.stop();
    let output = stage.scratch.path("restored");
    let path = output.display().to_string();
    let restore = || {
        let _ = fs::remove_file(&output);
        run(&stage, "restore", &config, &["-o", &path])
    };
    fs::write(&stage.replica.files()[3].path, b"rot").expect("rot");
    expect(&restore(), 0, "this replica cannot be used");
    assert_eq!(stage.oracle().check_file(&output), Ok(n));
    fs::remove_dir_all(stage.replica.path()).expect("remove the first");
    expect(&restore(), 0, "");
    assert_eq!(stage.oracle().check_file(&output), Ok(n));
    fs::remove_dir_all(other.path()).expect("remove the second");
    expect(&restore(), 4, "no backup");
}
