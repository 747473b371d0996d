//! What is seen of a running `replicate`: metrics, health, status, heartbeats, its log.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testkit::Tool;

use crate::daemon::{Answer, Daemon};
use crate::program::{Folder, add, until};

const ONE: &str = "addr: ':0'\ndbs: [{path: a.db, replica: {path: ra}}]\n";
/// Its replica cannot be written.
const BROKEN: &str = "addr: ':0'\nshutdown-sync-timeout: 100ms\n\
                      dbs: [{path: a.db, replica: {path: file/r}}]\n";

fn ask(address: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
    Answer::read(stream)
}

fn get(address: &str, path: &str) -> Answer {
    ask(address, path, "Host: localhost\r\n")
}

#[test]
fn health_readiness_and_status_are_served_for_looking_only() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let address = daemon.address("metrics");
    assert!(address.starts_with("127.0.0.1:"), "an address without a host is this machine's alone");
    assert_eq!(
        (get(&address, "/healthz").status, get(&address, "/healthz").body),
        (200, "ok\n".into())
    );
    assert_eq!(
        (get(&address, "/readyz").status, get(&address, "/readyz").body),
        (200, "ok\n".into())
    );
    until("a snapshot", || {
        get(&address, "/status").json()["databases"][0]["replicas"][0]["snapshot_at"].is_string()
    });
    let status = get(&address, "/status").json();
    assert_eq!((&status["ready"], &status["problems"]), (&true.into(), &Value::Array(vec![])));
    let database = &status["databases"][0];
    assert_eq!(database["state"], "replicating");
    assert_eq!(database["replicas"][0]["txid"], database["txid"]);
    assert_eq!(database["replicas"][0]["backlog_bytes"], 0);
    assert_eq!(daemon.get("/status").json()["databases"][0]["path"], database["path"]);
    // What changes something is not there at all.
    for path in
        ["/start", "/stop", "/sync", "/register", "/unregister", "/list", "/info", "/debug/pprof/"]
    {
        assert_eq!(get(&address, path).status, 404, "{path}");
    }
    assert_eq!(get(&address, "/status?max-lag=soon").status, 400);
    daemon.stop();
}

#[test]
fn other_names_and_origins_are_refused() {
    let folder = Folder::new();
    folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    let address = daemon.address("metrics");
    let status = |headers: &str| ask(&address, "/status", headers).status;
    assert_eq!(status(&format!("Host: {address}\r\n")), 200);
    assert_eq!(status("Host: evil.example\r\n"), 403);
    assert_eq!(status("Host: localhost\r\nOrigin: http://evil.example\r\n"), 403);
    assert_eq!(status("Host: localhost\r\nOrigin: http://localhost:3000\r\n"), 200);
    daemon.stop();
}

#[test]
fn a_database_that_is_not_there_yet_is_no_problem_and_one_that_cannot_be_replicated_is() {
    let folder = Folder::new();
    folder.write("file", "no directory can be made below a file");
    let daemon = Daemon::start(&folder, BROKEN);
    let address = daemon.address("metrics");
    until("the look that finds nothing", || {
        get(&address, "/status").json()["databases"][0]["state"] == "waiting"
    });
    assert_eq!(get(&address, "/readyz").status, 200);
    let database = folder.database("a.db");
    until("the failure to be told", || get(&address, "/readyz").status == 503);
    until("the reason", || {
        get(&address, "/readyz").body.contains("ra: not synced yet: ")
            || get(&address, "/readyz").body.contains("cannot be captured: ")
    });
    assert_eq!(get(&address, "/healthz").status, 200, "the process itself is well");
    drop(database);
    drop(daemon);
}

#[test]
fn health_is_code_0_or_10() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let address = daemon.address("metrics");
    let run = |args: &[&str]| {
        let ran = folder.run(args);
        (ran.code.unwrap(), ran.stdout)
    };
    assert_eq!(run(&["health", "-socket", "s"]), (0, "healthy\n".into()));
    assert_eq!(run(&["health", "-addr", &address]), (0, "healthy\n".into()));
    assert_eq!(run(&["health", "-addr", &format!("http://{address}/")]), (0, "healthy\n".into()));
    until("a snapshot", || {
        run(&["health", "-socket", "s", "-max-snapshot-age", "1h"]) == (0, "healthy\n".into())
    });
    let (code, said) = run(&["health", "-socket", "s", "-max-verify-age", "1h"]);
    assert_eq!(code, 10);
    assert!(said.ends_with("never verified since the start\n"), "{said}");
    let (code, said) = run(&["health", "-socket", "s", "-json", "-max-snapshot-age", "1ns"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["healthy"]), (10, &false.into()));
    assert!(said["problems"][0].as_str().unwrap().contains("the newest snapshot is "), "{said}");
    daemon.stop();
    let (code, said) = run(&["health", "-socket", "s"]);
    assert_eq!(code, 10, "a daemon that is not there is not healthy");
    assert!(said.starts_with("failed to connect to the control socket s: "), "{said}");
    assert_eq!(run(&["health", "-addr", &address]).0, 10);
    assert_eq!(run(&["health", "-max-lag", "soon"]).0, 2);
}

