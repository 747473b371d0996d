//! `check`, `doctor` and `reset`: what programs read of them, and what they leave as it was.

use serde_json::Value;
use testkit::Server;
use testkit::server::Kind;

use crate::program::{Folder, add};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

/// What the doctor says of a check, in the order of the subjects.
fn levels(report: &Value, check: &str) -> Vec<String> {
    let findings = report.as_array().unwrap().iter();
    let of_check = findings.filter(|finding| finding["check"] == check);
    of_check.map(|finding| finding["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_doctor_tries_everything_and_leaves_nothing() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=3);
    let args = ["doctor", "-json", "app.db", "@deep/below/replica"];
    let report = json(&folder.run(&args).ok().stdout);
    let database = ["file", "journal mode", "permissions", "WAL", "local state", "lock"];
    for check in database.iter().chain(&["list", "backup", "write", "read", "delete"]) {
        assert_eq!(levels(&report, check), ["ok"], "{check}: {report}");
    }
    assert_eq!(levels(&report, "disk").len(), 2, "the database's and the replica's");
    assert_eq!(levels(&report, "place"), ["warn"], "it is on the disk of the database");
    assert!(!folder.path("deep").exists());
    assert!(!folder.path(".app.db-litestream").exists());

    folder.run(&["replicate", "-once", "app.db", "@replica"]).ok();
    let before = std::fs::read_dir(folder.path("replica")).unwrap().count();
    let report = json(&folder.run(&["doctor", "-json", "@replica"]).ok().stdout);
    for check in ["list", "clock", "backup", "write", "read", "delete"] {
        assert_eq!(levels(&report, check), ["ok"], "{check}: {report}");
    }
    assert_eq!(std::fs::read_dir(folder.path("replica")).unwrap().count(), before);
}

#[test]
fn the_doctor_sees_what_is_wrong() {
    let folder = Folder::new();
    folder.write(
        "text.db",
        "this is a text, and has more bytes than the header of a database; \
                             indeed it has more than a hundred of them",
    );
    folder.write("file", "no directory can be made below a file");
    folder.write(
        "c.yml",
        "exec: no-such-program -x\n\
         dbs:\n- {path: text.db, replica: {path: file/replica}}\n\
         - {path: later.db, replica: {path: replica}}\n\
         - {dir: nowhere, pattern: '*', replica: {path: replicas}}\n",
    );
    let ran = folder.run(&["doctor", "-json", "-config", "c.yml"]);
    let report = json(&ran.stdout);
    assert_eq!(levels(&report, "program"), ["fail"], "{report}");
    assert_eq!(levels(&report, "directory"), ["fail"], "{report}");
    assert_eq!(levels(&report, "file"), ["fail", "warn"], "{report}");
    assert_ne!(ran.code, Some(0));
    let hints = report.as_array().unwrap().iter().filter(|it| it["level"] != "ok");
    assert!(
        hints.clone().count() >= 4 && hints.clone().all(|it| it["hint"].is_string()),
        "{report}"
    );
}

#[test]
fn the_doctor_sees_that_two_databases_have_one_place() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("b.db")];
    let one = |name: &str| format!("- {{path: {name}.db, replica: {{path: r}}}}\n");
    folder.write("c.yml", &format!("dbs:\n{}{}", one("a"), one("b")));
    let done = folder.run(&["doctor", "-json", "-config", "c.yml"]);
    assert_eq!(levels(&json(&done.stdout), "places"), ["fail"], "{done:?}");
    assert_eq!(done.code, Some(3), "{done:?}");
}

#[test]
fn a_clock_that_is_wrong_is_seen() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=3);
    folder.run(&["replicate", "-once", "app.db", "@replica"]).ok();
    let level = folder.path("replica/ltx/0");
    let file = std::fs::read_dir(level).unwrap().next().unwrap().unwrap().path();
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(tomorrow).unwrap();
    let report = json(&folder.run(&["doctor", "-json", "@replica"]).ok().stdout);
    assert_eq!(levels(&report, "clock"), ["warn"], "{report}");
}

