//! Databases that are registered while the daemon runs.

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::Server;
use testkit::server::Kind;

use crate::control::{ONE, told, with_one};
use crate::daemon::Daemon;
use crate::program::{Folder, add, until};

#[test]
fn databases_are_registered_and_unregistered_while_it_runs() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    let second = folder.database("b.db");
    add(&second, 1..=5);
    let url = format!("file://{}", folder.path("rb").display());
    let path = folder.path("b.db");
    let register = json!({"path": path, "replica_url": url});
    let expected = json!({"status": "registered", "path": path});
    assert_eq!(told(&daemon.post("/register", &register)), (200, expected));
    assert_eq!(daemon.post("/register", &register).json()["status"], "already_registered");
    assert_eq!(daemon.get("/info").json()["database_count"], 2);
    add(&second, 6..=9);
    let (status, gone) = told(&daemon.post("/unregister", &json!({"path": path})));
    assert_eq!((status, &gone["status"]), (200, &json!("unregistered")));
    assert!(gone["txid"].as_u64().unwrap() >= 1, "{gone}");
    let again = daemon.post("/unregister", &json!({"path": path}));
    let expected = json!({"status": "already_unregistered", "path": path, "txid": 0});
    assert_eq!(told(&again), (200, expected));
    assert_eq!(daemon.get("/info").json()["database_count"], 1);
    folder.run(&["restore", "-o", "copy.db", "@rb"]).ok();
    assert_eq!(folder.numbers("copy.db"), Vec::from_iter(1..=9));
    // It may come back.
    assert_eq!(daemon.post("/register", &register).json()["status"], "registered");
    daemon.sync("b.db");
    daemon.stop();
}

/// As an entry of the configuration would that says nothing else.
#[test]
fn what_is_registered_has_what_holds_for_all() {
    let folder = Folder::new();
    let (mut daemon, _database) = with_one(&folder);
    let _open = [folder.database("b.db"), folder.database("c.db")];
    let register = |daemon: &Daemon<'_>, name: &str| {
        let url = format!("file://{}", folder.path(&format!("r-{name}")).display());
        let asked = json!({"path": folder.path(&format!("{name}.db")), "replica_url": url});
        assert_eq!(daemon.post("/register", &asked).json()["status"], "registered");
    };
    let lease = |daemon: &Daemon<'_>, name: &str| {
        let status = daemon.get("/status").json();
        let mut databases = status["databases"].as_array().unwrap().iter();
        let path = json!(folder.path(&format!("{name}.db")));
        let database = databases.find(|it| it["path"] == path);
        database.map_or(Value::Null, |it| it["replicas"][0]["lease_held"].clone())
    };
    register(&daemon, "b");
    daemon.sync("b.db");
    assert_eq!(lease(&daemon, "b"), Value::Null);
    // What was registered before gets it, too, and so does what comes after.
    Daemon::configure(&folder, &format!("lease: true\n{ONE}"));
    daemon.running.signal(Signal::HUP);
    for name in ["a", "b"] {
        until("a lease", || lease(&daemon, name) == json!(true));
    }
    register(&daemon, "c");
    until("a lease", || lease(&daemon, "c") == json!(true));
    for name in ["b", "c"] {
        daemon.sync(&format!("{name}.db"));
        assert!(folder.path(&format!("r-{name}/lock.json")).exists());
    }
    assert_eq!(daemon.get("/info").json()["database_count"], 3);
    daemon.stop();
}

#[test]
fn what_is_registered_has_the_credentials_that_hold_for_all() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let root = format!(
        "endpoint: 'http://{}'\nregion: us-east-1\naccess-key-id: testkey\n\
         secret-access-key: testsecret\n",
        server.host
    );
    folder.database("b.db");
    let one = "dbs: [{path: b.db, replica: {path: rb}}]\n";
    let daemon = Daemon::start(&folder, &format!("{root}{one}"));
    let asked = json!({"path": folder.path("a.db"), "replica_url": "s3://bkt1/a"});
    assert_eq!(daemon.post("/register", &asked).json()["status"], "registered");
    daemon.sync("a.db");
    daemon.stop();
}

#[test]
fn two_databases_never_get_one_replica() {
    let folder = Folder::new();
    let (daemon, _database) = with_one(&folder);
    folder.database("b.db");
    std::os::unix::fs::symlink(folder.path(""), folder.path("link")).unwrap();
    let ra = folder.path("ra").display().to_string();
    for place in ["ra", "ra/", "x/../ra", "link/ra"] {
        let url = format!("file://{}", folder.path(place).display());
        let b = json!({"path": folder.path("b.db"), "replica_url": url});
        let (status, answer) = told(&daemon.post("/register", &b));
        let told = answer["error"].as_str().unwrap();
        assert!(told.contains(" is already in use by ") && told.contains("/a.db"), "{told}");
        assert_eq!((status, told.contains(&format!(", as file://{ra}"))), (409, place != "ra"));
        let a = json!({"path": folder.path("a.db"), "replica_url": url});
        let again = daemon.post("/register", &a).json();
        assert_eq!(again["status"], "already_registered", "{place}: {again}");
    }
    let elsewhere = json!({"path": folder.path("a.db"), "replica_url": "file:///other"});
    let elsewhere = daemon.post("/register", &elsewhere);
    assert_eq!(elsewhere.status, 409, "{elsewhere:?}");
    daemon.stop();
}