#[test]
fn a_replica_that_falls_behind_is_told_of() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let (replica, away) = (folder.path("ra"), folder.path("away"));
    until("something in the replica's way", || {
        // Whoever makes the directory anew meanwhile is sent away again.
        let _ = std::fs::remove_dir_all(&away);
        let _ = std::fs::rename(&replica, &away);
        std::fs::File::create_new(&replica).is_ok()
    });
    let address = daemon.address("metrics");
    until("unhealthy", || {
        add(&database, 1..=1);
        database.execute("DELETE FROM numbers", []).unwrap();
        let ran = folder.run(&["health", "-socket", "s", "-max-lag", "200ms"]);
        ran.code == Some(10)
    });
    until("the lag in the metrics", || {
        let page = get(&address, "/metrics").body;
        value(&page, "litestream_replica_upload_failing") == Some(1.0)
            || value(&page, "brooklet_db_failing") == Some(1.0)
    });
    assert_eq!(get(&address, "/readyz?max-lag=1ms").status, 503);
    std::fs::remove_file(&replica).unwrap();
    until("all well again", || {
        folder.run(&["health", "-socket", "s", "-max-lag", "1ms"]).code == Some(0)
    });
    assert!(folder.path("ra/ltx/0").exists());
    daemon.stop();
}

fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Names and types of all metrics that begin with a word.
fn types(page: &str, begin: &str) -> Vec<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut types: Vec<_> =
        types.filter(|line| line.starts_with(begin)).map(str::to_owned).collect();
    types.sort_unstable();
    types
}

#[test]
fn metrics_count_what_is_done() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let address = daemon.address("metrics");
    let before = get(&address, "/metrics").body;
    add(&database, 1..=50);
    daemon.sync("a.db");
    let after = get(&address, "/metrics").body;
    let grew = |name: &str| value(&after, name) > value(&before, name);
    for name in [
        "litestream_sync_count",
        "litestream_total_wal_bytes",
        "litestream_txid",
        "litestream_sync_seconds",
    ] {
        assert!(grew(name), "{name}: {after}");
    }
    assert_eq!(value(&after, "litestream_replica_unuploaded_bytes"), Some(0.0));
    assert!(value(&after, "litestream_replica_remote_bytes") > Some(0.0));
    assert!(value(&after, "litestream_replica_remote_objects") > Some(0.0));
    until("the age of a snapshot", || {
        let page = get(&address, "/metrics").body;
        value(&page, "litestream_replica_snapshot_age_seconds").is_some_and(|age| age < 600.0)
    });
    assert!(value(&after, "litestream_replica_last_upload_timestamp_seconds").is_some());
    daemon.stop();
}

#[test]
fn every_metric_of_litestream_has_its_name_and_type_here() {
    let Some(litestream) = Tool::litestream() else { return };
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=9);
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let ours = get(&daemon.address("metrics"), "/metrics").body;
    daemon.stop();

    add(&folder.database("l.db"), 1..=9);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (db, replica) = (folder.path("l.db"), folder.path("rl"));
    folder.write(
        "l.yml",
        &format!(
            "addr: '{free}'\ndbs: [{{path: {}, replica: {{path: {}}}}}]\n",
            db.display(),
            replica.display()
        ),
    );
    let _replicator = litestream.replicate_config(&folder.path("l.yml"), &db);
    let mut theirs = String::new();
    until("Litestream's metrics", || {
        let Ok(mut stream) = TcpStream::connect(free) else { return false };
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        theirs.clear();
        stream.read_to_string(&mut theirs).unwrap();
        theirs.contains("litestream_txid{")
    });
    let ours = types(&ours, "");
    let theirs = [types(&theirs, "litestream_"), types(&theirs, "process_")].concat();
    assert!(theirs.len() > 10, "{theirs:?}");
    let missing: Vec<_> = theirs
        .iter()
        .filter(|it| !ours.contains(it) && !it.starts_with("process_virtual_memory_max"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_signal_has_everything_logged() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let mut daemon = Daemon::start(&folder, ONE);
    let txid = daemon.sync("a.db")["txid"].as_u64().unwrap();
    daemon.running.signal(Signal::USR1);
    daemon.await_log("status of a replica");
    let log = daemon.stop();
    let line = log.lines().find(|line| line.contains("status of a database")).unwrap();
    assert!(line.contains("state=replicating"), "{line}");
    assert!(line.contains(&format!("txid={txid:016x}")), "{line}");
    let line = log.lines().find(|line| line.contains("status of a replica")).unwrap();
    assert!(line.contains("backlog_bytes=0"), "{line}");
}

/// Takes requests, and answers each with this.
fn answering(status: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let _ = sender.send(String::from_utf8(head).unwrap());
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    (address, heard)
}

#[test]
fn a_heartbeat_is_sent_when_all_is_in_the_replica() {
    let folder = Folder::new();
    let (address, heard) = answering("200 OK");
    let config = format!("heartbeat-url: http://{address}/ping/sesame\n{ONE}");
    let daemon = Daemon::start(&folder, &config);
    until("a look that finds no database", || {
        daemon.get("/status").json()["databases"][0]["state"] == "waiting"
    });
    assert!(heard.recv_timeout(Duration::from_millis(1500)).is_err(), "nothing is replicated yet");
    add(&folder.database("a.db"), 1..=3);
    let request = heard.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(request.starts_with("GET /ping/sesame HTTP/1.1\r\n"), "{request}");
    let log = daemon.stop();
    assert!(!log.contains("sesame"), "the URL is a secret: {log}");
}

#[test]
fn a_heartbeat_that_is_refused_is_told_of_without_its_url() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let (address, heard) = answering("503 Service Unavailable");
    let config = format!("heartbeat-url: http://user:{}@{address}/{}\n{ONE}", "hush", "sesame");
    let daemon = Daemon::start(&folder, &config);
    heard.recv_timeout(Duration::from_secs(60)).unwrap();
    daemon.await_log("the heartbeat was not taken");
    let told = [daemon.get("/metrics").body, daemon.get("/status").body].concat();
    let log = daemon.stop();
    for secret in ["sesame", "hush"] {
        assert!(!log.contains(secret) && !told.contains(secret), "{log}");
    }
}

