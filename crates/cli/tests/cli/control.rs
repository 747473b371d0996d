//! The control socket: Litestream's API, and the commands that use it.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::Tool;

use crate::daemon::{Answer, Daemon};
use crate::program::{Folder, add, files, until};

pub(crate) const ONE: &str = "dbs: [{path: a.db, replica: {path: ra}}]\n";

/// A daemon with one database, which is in its replica.
pub(crate) fn with_one(folder: &Folder) -> (Daemon<'_>, Connection) {
    let database = folder.database("a.db");
    add(&database, 1..=3);
    let daemon = Daemon::start(folder, ONE);
    daemon.sync("a.db");
    (daemon, database)
}

pub(crate) fn told(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_daemon() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    assert_eq!(std::fs::metadata(folder.path("s")).unwrap().mode() & 0o777, 0o600);
    daemon.stop();
    assert!(!folder.path("s").exists());
}

#[test]
fn a_living_daemons_socket_is_not_taken_and_a_dead_ones_is() {
    let folder = Folder::new();
    let (mut first, _database) = with_one(&folder);
    folder.write(
        "other.yml",
        "socket: {enabled: true, path: s}\ndbs: [{path: b.db, replica: {path: rb}}]\n",
    );
    let mut other = folder.start(&["replicate", "-config", "other.yml", "-exec", "sleep 0.2"]);
    let stderr = other.child().stderr.take().unwrap();
    let log = std::io::read_to_string(stderr).unwrap();
    assert!(log.contains("another daemon listens there"), "{log}");
    assert_eq!(other.wait().code, Some(0), "it replicates all the same");
    assert_eq!(first.get("/info").json()["database_count"], 1);
    first.running.signal(Signal::KILL);
    first.wait();
    assert!(folder.path("s").exists(), "what is killed cleans nothing up");
    let second = Daemon::start(&folder, ONE);
    assert_eq!(second.get("/info").status, 200);
    second.stop();
}

#[test]
fn info_and_list_tell_of_the_daemon_and_its_databases() {
    let folder = Folder::new();
    let (mut daemon, _database) = with_one(&folder);
    let pid = daemon.running.child().id();
    let info = daemon.get("/info");
    assert!(info.head.contains("content-type: application/json"), "{info:?}");
    let info = info.json();
    assert_eq!((&info["pid"], &info["database_count"]), (&json!(pid), &json!(1)));
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(info["uptime_seconds"].is_u64());
    assert!(info["started_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{info}");
    let list = daemon.get("/list").json();
    assert_eq!(list["databases"].as_array().unwrap().len(), 1);
    let database = &list["databases"][0];
    assert_eq!(database["path"], json!(folder.path("a.db")));
    assert_eq!(database["status"], "replicating");
    let synced = database["last_sync_at"].as_str().unwrap();
    assert!(synced.parse::<jiff::Timestamp>().is_ok(), "{list}");
    daemon.stop();
}

#[test]
fn sync_says_what_it_led_to() {
    let folder = Folder::new();
    let (daemon, database) = with_one(&folder);
    let path = folder.path("a.db");
    let before = daemon.sync("a.db");
    assert_eq!(before["status"], "no_change");
    assert_eq!(before["txid"], before["replicated_txid"]);
    add(&database, 4..=4);
    let after = daemon.sync("a.db");
    assert_eq!(after["txid"], before["txid"].as_u64().unwrap() + 1);
    assert_eq!(after["replicated_txid"], after["txid"]);
    let keys: Vec<_> = after.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["path", "replicated_txid", "status", "txid"]);
    // Without waiting, it is captured when the answer comes.
    add(&database, 5..=5);
    let local = daemon.post("/sync", &json!({"path": path}));
    assert_eq!(local.status, 200);
    assert_eq!(local.json()["txid"], after["txid"].as_u64().unwrap() + 1);
    daemon.stop();
}

