//! Storage that fails while we replicate and restore.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::faults::{Fault, FaultProxy};
use testkit::server::Kind;
use testkit::stub::{Reply, Stub};
use testkit::tool::PATIENCE;
use testkit::{Layout, Mix, Server, Tool, turn, wait};

use crate::stage::Stage;

fn seaweed() -> Option<Server> {
    let server = Server::start(Kind::Seaweed)?;
    server.create_bucket("bkt1");
    Some(server)
}

fn url(host: &str) -> String {
    format!("s3://bkt1/app?endpoint=http://{host}&region=us-east-1")
}

fn with_keys(mut command: Command) -> Command {
    let keys = [("AWS_ACCESS_KEY_ID", "testkey"), ("AWS_SECRET_ACCESS_KEY", "testsecret")];
    command.env_remove("AWS_CA_BUNDLE").envs(keys);
    command
}

/// Restores, and gives the exit code and what was said.
fn restore(tool: &Tool, url: &str, more: &[&str], output: &Path) -> (Option<i32>, String) {
    let mut command = with_keys(tool.command(&["restore"]));
    let done = command.args(more).arg("-o").arg(output).arg(url).output().expect("run restore");
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// The transactions that all TXIDs of the replica restore to, in order.
fn transactions(stage: &Stage, url: &str) -> Vec<u64> {
    let listed = with_keys(stage.tool.command(&["ltx", "-level", "all", url])).output();
    let listed = listed.expect("list the replica").stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let ends = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2));
    let ends: BTreeSet<&str> = ends.collect();
    let output = stage.scratch.path("swept.db");
    let mut oracle = stage.oracle();
    let restored = |txid: &&str| {
        let (code, said) = restore(&stage.tool, url, &["-txid", txid], &output);
        assert_eq!(code, Some(0), "TXID {txid}: {said}");
        let n = oracle.check_file(&output).expect("a committed state");
        std::fs::remove_file(&output).expect("remove what was restored");
        n
    };
    ends.iter().map(restored).collect()
}

#[test]
fn a24_replication_goes_on_by_itself_once_storage_is_back() {
    let Some(server) = seaweed() else { return };
    let _turn = turn::shared();
    let stage = Stage::new("faults", Mix::Small);
    let mut app = stage.create(Layout::default());
    let proxy = FaultProxy::start(&server.host);
    let command = with_keys(stage.tool.command(&["replicate"]));
    let mut command = command;
    command.arg(&stage.db).arg(url(&proxy.host));
    let mut replicator = stage.tool.start_command(command, &stage.db);
    let output = stage.scratch.path("restored.db");
    let mut await_n = |n: u64, stage: &Stage| {
        wait::until(&format!("transaction {n}"), PATIENCE, || {
            assert!(!replicator.has_ended(), "replicate has ended\n{}", replicator.log());
            let _ = std::fs::remove_file(&output);
            let (code, _) = restore(&stage.tool, &url(&server.host), &[], &output);
            let restored = (code == Some(0)).then(|| stage.oracle().check_file(&output));
            restored.filter(|restored| *restored == Ok(n))
        })
        .expect("a committed state");
    };
    let mut n = stage.workload.commit_many(&mut app, 5);
    await_n(n, &stage);
    for fault in [
        Fault::Refuse,
        Fault::ResetUp(100),
        Fault::Close(0),
        Fault::BlackHole(0),
        Fault::Stall,
        Fault::Trickle,
    ] {
        proxy.set(fault);
        let began = Instant::now();
        wait::until("commits while storage is away", PATIENCE, || {
            n = stage.workload.commit_many(&mut app, 2);
            (began.elapsed() > Duration::from_secs(3)).then_some(())
        });
        proxy.set(Fault::None);
        let back = Instant::now();
        await_n(n, &stage);
        println!("{fault:?}: {:?} after the storage's return", back.elapsed());
    }
    replicator.stop();
    let found = transactions(&stage, &url(&server.host));
    assert!(found.is_sorted(), "{found:?}");
    assert_eq!(found.last(), Some(&n));
}

/// The replica of a database at transaction 5, and where restores of it go.
fn replicated(server: &Server) -> (Stage, PathBuf) {
    let stage = Stage::new("codes", Mix::Small);
    let mut app = stage.create(Layout::default());
    stage.workload.commit_many(&mut app, 5);
    drop(app);
    let mut command = with_keys(stage.tool.command(&["replicate", "-once"]));
    let done = command.arg(&stage.db).arg(url(&server.host)).output().expect("run replicate");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let output = stage.scratch.path("restored.db");
    (stage, output)
}

#[test]
fn a19_nothing_there_is_told_from_could_not_look() {
    let Some(server) = seaweed() else { return };
    let _turn = turn::shared();
    let (stage, output) = replicated(&server);
    let proxy = FaultProxy::start(&server.host);
    let stubs: Vec<Stub> = [Reply::Flip, Reply::Claim(-10), Reply::refusal(403, "AccessDenied")]
        .into_iter()
        .map(|reply| {
            Stub::start(Some(&server.host), move |request| match request.target.contains(".ltx") {
                true => reply.clone(),
                false => Reply::Pass,
            })
        })
        .collect();
    let at = |host: &str| format!("{}&timeout=1s", url(host));
    let here = at(&server.host);
    proxy.set(Fault::BlackHole(0));
    let gone = FaultProxy::start(&server.host);
    gone.set(Fault::Refuse);
    let cases = [
        ("all is well", here.clone(), 0),
        ("nothing there", here.replace("/app", "/other"), 4),
        ("no bucket", here.replace("bkt1", "no-such-bucket"), 5),
        ("wrong keys", format!("{here}&access-key-id=testkey&secret-access-key=wrong"), 5),
        ("forbidden objects", at(&stubs[2].host), 5),
        ("no such host", at("no-such-host.invalid:9000"), 6),
        ("refused", at(&gone.host), 6),
        ("silence", at(&proxy.host), 6),
        ("a damaged object", at(&stubs[0].host), 7),
        ("answers cut short", at(&stubs[1].host), 6),
    ];
    for (name, url, expected) in cases {
        let began = Instant::now();
        let (code, said) = restore(&stage.tool, &url, &[], &output);
        println!("{name}: {code:?} in {:?}\n{said}", began.elapsed());
        assert_eq!(code, Some(expected), "{name}: {said}");
        assert_eq!(output.exists(), expected == 0, "{name}");
        assert!(!said.contains("testsecret") && !said.contains("=wrong"), "{name}: {said}");
        let _ = std::fs::remove_file(&output);
        // An application that may start without a backup must not start for want of a look.
        let (code, said) = restore(&stage.tool, &url, &["-if-replica-exists"], &output);
        let expected = if expected == 4 { 0 } else { expected };
        assert_eq!(code, Some(expected), "{name}, -if-replica-exists: {said}");
        let _ = std::fs::remove_file(&output);
    }
}
