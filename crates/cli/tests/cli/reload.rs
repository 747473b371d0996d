//! SIGHUP: the configuration is read again, and only what differs is touched.

use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::Signal;
use testkit::Server;
use testkit::server::Kind;

use crate::daemon::Daemon;
use crate::program::{Folder, Running, add, until};

fn entry(name: &str, replica: &str) -> String {
    format!("- {{path: {name}.db, replica: {{path: {replica}}}}}\n")
}

fn config(entries: &[(&str, &str)]) -> String {
    let entries: String = entries.iter().map(|(name, replica)| entry(name, replica)).collect();
    format!("dbs:\n{entries}")
}

fn listed(daemon: &Daemon<'_>) -> Vec<String> {
    let list = daemon.get("/list").json();
    let databases = list["databases"].as_array().unwrap().iter();
    let name = |it: &serde_json::Value| {
        let path = it["path"].as_str().unwrap();
        path.rsplit('/').next().unwrap().trim_end_matches(".db").to_owned()
    };
    databases.map(name).collect()
}

/// How often a database was attached to.
fn attached(daemon: &Daemon<'_>, name: &str) -> usize {
    let log = daemon.log();
    log.lines()
        .filter(|it| it.contains("msg=replicating ") && it.contains(&format!("/{name}.db ")))
        .count()
}

fn path(folder: &Folder, name: &str) -> serde_json::Value {
    serde_json::json!({"path": folder.path(name), "wait": true})
}

fn reload(daemon: &mut Daemon<'_>, told: &str) {
    daemon.running.signal(Signal::HUP);
    daemon.await_log(told);
}

#[test]
fn databases_come_go_and_change_and_the_others_are_left_alone() {
    let folder = Folder::new();
    let mut open = Vec::new();
    for (at, name) in ["kept", "gone", "moved", "new"].iter().enumerate() {
        let database = folder.database(&format!("{name}.db"));
        add(&database, at as i64..=at as i64);
        open.push(database);
    }
    let before = config(&[("kept", "rk"), ("gone", "rg"), ("moved", "r1")]);
    let mut daemon = Daemon::start(&folder, &before);
    for name in ["kept.db", "gone.db", "moved.db"] {
        daemon.sync(name);
    }
    add(&open[1], 100..=120);
    Daemon::configure(&folder, &config(&[("kept", "rk"), ("moved", "r2"), ("new", "rn")]));
    reload(&mut daemon, "added=1 changed=1 removed=1 kept=1");
    until("the new set", || listed(&daemon) == ["kept", "moved", "new"]);
    add(&open[2], 200..=210);
    let sync = |name: &str| {
        until(name, || {
            let path = folder.path(name);
            let asked = serde_json::json!({"path": path, "wait": true});
            daemon.post("/sync", &asked).status == 200
        });
    };
    sync("moved.db");
    sync("new.db");
    assert_eq!(attached(&daemon, "kept"), 1, "{}", daemon.log());
    let back = |replica: &str| {
        let copy = format!("{replica}.db");
        folder.run(&["restore", "-o", &copy, &format!("@{replica}")]).ok();
        folder.numbers(&copy)
    };
    assert_eq!(back("rg"), Vec::from_iter([1].into_iter().chain(100..=120)), "its last commits");
    assert_eq!(back("r2"), Vec::from_iter([2].into_iter().chain(200..=210)));
    assert_eq!(back("rn"), [3]);
    daemon.stop();
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let mut daemon = Daemon::start(&folder, &config(&[("a", "ra")]));
    daemon.sync("a.db");
    reload(&mut daemon, "added=0 changed=0 removed=0 kept=1");
    daemon.sync("a.db");
    assert_eq!(attached(&daemon, "a"), 1);
    daemon.stop();
}

#[test]
fn a_broken_configuration_is_told_of_and_not_used() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    let mut daemon = Daemon::start(&folder, &config(&[("a", "ra")]));
    daemon.sync("a.db");
    folder.write("c.yml", "dbs: [{path: a.db, replica: {path: ra}}]\nnonsense: 1\n");
    reload(&mut daemon, "the new configuration is not used");
    assert!(daemon.log().contains("nonsense"), "{}", daemon.log());
    folder.write("c.yml", "dbs: [");
    reload(&mut daemon, "the new configuration is not used");
    add(&database, 1..=9);
    daemon.sync("a.db");
    daemon.stop();
    folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
    assert_eq!(folder.numbers("copy.db"), Vec::from_iter(1..=9));
}