#[test]
fn a_sync_that_waits_is_a_barrier_and_uploads_nothing_twice() {
    let folder = Folder::new();
    let (daemon, database) = with_one(&folder);
    for n in 10..20 {
        add(&database, n..=n);
        let synced = daemon.sync("a.db");
        assert_eq!(synced["txid"], synced["replicated_txid"], "{synced}");
        let _ = std::fs::remove_file(folder.path("copy.db"));
        folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
        assert_eq!(
            folder.numbers("copy.db").last(),
            Some(&n),
            "what was committed before is there"
        );
    }
    let before = files(&folder.path("ra"));
    let txid = daemon.sync("a.db")["txid"].clone();
    for _ in 0..20 {
        let synced = daemon.sync("a.db");
        assert_eq!((&synced["status"], &synced["txid"]), (&json!("no_change"), &txid));
    }
    assert_eq!(files(&folder.path("ra")), before);
    daemon.stop();
}

#[test]
fn a_sync_that_cannot_be_done_in_time_is_an_error() {
    let folder = Folder::new();
    let _database = folder.database("a.db");
    folder.write("file", "no directory can be made below a file");
    let daemon = Daemon::start(
        &folder,
        "shutdown-sync-timeout: 100ms\ndbs: [{path: a.db, replica: {path: file/r}}]\n",
    );
    let path = folder.path("a.db");
    let began = Instant::now();
    let late = daemon.post("/sync", &json!({"path": path, "wait": true, "timeout": 1}));
    assert_eq!(late.status, 500, "{late:?}");
    assert!(late.json()["error"].as_str().unwrap().contains("a.db: "), "{late:?}");
    assert!(began.elapsed().as_secs() < 20);
    let ran = folder.run(&["sync", "-socket", "s", "-wait", "-timeout", "1", "a.db"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.starts_with("error: sync failed: /here/a.db: "), "{ran:?}");
}

#[test]
fn a_stopped_database_rests_until_it_is_started() {
    let folder = Folder::new();
    let (mut daemon, database) = with_one(&folder);
    let path = json!({"path": folder.path("a.db")});
    let fds = format!("/proc/{}/fd", daemon.running.child().id());
    let open = || {
        let files = std::fs::read_dir(&fds).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let own = folder.path("").canonicalize().unwrap();
        targets.filter(|it| it.starts_with(&own) && it.to_string_lossy().contains("a.db")).count()
    };
    assert!(open() > 0);
    add(&database, 4..=50);
    let (status, stopped) = told(&daemon.post("/stop", &path));
    assert_eq!((status, &stopped["status"]), (200, &json!("stopped")));
    assert!(stopped["txid"].as_u64().unwrap() > 1, "{stopped}");
    assert_eq!(open(), 0, "none of its files stays open");
    let uploaded = files(&folder.path("ra"));
    assert_eq!(daemon.post("/stop", &path).json()["status"], "already_stopped");
    assert_eq!(daemon.get("/list").json()["databases"][0]["status"], "stopped");
    assert!(daemon.get("/list").json()["databases"][0]["last_sync_at"].is_string());
    // Not that it could be forgotten.
    let problem = format!("{}: stopped, until brooklet start", folder.path("a.db").display());
    assert_eq!(daemon.get("/status").json()["problems"], json!([problem]));
    let refused = daemon.post("/sync", &path);
    let error = format!("database not open: {}", folder.path("a.db").display());
    assert_eq!(told(&refused), (409, json!({ "error": error })));
    // Nobody holds the WAL: the application may do with it what it wants.
    add(&database, 51..=60);
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(folder.path("a.db-wal").metadata().unwrap().len(), 0);
    assert_eq!(files(&folder.path("ra")), uploaded);

    let (status, started) = told(&daemon.post("/start", &path));
    assert_eq!((status, &started["status"]), (200, &json!("started")));
    assert_eq!(daemon.post("/start", &path).json()["status"], "already_running");
    add(&database, 61..=70);
    daemon.sync("a.db");
    folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
    assert_eq!(folder.numbers("copy.db"), Vec::from_iter(1..=70));
    daemon.stop();
}

#[test]
fn the_last_commits_before_a_stop_are_in_the_replica() {
    let folder = Folder::new();
    let (daemon, database) = with_one(&folder);
    for round in 0..5 {
        let first = 100 + round * 10;
        add(&database, first..=first + 9);
        assert_eq!(daemon.post("/stop", &json!({"path": folder.path("a.db")})).status, 200);
        let _ = std::fs::remove_file(folder.path("copy.db"));
        folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
        assert_eq!(folder.numbers("copy.db").last(), Some(&(first + 9)));
        assert_eq!(daemon.post("/start", &json!({"path": folder.path("a.db")})).status, 200);
    }
    daemon.stop();
}

#[test]
fn txid_and_sync_status_tell_where_a_database_stands() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    let path = folder.path("a.db").display().to_string();
    let txid = daemon.sync("a.db")["txid"].clone();
    assert_eq!(told(&daemon.get(&format!("/txid?path={path}"))), (200, json!({ "txid": txid })));
    assert_eq!(told(&daemon.get("/txid")), (400, json!({"error": "path required"})));
    let unknown = json!({"error": "database not found"});
    assert_eq!(told(&daemon.get("/txid?path=/nope")), (404, unknown.clone()));
    let status = daemon.get(&format!("/debug/sync-status?path={path}")).json();
    assert_eq!(status["databases"][0]["path"], json!(path));
    assert_eq!(status["databases"][0]["active"], false);
    assert_eq!(status["databases"][0]["txid"], txid);
    assert_eq!(told(&daemon.get("/debug/sync-status?path=/nope")), (404, unknown));
    daemon.stop();
}

