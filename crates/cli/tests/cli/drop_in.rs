//! Scripts that were written for Litestream, unchanged, with a link named `litestream`.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use crate::program::{Folder, add, files, until};

/// A folder whose `bin` has the program under the other name.
fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_brooklet"), folder.path("bin/litestream")).unwrap();
    folder
}

/// A script that runs there.
fn script(folder: &Folder, text: &str) -> Command {
    folder.write("run.sh", text);
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").unwrap();
    command.arg("run.sh").current_dir(folder.path("").canonicalize().unwrap());
    command.env("PATH", format!("{}:{path}", folder.path("bin").display()));
    command.env("DATA", folder.path("data")).env("REPLICA_URL", url(folder));
    command.env("LITESTREAM_CONFIG", folder.path("etc/litestream.yml"));
    command
}

fn url(folder: &Folder) -> String {
    format!("file://{}", folder.path("replica").display())
}

#[track_caller]
fn fine(output: Output) -> String {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    stdout
}

/// As in the guide for containers: restore if there is anything, then run the application below
/// `replicate -exec`.
const RUN_SH: &str = r#"#!/bin/bash
set -e

# Restore the database if it does not already exist.
if [ -f "$DATA/db" ]; then
	echo "Database already exists, skipping restore"
else
	echo "No database found, restoring from replica if exists"
	litestream restore -v -if-replica-exists -o "$DATA/db" "${REPLICA_URL}"
fi

# Run litestream with your app as the subprocess.
exec litestream replicate -exec "$APPLICATION" "$DATA/db" "${REPLICA_URL}"
"#;

#[test]
fn a_run_script_restores_and_replicates_the_application() {
    let folder = folder();
    std::fs::create_dir(folder.path("data")).unwrap();
    let run = |numbers: std::ops::RangeInclusive<i64>, found: &str| {
        // The application: waits for its replication, writes, and ends.
        let mut command = script(&folder, RUN_SH);
        let said = command.env("APPLICATION", "sh -c 'echo application; exit 0'").output().unwrap();
        let said = fine(said);
        assert!(said.starts_with(found) && said.ends_with("application\n"), "{said}");
        // What it wrote is there the next time.
        let database = folder.database_or_open("data/db");
        add(&database, numbers);
        drop(database);
        fine(script(&folder, RUN_SH).env("APPLICATION", "true").output().unwrap());
    };
    run(1..=10, "No database found");
    run(11..=20, "Database already exists");
    std::fs::remove_dir_all(folder.path("data")).unwrap();
    std::fs::create_dir(folder.path("data")).unwrap();
    run(21..=30, "No database found");
    assert_eq!(folder.numbers("data/db"), Vec::from_iter(1..=30));
}

/// Two containers of a compose file: one restores and ends, one replicates beside the application.
const COMPOSE: &str = r#"set -e
# services.restore.command
litestream restore -if-db-not-exists -if-replica-exists "$DATA/db"
echo restored
# services.litestream.command
exec litestream replicate
"#;

#[test]
fn a_sidecar_restores_first_and_then_replicates() {
    let folder = folder();
    for name in ["data", "etc"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    folder.write(
        "etc/litestream.yml",
        "# written for Litestream\n\
         dbs:\n  - path: ${DATA}/db\n    replicas:\n      - type: file\n        name: backup\n        \
         path: ${DATA}/../replica\n        sync-interval: 100ms\n",
    );
    let sidecar = || {
        let mut command = script(&folder, COMPOSE);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let stop = |child: std::process::Child| {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        fine(child.wait_with_output().unwrap())
    };
    let first = sidecar();
    until("the restore to be over", || catches_sigterm(first.id()));
    let database = folder.database("data/db");
    add(&database, 1..=50);
    until("the first file", || files(&folder.path("replica")) > 0);
    let said = stop(first);
    assert!(said.contains("skipped: no backup") && said.ends_with("restored\n"), "{said}");

    drop(database);
    std::fs::remove_dir_all(folder.path("data")).unwrap();
    std::fs::create_dir(folder.path("data")).unwrap();
    let second = sidecar();
    until("the restore to be over", || catches_sigterm(second.id()));
    assert_eq!(folder.numbers("data/db"), Vec::from_iter(1..=50));
    stop(second);
}

/// Whether it listens to signals, as `replicate` does and the shell before it does not.
fn catches_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|it| it & 1 << 14 != 0)
}

#[test]
fn it_speaks_of_itself_by_the_name_that_it_was_called_by() {
    let folder = folder();
    let said = fine(script(&folder, "litestream help restore").output().unwrap());
    assert!(said.contains("Usage: litestream restore") && !said.contains("brooklet "), "{said}");
    let output = script(&folder, "litestream restor").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = script(&folder, "litestream").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("litestream help lists the commands"), "{stderr}");
}

#[test]
fn every_flag_of_litestream_is_taken_in_its_forms() {
    let folder = folder();
    for name in ["data", "etc"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    folder.write("etc/litestream.yml", "dbs: [{path: $DATA/db, replica: {path: $DATA/replica}}]\n");
    add(&folder.database("data/db"), 1..=3);
    let fine_script = |text: &str| fine(script(&folder, text).output().unwrap());
    for line in [
        "replicate -once -log-level=error",
        "replicate --once --force-snapshot --enforce-retention -log-level error",
        "replicate -once -restore-if-db-not-exists -log-level debug",
        "replicate -config $LITESTREAM_CONFIG -once",
        "restore -o out1.db -parallelism 4 -integrity-check quick $DATA/db",
        "restore -o=out1.db -if-db-not-exists -if-replica-exists $DATA/db",
        "restore -json -force -o out1.db -timestamp 2100-01-01T00:00:00Z $DATA/db",
        "restore -dry-run -json -o out2.db -txid 0000000000000001 $DATA/db",
        "restore -config $LITESTREAM_CONFIG -o out2.db -v $DATA/db",
        "databases -json",
        "databases -config $LITESTREAM_CONFIG",
        "ltx -level all -json $DATA/db",
        "ltx -level 9 $DATA/db",
        "wal $DATA/db",
        "reset -dry-run -config $LITESTREAM_CONFIG $DATA/db",
        "reset $DATA/db",
        "version",
        "version -verbose",
    ] {
        fine_script(&format!("litestream {line}"));
    }
    // -no-expand-env takes the file at its word: such a database is not there.
    let output = script(&folder, "litestream databases -no-expand-env").output().unwrap();
    assert!(fine(output).contains("/$DATA/db"));
}