#[test]
fn one_replica_with_a_backup_is_enough() {
    let folder = Folder::new();
    add(&folder.database("app.db"), 1..=3);
    folder.write("c.yml", "dbs: [{path: app.db, replicas: [{path: empty}, {path: replica}]}]\n");
    folder.run(&["replicate", "-once", "app.db", "@replica"]).ok();
    let ran = folder.run(&["check", "-json", "-config", "c.yml", "app.db"]).ok();
    let summary = json(&ran.stdout);
    assert_eq!(summary["restorable"], true);
    assert_eq!(summary["replicas"][0]["status"], "no_backup");
    assert_eq!(summary["replicas"][1]["status"], "restorable");
    assert_eq!(summary["replicas"][1]["states"], 1);
    assert!(summary["replicas"][1]["age_seconds"].is_u64());
    assert!(ran.stderr.contains("another replica has no backup"), "{ran:?}");
    std::fs::remove_dir_all(folder.path("replica")).unwrap();
    assert_eq!(folder.run(&["check", "-config", "c.yml", "app.db"]).code, Some(4));
}

#[test]
fn after_a_reset_the_next_sync_starts_over() {
    let folder = Folder::new();
    let database = folder.database("app.db");
    add(&database, 1..=3);
    folder.write("c.yml", "dbs: [{path: app.db, meta-path: state, replica: {path: replica}}]\n");
    let once = || folder.run(&["replicate", "-config", "c.yml", "-once"]).ok();
    once();
    let reset = |flags: &[&str]| {
        let ran = folder.run(&[&["reset", "-json"], flags, &["app.db"]].concat()).ok();
        json(&ran.stdout)
    };
    assert_eq!(reset(&[])["status"], "nothing_to_reset", "the default place is empty");
    let listed = reset(&["-dry-run", "-config", "c.yml"]);
    assert_eq!(
        (&listed["status"], &listed["local_state"]),
        (&"dry_run".into(), &"/here/state".into())
    );
    let done = reset(&["-config", "c.yml"]);
    assert_eq!((&done["status"], &done["files"]), (&"reset".into(), &listed["files"]));
    assert!(!folder.path("state/ltx").exists());
    add(&database, 4..=6);
    once();
    folder.run(&["restore", "-config", "c.yml", "-o", "new.db", "app.db"]).ok();
    assert_eq!(folder.numbers("new.db"), Vec::from_iter(1..=6));
    let mut command = folder.command(&["reset", "-json", "app.db"]);
    let output = command.env("LITESTREAM_CONFIG", "c.yml").output().unwrap();
    let by_environment = json(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(by_environment["status"], "reset", "{by_environment}");
}

/// On a server: what the key may do, and where, is told before the first commit needs it.
#[test]
fn the_doctor_tells_what_a_server_refuses() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let folder = Folder::new();
    let host = &server.host;
    let diagnosis = |bucket: &str, secret: &str| {
        folder.write(
            "c.yml",
            &format!(
                "dbs:\n- path: app.db\n  replica: {{url: \"s3://{bucket}/app?endpoint=http://{host}&region=us-east-1\", \
                 access-key-id: testkey, secret-access-key: {secret}, lease: true}}\n"
            ),
        );
        let mut command = folder.command(&["doctor", "-json", "-config", "c.yml"]);
        let done = command.env_remove("AWS_CA_BUNDLE").output().unwrap();
        (done.status.code(), json(&String::from_utf8_lossy(&done.stdout)))
    };
    let (code, report) = diagnosis("bkt1", "testsecret");
    for check in ["list", "backup", "write", "read", "delete", "lease"] {
        assert_eq!(levels(&report, check), ["ok"], "{check}: {report}");
    }
    assert_eq!(code, Some(0), "{report}");
    for (bucket, secret, what) in
        [("bkt1", "wrong", "access denied"), ("nobodys", "testsecret", "NoSuchBucket")]
    {
        let (code, report) = diagnosis(bucket, secret);
        assert_eq!((code, levels(&report, "list")), (Some(5), vec!["fail".to_owned()]), "{report}");
        assert!(report.to_string().contains(what), "{what}: {report}");
        assert!(!report.to_string().contains("testsecret"), "{report}");
    }
}