#[test]
fn requests_that_mean_nothing_are_refused_as_litestream_does() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    let unknown = json!({"error": "database not found: /nope"});
    for (path, code) in [("/start", 500), ("/stop", 500), ("/sync", 404)] {
        assert_eq!(
            told(&daemon.post(path, &json!({"path": "/nope"}))),
            (code, unknown.clone()),
            "{path}"
        );
        assert_eq!(told(&daemon.post(path, &json!({}))), (400, json!({"error": "path required"})));
    }
    for path in ["/start", "/stop", "/sync", "/register", "/unregister"] {
        let (status, refusal) = told(&daemon.request("POST", path, "{"));
        assert_eq!((status, &refusal["error"]), (400, &json!("invalid request body")), "{path}");
        assert!(refusal["details"].is_string());
        let wrong = daemon.get(path);
        assert_eq!((wrong.status, wrong.body.as_str()), (405, "Method Not Allowed\n"), "{path}");
        assert!(wrong.head.contains("allow: post"), "{wrong:?}");
    }
    assert_eq!(daemon.request("POST", "/list", "").status, 405);
    let nothing = daemon.get("/nope");
    assert_eq!((nothing.status, nothing.body.as_str()), (404, "404 page not found\n"));
    let path = folder.path("q.db");
    let (status, refusal) = told(&daemon.post("/register", &json!({"path": path})));
    assert_eq!((status, refusal), (400, json!({"error": "replica_url required"})));
    let bad = daemon.post("/register", &json!({"path": path, "replica_url": "foo://x"}));
    assert_eq!(bad.status, 400);
    assert!(bad.json()["error"].as_str().unwrap().starts_with("invalid replica url: "), "{bad:?}");
    daemon.stop();
}