#[test]
fn an_idle_daemon_is_left_alone() {
    // The threads that serve must not wake up for nothing.
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let mut daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let pid = daemon.running.child().id();
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let of = |task: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).ok()?;
            let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        tasks.filter_map(of).sum()
    };
    until("some quiet", || {
        let (before, began) = (switches(), Instant::now());
        testkit::wait::throughout(Duration::from_secs(2), || ());
        (switches() - before) as f64 / began.elapsed().as_secs_f64() < 20.0
    });
    daemon.stop();
}

#[test]
fn a_follower_serves_how_far_behind_it_is() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    add(&database, 1..=3);
    folder.run(&["replicate", "-once", "a.db", "@replica"]).ok();
    let args =
        ["restore", "-f", "-follow-interval", "50ms", "-addr", ":0", "-o", "copy.db", "@replica"];
    let follower = Daemon::without_socket(&folder, folder.start(&args));
    follower.await_log("serving metrics");
    let address = follower.address("metrics");
    until("the copy to be current", || get(&address, "/readyz").body == "ok\n");
    assert_eq!(get(&address, "/healthz").status, 200);
    let txid = |status: Value| status["txid"].as_u64().unwrap();
    let before = txid(get(&address, "/status").json());
    add(&database, 4..=5);
    folder.run(&["replicate", "-once", "a.db", "@replica"]).ok();
    until("the next state", || txid(get(&address, "/status").json()) > before);
    let page = get(&address, "/metrics").body;
    assert!(page.contains("# TYPE brooklet_copy_lag_seconds gauge\n"), "{page}");
    assert!(page.contains("brooklet_copy_update_count{db="), "{page}");

    let replica = folder.path("replica");
    std::fs::rename(&replica, folder.path("away")).unwrap();
    std::fs::write(&replica, "not a directory").unwrap();
    until("the lag", || get(&address, "/readyz?max-lag=500ms").status == 503);
    let status = get(&address, "/status?max-lag=500ms").json();
    assert_eq!((&status["ready"], &status["state"]), (&false.into(), &"failing".into()));
    assert!(status["lag_seconds"].as_f64().unwrap() > 0.5, "{status}");
    assert_eq!(get(&address, "/healthz").status, 200);
    std::fs::remove_file(&replica).unwrap();
    std::fs::rename(folder.path("away"), &replica).unwrap();
    until("the copy to be current again", || get(&address, "/readyz?max-lag=5s").status == 200);
    assert_eq!(ask(&address, "/status", "Host: evil.example\r\n").status, 403);
    follower.stop();
}

#[test]
fn logs_look_as_the_configuration_says() {
    let folder = Folder::new();
    folder.database("a.db");
    let daemon = Daemon::start(&folder, &format!("logging: {{type: pretty, source: true}}\n{ONE}"));
    let log = daemon.stop();
    let line = log.lines().find(|line| line.contains("control socket listening")).expect(&log);
    let (_, rest) = line.split_once(' ').expect("a time of day");
    let begin = "INFO  control socket listening source=crates/cli/src/http.rs:";
    assert!(rest.starts_with(begin), "{line}");
}
