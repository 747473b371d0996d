//! The exit codes that scripts rely on, each seen. Those of `-exec` and of the final sync (the
//! child's own, and 11) are with the tests of `replicate`; more of 6 is where servers are.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::daemon::Daemon;
use crate::program::{Folder, Ran, add};

/// A folder with a database and its backup.
fn backed_up() -> Folder {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=3);
    folder.run(&["replicate", "-once", "-force-snapshot", "app.db", "@replica"]).ok();
    folder
}

#[track_caller]
fn ends(code: i32, folder: &Folder, args: &[&str]) -> Ran {
    let ran = folder.run(args);
    assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    if code != 0 {
        assert!(ran.stderr.starts_with("error: ") && ran.stdout.is_empty(), "{ran:?}");
    }
    ran
}

#[test]
fn code_0_done_or_skipped_as_asked() {
    let folder = backed_up();
    ends(0, &folder, &["restore", "-o", "new.db", "@replica"]);
    ends(0, &folder, &["restore", "-if-db-not-exists", "-o", "new.db", "@replica"]);
    ends(0, &folder, &["restore", "-if-replica-exists", "-o", "other.db", "@nothing"]);
    ends(0, &folder, &["check", "@replica"]);
}

#[test]
fn code_1_a_failure_without_a_code_of_its_own() {
    let folder = backed_up();
    ends(1, &folder, &["restore", "-o", "app.db", "@replica"]);
    ends(1, &folder, &["reset", "nowhere.db"]);
}

#[test]
fn code_2_the_command_line_cannot_be_followed() {
    let folder = Folder::new();
    ends(2, &folder, &["restore", "@replica"]);
    ends(2, &folder, &["check"]);
    ends(2, &folder, &["doctor", "-fast"]);
}

#[test]
fn code_3_the_configuration_is_missing_or_invalid() {
    let folder = Folder::new();
    folder.write("bad.yml", "dbs: [");
    folder.write("good.yml", "dbs: [{path: a.db, replica: {path: b}}]\n");
    for command in ["restore", "ltx", "check", "verify", "doctor"] {
        ends(3, &folder, &[command, "-config", "missing.yml", "app.db"]);
        ends(3, &folder, &[command, "-config", "bad.yml", "app.db"]);
        ends(3, &folder, &[command, "-config", "good.yml", "app.db"]);
    }
    ends(3, &folder, &["replicate", "-config", "bad.yml"]);
    ends(3, &folder, &["databases", "-config", "bad.yml"]);
}

#[test]
fn code_4_no_backup_found() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("empty")).unwrap();
    for place in ["@empty", "@nothing"] {
        ends(4, &folder, &["restore", "-o", "new.db", place]);
        ends(4, &folder, &["check", place]);
        ends(4, &folder, &["verify", place]);
    }
}

#[test]
fn code_5_access_is_denied() {
    let folder = backed_up();
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(name), permissions).unwrap();
    };
    mode("", 0o777);
    mode("replica", 0o700);
    let denied = |args: &[&str]| {
        let mut command = folder.command(args);
        if rustix::process::getuid().is_root() {
            command.uid(65534).gid(65534);
        } else {
            mode("replica", 0o000);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap() + &stderr
    };
    assert!(denied(&["restore", "-o", "new.db", "@replica"]).contains("hint: "));
    denied(&["restore", "-if-db-not-exists", "-if-replica-exists", "-o", "new.db", "@replica"]);
    denied(&["check", "@replica"]);
    let report = denied(&["doctor", "@replica"]);
    assert!(report.contains("fail  ") && report.contains(": list: "), "{report}");
    mode("replica", 0o700);
}

#[test]
fn code_6_a_storage_that_does_not_answer_is_told_of_before_it_is_given_up() {
    let keys = "access-key-id=a&secret-access-key=b&region=x&timeout=10s";
    let url = format!("s3://bucket/app?endpoint=http://127.0.0.1:1&{keys}");
    let folder = Folder::new();
    let ran = folder.run(&["restore", "-o", "new.db", &url]);
    assert_eq!(ran.code, Some(6), "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let told = lines.iter().position(|line| line.contains("it is tried again"));
    let gave_up = lines.iter().position(|line| line.starts_with("error: "));
    assert!(told.is_some() && told < gave_up, "{ran:?}");
    assert_eq!(ran.stderr.matches("it is tried again").count(), 1, "{ran:?}");
}

#[test]
fn code_7_a_backup_that_cannot_be_restored() {
    let folder = backed_up();
    for level in ["0", "9"] {
        for file in std::fs::read_dir(folder.path("replica/ltx").join(level)).unwrap() {
            std::fs::write(file.unwrap().path(), "not an LTX file").unwrap();
        }
    }
    ends(7, &folder, &["restore", "-o", "new.db", "@replica"]);
    ends(7, &folder, &["check", "@replica"]);
    ends(7, &folder, &["verify", "@replica"]);
    std::fs::remove_dir_all(folder.path("replica/ltx")).unwrap();
    folder.write("replica/of-another-program", "who knows");
    ends(7, &folder, &["restore", "-if-replica-exists", "-o", "new.db", "@replica"]);
    ends(7, &folder, &["check", "@replica"]);
    assert!(!folder.path("new.db").exists());
}

#[test]
fn code_8_the_database_there_is_in_use() {
    let folder = backed_up();
    let database = folder.database("used.db");
    database.execute_batch("BEGIN IMMEDIATE; INSERT INTO numbers VALUES (1)").unwrap();
    ends(8, &folder, &["restore", "-force", "-o", "used.db", "@replica"]);
    let mut running = folder.start(&["replicate", "app.db", "@replica"]);
    crate::program::until("the lock", || folder.run(&["reset", "app.db"]).code == Some(8));
    running.signal(rustix::process::Signal::TERM);
    running.wait().ok();
    ends(0, &folder, &["reset", "app.db"]);
}

#[test]
fn an_empty_file_gives_way_to_a_backup_unless_somebody_uses_it() {
    let folder = backed_up();
    let start = ["restore", "-if-db-not-exists", "-if-replica-exists", "-o", "new.db", "@replica"];
    folder.write("new.db", "");
    let application = rusqlite::Connection::open(folder.path("new.db")).unwrap();
    application.execute_batch("BEGIN EXCLUSIVE").unwrap();
    ends(8, &folder, &start);
    assert_eq!(std::fs::metadata(folder.path("new.db")).unwrap().len(), 0);
    drop(application);
    ends(0, &folder, &start);
    assert_eq!(folder.numbers("new.db"), [1, 2, 3]);
    assert!(ends(0, &folder, &start).stdout.starts_with("skipped: "));
}

#[test]
fn code_9_another_process_has_the_lease() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    add(&folder.database("b.db"), 4..=6);
    let config = |db: &str| {
        format!("lease-ttl: 2s\ndbs: [{{path: {db}, replica: {{path: replica, lease: true}}}}]\n")
    };
    let daemon = Daemon::start(&folder, &config("a.db"));
    daemon.sync("a.db");
    folder.write("b.yml", &config("b.db"));
    let refused = folder.run(&["replicate", "-once", "-config", "b.yml"]);
    assert_eq!(refused.code, Some(9), "{refused:?}");
    assert!(refused.stderr.contains("has it") && refused.stderr.contains("hint: "), "{refused:?}");
    daemon.stop();
    folder.run(&["replicate", "-once", "-config", "b.yml"]).ok();
}