/// Runs a command that is to succeed, without the numbers that differ from run to run.
fn said(folder: &Folder, args: &[&str]) -> String {
    let out = folder.run(args).ok().stdout;
    let line = |line: &str| match line
        .split_once("duration_ms\": ")
        .or(line.split_once("duration_ms: "))
    {
        Some((before, _)) => format!("{before}duration_ms"),
        None => line.to_owned(),
    };
    out.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn commands_print_what_litestreams_print() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    let txid = daemon.sync("a.db")["txid"].clone();
    let run = |args: &str| {
        let args = args.replace("SOCKET", "-socket s");
        said(&folder, &shell(&args))
    };
    assert_eq!(run("sync SOCKET a.db"), format!("db_path: /here/a.db\ntxid: {txid}\nduration_ms"));
    assert_eq!(
        run("sync SOCKET -wait a.db"),
        format!("db_path: /here/a.db\ntxid: {txid}\nreplica_txid: {txid}\nduration_ms")
    );
    assert_eq!(
        run("sync SOCKET -json -wait a.db"),
        format!("{{\n  \"db_path\": \"/here/a.db\",\n  \"txid\": {txid},\n  \"replica_txid\": {txid},\n  duration_ms\n}}").replace("  duration_ms", "  \"duration_ms")
    );
    assert_eq!(
        run("stop SOCKET a.db"),
        format!("status: stopped\ndb_path: /here/a.db\nstate: stopped\ntxid: {txid}\nsocket: s")
    );
    assert_eq!(
        run("stop SOCKET -json a.db"),
        format!(
            "{{\n  \"status\": \"already_stopped\",\n  \"db_path\": \"/here/a.db\",\n  \"state\": \"stopped\",\n  \"txid\": {txid},\n  \"socket\": \"s\"\n}}"
        )
    );
    assert!(run("list SOCKET").starts_with("/here/a.db [stopped] (last sync: 2"));
    assert_eq!(
        run("start SOCKET a.db"),
        format!("status: started\ndb_path: /here/a.db\nstate: running\ntxid: {txid}\nsocket: s")
    );
    assert!(run("start SOCKET -json a.db").contains("\"status\": \"already_running\""));
    folder.database("b.db");
    let url = "file:///here/rb".replace("/here", &folder.path("").display().to_string());
    let register = format!("register SOCKET -replica {url} b.db");
    let registered = "status: registered\ndb_path: /here/b.db\nreplica: file:///here/rb\nsocket: s";
    assert_eq!(run(&register).replace("//rb", "/rb"), registered);
    assert!(run(&register).starts_with("status: already registered\n"));
    assert!(
        run(&register.replace("register", "register -json")).contains("\"already_registered\"")
    );
    daemon.sync("b.db");
    assert_eq!(
        run("unregister SOCKET -dry-run b.db"),
        "Dry run: unregister request preview\n  database: /here/b.db\n  socket: s\n  \
         replicas: they stay as they are\n  \
         final sync: the daemon carries the last commits to them first\n  \
         timeout: 30s\nNo unregister request was sent."
    );
    assert_eq!(
        run("unregister SOCKET b.db"),
        "status: unregistered\ndb_path: /here/b.db\nfinal_txid: 1\nsocket: s"
    );
    assert!(run("unregister SOCKET -json b.db").contains("\"status\": \"already_unregistered\""));
    let info = run("info SOCKET");
    assert!(info.starts_with("brooklet "), "{info}");
    for line in ["  PID:        ", "  Uptime:     ", "  Started at: ", "  Databases:  1"] {
        assert!(info.contains(line), "{info}");
    }
    let list: Value = serde_json::from_str(&run("list SOCKET -json")).unwrap();
    assert_eq!(list["databases"][0]["path"], "/here/a.db");
    let info: Value = serde_json::from_str(&run("info SOCKET -json")).unwrap();
    assert_eq!(info["database_count"], 1);
    assert!(run("list SOCKET").starts_with("/here/a.db [replicating] (last sync: 2"));
    daemon.stop();
}