#[test]
fn a_configuration_that_gives_two_databases_one_place_is_not_used() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("b.db"), folder.database("c.db")];
    std::os::unix::fs::symlink(".", folder.path("link")).unwrap();
    let mut daemon = Daemon::start(&folder, &config(&[("a", "ra")]));
    daemon.sync("a.db");
    let url = format!("file://{}", folder.path("rb").display());
    let register = serde_json::json!({"path": folder.path("b.db"), "replica_url": url});
    assert_eq!(daemon.post("/register", &register).status, 200);
    // That of another database of the configuration, and that of one that was registered; and a
    // database that is there already.
    let c = |place| ("c", place);
    let refused = [c("link/ra"), c("x/../rb"), ("link/a", "rc")];
    for (at, (name, place)) in refused.into_iter().enumerate() {
        Daemon::configure(&folder, &config(&[("a", "ra"), (name, place)]));
        daemon.running.signal(Signal::HUP);
        until("the refusal", || {
            daemon.log().matches("the new configuration is not used").count() == at + 1
        });
        let told = [
            "/link/ra is already in use by ",
            "/rb is already in use by ",
            "a.db is already in use as ",
        ];
        assert!(daemon.log().contains(told[at]), "{}", daemon.log());
        assert_eq!(listed(&daemon), ["a", "b"]);
    }
    daemon.sync("a.db");
    daemon.stop();
}

#[test]
fn replicas_may_go_from_one_database_to_another_at_once() {
    let folder = Folder::new();
    let open = [folder.database("a.db"), folder.database("b.db"), folder.database("c.db")];
    for (at, database) in (1..).zip(&open) {
        add(database, at * 100..=at * 100 + 5);
    }
    let leased = |entries: &[(&str, &str)]| format!("lease: true\n{}", config(entries));
    let mut daemon = Daemon::start(&folder, &leased(&[("a", "r1"), ("b", "r2"), ("c", "r3")]));
    for name in ["a.db", "b.db", "c.db"] {
        daemon.sync(name);
    }
    // Two change places, and a new one gets that of one that goes.
    add(&folder.database("d.db"), 400..=405);
    Daemon::configure(&folder, &leased(&[("a", "r2"), ("b", "r1"), ("d", "r3")]));
    reload(&mut daemon, "added=1 changed=2 removed=1 kept=0");
    until("all to be taken in", || {
        daemon.log().matches("replicated as the configuration says now").count() == 3
    });
    assert_eq!(listed(&daemon), ["a", "b", "d"]);
    add(&open[0], 106..=106);
    for name in ["a.db", "b.db", "d.db"] {
        daemon.sync(name);
    }
    let log = daemon.stop();
    assert!(!log.contains("another writer"), "{log}");
    for (replica, numbers) in [("r1", 200..=205), ("r2", 100..=106), ("r3", 400..=405)] {
        let copy = format!("{replica}.db");
        folder.run(&["restore", "-o", &copy, &format!("@{replica}")]).ok();
        assert_eq!(folder.numbers(&copy), Vec::from_iter(numbers), "{replica}");
    }
}

/// Two of us on one database would fight: the former one is waited for, and that is told.
#[test]
fn a_database_whose_last_request_hangs_is_told_of_and_taken_in_when_that_has_ended() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap();
    let folder = Folder::new();
    let database = folder.database("a.db");
    folder.database("b.db");
    let hangs = format!(
        "- {{path: a.db, replica: {{access-key-id: k, secret-access-key: s, \
         url: 's3://b/p?endpoint=http://{endpoint}&region=x&timeout=15s'}}}}\n"
    );
    let b = entry("b", "rb");
    let patience = "shutdown-sync-timeout: 3s\n";
    let mut daemon = Daemon::start(&folder, &format!("{patience}dbs:\n{hangs}{b}"));
    let (asked, _) = silent.accept().unwrap();
    Daemon::configure(&folder, &format!("{patience}dbs:\n{}{b}", entry("a", "ra")));
    reload(&mut daemon, "not replicated yet");
    let told = "a.db: not replicated as the configuration says: ";
    let ready = daemon.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains(told), "{ready:?}");
    let health = folder.run(&["health", "-socket", "s"]);
    assert!(health.code == Some(10) && health.stdout.contains(told), "{health:?}");
    let status = daemon.get("/status").json();
    assert_eq!(status["ready"], false);
    assert!(status["databases"].to_string().contains("has not ended"), "{status}");
    // The others go on, and so does the configuration.
    daemon.sync("b.db");
    folder.database("c.db");
    let more = format!("{patience}dbs:\n{}{b}{}", entry("a", "ra"), entry("c", "rc"));
    Daemon::configure(&folder, &more);
    reload(&mut daemon, "added=1 changed=0 removed=0 kept=2");
    until("another one", || daemon.post("/sync", &path(&folder, "c.db")).status == 200);
    drop((asked, silent));
    until("it to be replicated", || daemon.get("/readyz").status == 200);
    add(&database, 1..=3);
    daemon.sync("a.db");
    daemon.stop();
    folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
    assert_eq!(folder.numbers("copy.db"), [1, 2, 3]);
}

