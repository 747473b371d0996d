//! What is served at `addr`. (failures.md A26)

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, turn, wait};

use crate::stage::Stage;

/// The answer to a request, status line and all.
fn get(address: &str, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("hear");
    answer
}

/// The value of a metric of the only database.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a26_lag_and_overdue_compaction_are_exported() {
    let _turn = turn::shared();
    let stage = Stage::new("metrics", Mix::Small);
    let mut app = stage.create(Layout::default());
    let config = stage.scratch.path("litestream.yml");
    let (db, url) = (stage.db.display(), stage.replica.url());
    let text = format!(
        "addr: ':0'\nlevels: [{{interval: 200ms}}]\nsync-interval: 50ms\n\
         dbs: [{{path: {db}, replica: {{url: '{url}'}}}}]\n"
    );
    fs::write(&config, text).expect("write a configuration");
    let mut replicator = stage.tool.replicate_config(&config, &stage.db);
    replicator.await_first_file(&stage.replica);
    let address = wait::until("the address in the log", PATIENCE, || {
        let log = replicator.log();
        let (_, rest) = log.split_once("msg=\"serving metrics\" address=")?;
        Some(rest.split_whitespace().next()?.to_owned())
    });
    assert!(get(&address, "localhost", "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "localhost", "/other").starts_with("HTTP/1.1 404"));
    assert!(get(&address, "evil.example", "/metrics").starts_with("HTTP/1.1 403"));
    let n = stage.workload.commit_many(&mut app, 3);
    stage.tool.await_n(&stage.replica, n);
    let metrics = || get(&address, &address, "/metrics");
    wait::until("the replica to be up to date", PATIENCE, || {
        let page = metrics();
        let same = value(&page, "litestream_replica_txid") == value(&page, "litestream_txid");
        let idle = value(&page, "litestream_replica_lag_seconds") == Some(0.0);
        (same && idle).then_some(())
    });

    // Level 1 cannot be written: that is told, and nothing else stops.
    let level = stage.replica.path().join("ltx/1");
    let _ = fs::remove_dir_all(&level);
    fs::write(&level, "in the way").expect("put a file in the way");
    wait::until("an overdue compaction", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        let page = metrics();
        let overdue = value(&page, "litestream_replica_compaction_overdue_seconds")? > 0.0;
        (overdue && value(&page, "litestream_replica_upkeep_failing") == Some(1.0)).then_some(())
    });
    let before = stage.replica.last_txid();
    stage.workload.commit_many(&mut app, 1);
    wait::until("another upload", PATIENCE, || (stage.replica.last_txid() > before).then_some(()));
    fs::remove_file(&level).expect("clear the way");
    wait::until("the compaction to be done", PATIENCE, || {
        stage.workload.commit_many(&mut app, 1);
        let page = metrics();
        let overdue = value(&page, "litestream_replica_compaction_overdue_seconds") == Some(0.0);
        (overdue && value(&page, "litestream_replica_upkeep_failing") == Some(0.0)).then_some(())
    });
    replicator.stop();
}