fn shell(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn commands_that_cannot_be_done_say_why() {
    let folder = Folder::new();
    let refused = |line: &str, code, stderr: &str| folder.run(&shell(line)).fails(code, stderr);
    let hint = "hint: is replicate running, with socket: {enabled: true} in its configuration? \
                name another socket with -socket";
    refused(
        "info -socket none",
        1,
        &format!(
            "error: failed to connect to the control socket none: No such file or directory (os error 2)\n{hint}"
        ),
    );
    refused("sync -timeout 0 a.db", 2, "error: -timeout must be greater than 0");
    refused("unregister -timeout 0 a.db", 2, "error: -timeout must be greater than 0");
    for command in ["start", "stop", "sync", "unregister"] {
        let usage = folder.run(&[command]);
        assert_eq!(usage.code, Some(2), "{usage:?}");
        assert!(usage.stderr.starts_with("error: missing: <DB>"), "{usage:?}");
    }
    let usage = folder.run(&["register", "a.db"]);
    assert_eq!(usage.code, Some(2), "{usage:?}");
    assert!(usage.stderr.contains("replica"), "{usage:?}");
    let (daemon, _database) = with_one(&folder);
    refused("sync -socket s /nope", 1, "error: sync failed: database not found: /nope");
    refused("start -socket s /nope", 1, "error: start failed: database not found: /nope");
    daemon.stop();
}

#[test]
fn litestreams_commands_work_with_our_daemon() {
    let Some(litestream) = Tool::litestream() else { return };
    let folder = Folder::new();
    let (daemon, database) = with_one(&folder);
    let socket = folder.path("s").display().to_string();
    let db = folder.path("a.db").display().to_string();
    let run = |args: &[&str]| {
        let (command, rest) = args.split_first().unwrap();
        let mut all = vec![*command, "-socket", &socket];
        all.extend(rest);
        let done = litestream.command(&all).output().unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(run(&["info"]).contains("Databases:  1"));
    assert!(run(&["list"]).starts_with(&format!("{db} [replicating] (last sync: 2")));
    add(&database, 4..=9);
    let synced: Value = serde_json::from_str(&run(&["sync", "-json", "-wait", &db])).unwrap();
    assert_eq!(synced["txid"], synced["replica_txid"]);
    assert!(run(&["stop", &db]).starts_with("status: stopped\n"));
    assert!(run(&["start", &db]).starts_with("status: started\n"));
    let second = folder.database("b.db");
    add(&second, 1..=2);
    let path = folder.path("b.db").display().to_string();
    let url = format!("file://{}", folder.path("rb").display());
    assert!(run(&["register", "-replica", &url, &path]).starts_with("status: registered\n"));
    assert!(run(&["unregister", &path]).contains("status: unregistered\n"));
    daemon.stop();
}

#[test]
fn our_commands_work_with_litestreams_daemon() {
    let Some(litestream) = Tool::litestream() else { return };
    let folder = Folder::new();
    let database = folder.database("a.db");
    let (db, replica) = (folder.path("a.db"), folder.path("ra"));
    let socket = folder.path("s");
    folder.write(
        "c.yml",
        &format!(
            "socket: {{enabled: true, path: {}}}\ndbs: [{{path: {}, replica: {{path: {}}}}}]\n",
            socket.display(),
            db.display(),
            replica.display()
        ),
    );
    let config = folder.path("c.yml");
    let _replicator = litestream.replicate_config(&config, &db);
    until("its socket", || socket.exists());
    until("the first sync", || {
        folder.run(&["sync", "-socket", "s", "-wait", "a.db"]).code == Some(0)
    });
    add(&database, 1..=5);
    let synced: Value = serde_json::from_str(
        &folder.run(&["sync", "-socket", "s", "-json", "-wait", "a.db"]).ok().stdout,
    )
    .unwrap();
    assert_eq!(synced["txid"], synced["replica_txid"]);
    let run = |args: &[&str]| folder.run(args).ok().stdout;
    assert!(run(&["info", "-socket", "s"]).starts_with("Litestream 0.5.17\n"));
    assert!(run(&["list", "-socket", "s"]).starts_with("/here/a.db [replicating] (last sync: 2"));
    assert_eq!(run(&["health", "-socket", "s"]), "healthy\n");
    assert!(run(&["stop", "-socket", "s", "a.db"]).starts_with("status: stopped\n"));
    let unhealthy = folder.run(&["health", "-socket", "s"]);
    assert_eq!((unhealthy.code, unhealthy.stdout.as_str()), (Some(10), "/here/a.db: stopped\n"));
    assert!(run(&["start", "-socket", "s", "a.db"]).starts_with("status: started\n"));
    assert!(run(&["unregister", "-socket", "s", "a.db"]).starts_with("status: unregistered\n"));
}