#[test]
fn what_cannot_be_opened_is_tried_again_until_it_can() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("b.db")];
    let one = format!("shutdown-sync-timeout: 3s\n{}", config(&[("a", "ra")]));
    let mut daemon = Daemon::start(&folder, &one);
    daemon.sync("a.db");
    let key = folder.path("key");
    let b = format!(
        "- {{path: b.db, replica: {{url: 's3://b/p?endpoint=http://127.0.0.1:1&region=x', \
         sse-customer-key-path: {}}}}}\n",
        key.display()
    );
    let both = format!("{one}{b}");
    Daemon::configure(&folder, &both);
    reload(&mut daemon, "cannot be replicated");
    let told = "b.db: not replicated as the configuration says: ";
    let ready = daemon.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains(told), "{ready:?}");
    // Also if it says the same again.
    reload(&mut daemon, "added=0 changed=0 removed=0 kept=2");
    assert!(daemon.get("/readyz").body.contains(told));
    folder.write("key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    until("it to be opened", || !daemon.get("/readyz").body.contains(told));
    assert_eq!(daemon.log().matches("cannot be replicated").count(), 1, "{}", daemon.log());
    Daemon::configure(&folder, &one);
    reload(&mut daemon, "added=0 changed=0 removed=1 kept=1");
    daemon.await_log("not replicated any more");
    daemon.sync("a.db");
    daemon.stop();
}

#[test]
fn one_that_hangs_does_not_take_the_time_of_the_others_last_sync() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("c.db")];
    let healthy = folder.database("b.db");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("endpoint=http://{}&region=x", silent.local_addr().unwrap());
    let keys = "access-key-id=k&secret-access-key=s&timeout=60s";
    let hangs = format!("- {{path: a.db, replica: {{url: 's3://bucket/app?{silent}&{keys}'}}}}\n");
    let waits = "- {path: b.db, replica: {path: rb, sync-interval: 1h}}\n";
    let kept = "- {path: c.db, replica: {path: rc}}\n";
    let config = |dbs: &str| format!("shutdown-sync-timeout: 3s\ndbs:\n{dbs}");
    let mut daemon = Daemon::start(&folder, &config(&format!("{hangs}{waits}{kept}")));
    daemon.sync("b.db");
    add(&healthy, 1..=3);
    Daemon::configure(&folder, &config(kept));
    reload(&mut daemon, "added=0 changed=0 removed=2 kept=1");
    until("both to be let go", || listed(&daemon) == ["c"]);
    folder.run(&["restore", "-o", "copy.db", "@rb"]).ok();
    assert_eq!(folder.numbers("copy.db"), [1, 2, 3], "{}", daemon.log());
}

/// Whose last request has not ended may still write there.
#[test]
fn a_place_is_not_given_away_before_its_owner_has_left() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("b.db")];
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("endpoint=http://{}&region=x", silent.local_addr().unwrap());
    let keys = "access-key-id=k&secret-access-key=s&timeout=8s";
    let config = |name: &str| {
        let replica = format!("{{url: 's3://bucket/app?{place}&{keys}'}}");
        format!("shutdown-sync-timeout: 100ms\ndbs:\n- {{path: {name}.db, replica: {replica}}}\n")
    };
    let mut daemon = Daemon::start(&folder, &config("a"));
    let asked = silent.accept().unwrap();
    Daemon::configure(&folder, &config("b"));
    reload(&mut daemon, "added=1 changed=0 removed=1 kept=0");
    daemon.await_log("not replicated yet");
    let told = "a.db was removed a moment ago, and its last request has not ended";
    assert!(daemon.log().contains(told), "{}", daemon.log());
    drop((asked, silent));
    daemon.await_log("replicated as the configuration says now");
}

/// A lease is one on a place: under another name of it, nobody else has it.
#[test]
fn another_spelling_of_a_place_has_the_same_lease() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    std::os::unix::fs::symlink(".", folder.path("link")).unwrap();
    let leased = |place| format!("lease: true\n{}", config(&[("a", place)]));
    let mut daemon = Daemon::start(&folder, &leased("ra"));
    daemon.sync("a.db");
    Daemon::configure(&folder, &leased("link/ra"));
    reload(&mut daemon, "replicated as the configuration says now");
    add(&database, 1..=3);
    daemon.sync("a.db");
    let log = daemon.stop();
    assert!(!log.contains("another writer"), "{log}");
    folder.run(&["restore", "-o", "copy.db", "@ra"]).ok();
    assert_eq!(folder.numbers("copy.db"), [1, 2, 3]);
}

#[test]
fn what_was_stopped_stays_stopped_and_what_was_registered_stays() {
    let folder = Folder::new();
    let _open = [folder.database("a.db"), folder.database("b.db"), folder.database("c.db")];
    let mut daemon = Daemon::start(&folder, &config(&[("a", "ra")]));
    daemon.sync("a.db");
    let url = format!("file://{}", folder.path("rb").display());
    let register = serde_json::json!({"path": folder.path("b.db"), "replica_url": url});
    assert_eq!(daemon.post("/register", &register).status, 200);
    let stop = serde_json::json!({"path": folder.path("a.db")});
    assert_eq!(daemon.post("/stop", &stop).status, 200);
    Daemon::configure(&folder, &config(&[("a", "ra2"), ("c", "rc")]));
    reload(&mut daemon, "added=1 changed=1 removed=0 kept=1");
    until("the new set", || listed(&daemon) == ["a", "b", "c"]);
    let list = daemon.get("/list").json();
    assert_eq!(list["databases"][0]["status"], "stopped");
    daemon.sync("b.db");
    daemon.stop();
}

#[test]
fn directories_of_the_configuration_come_and_go() {
    let folder = Folder::new();
    for name in ["one", "two"] {
        std::fs::create_dir(folder.path(name)).unwrap();
        add(&folder.database(&format!("{name}/x.db")), 1..=2);
    }
    let directory = |name: &str| {
        format!(
            "dbs: [{{dir: {name}, pattern: '*.db', watch: true, replica: {{path: r-{name}}}}}]\n"
        )
    };
    let mut daemon = Daemon::start(&folder, &directory("one"));
    daemon.sync("one/x.db");
    Daemon::configure(&folder, &directory("two"));
    reload(&mut daemon, "added=1 changed=0 removed=1 kept=0");
    let paths = |daemon: &Daemon<'_>| {
        let list = daemon.get("/list").json();
        let databases = list["databases"].as_array().unwrap().iter();
        databases.map(|it| it["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let at = |name: &str| folder.path(name).display().to_string();
    until("the other directory", || paths(&daemon) == [at("two/x.db")]);
    add(&folder.database("two/y.db"), 1..=2);
    until("a database that comes there", || paths(&daemon) == [at("two/x.db"), at("two/y.db")]);
    daemon.sync("two/y.db");
    daemon.stop();
}

#[test]
fn without_a_configuration_there_is_nothing_to_read() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    let mut running = folder.start(&["replicate", "a.db", "@ra"]);
    until("the first file", || crate::program::files(&folder.path("ra")) > 0);
    running.signal(Signal::HUP);
    add(&database, 1..=3);
    running.signal(Signal::TERM);
    let ran = running.wait().ok();
    assert!(ran.stderr.contains("there is no configuration to read again"), "{ran:?}");
}

/// A key that was wrong, or has been changed, comes from its file anew.
#[test]
fn keys_are_read_again_from_their_files() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let folder = Folder::new();
    for name in ["named.db", "inherited.db"] {
        add(&folder.database(name), 1..=3);
    }
    for key in ["key", "env-key"] {
        folder.write(key, "not-this-one");
    }
    let host = &server.host;
    let replica = |name: &str, more: &str| {
        format!(
            "- {{path: {name}.db, replica: {{url: \"s3://bkt1/{name}?endpoint=http://{host}&region=us-east-1\"{more}}}}}\n"
        )
    };
    let named = replica("named", ", access-key-id: testkey, secret-access-key-file: key");
    Daemon::configure(&folder, &format!("dbs:\n{named}{}", replica("inherited", "")));
    let mut command = folder.command(&["replicate", "-config", "c.yml"]);
    command.env("LITESTREAM_ACCESS_KEY_ID", "testkey").env_remove("AWS_CA_BUNDLE");
    command.env("LITESTREAM_SECRET_ACCESS_KEY_FILE", folder.path("env-key"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Daemon::started(&folder, Running::of(command.spawn().unwrap(), &folder));
    let problems = |daemon: &Daemon<'_>| daemon.get("/status").json()["problems"].to_string();
    until("both to be refused", || problems(&daemon).matches("denied").count() == 2);

    for (key, name) in [("key", "/named.db"), ("env-key", "/inherited.db")] {
        folder.write(key, "testsecret\n");
        daemon.running.signal(Signal::HUP);
        until("the new key to be used", || !problems(&daemon).contains(name));
    }
    // The second time, both began anew.
    until("both to be taken in again", || {
        daemon.log().matches("replicated as the configuration says now").count() == 3
    });
    for name in ["named.db", "inherited.db"] {
        daemon.sync(name);
    }
    assert!(!daemon.log().contains("testsecret") && !daemon.log().contains("not-this-one"));
    daemon.stop();
}
