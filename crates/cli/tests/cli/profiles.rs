//! `/debug/pprof` at the control socket.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::program::{Folder, add, until};

const ONE: &str = "dbs: [{path: a.db, replica: {path: ra}}]\n";

#[test]
fn a_profile_names_the_threads_and_keeps_nobody_waiting() {
    let folder = Folder::new();
    let database = folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    let endless = daemon.ask("GET", "/debug/pprof/profile?seconds=300", "");
    let began = Instant::now();
    let mut profile = daemon.ask("GET", "/debug/pprof/profile?seconds=1", "");
    add(&database, 1..=100);
    daemon.sync("a.db");
    let mut answer = Vec::new();
    profile.read_to_end(&mut answer).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("application/octet-stream"),
        "{head}"
    );
    for word in ["samples", "cpu", "nanoseconds", "http"] {
        assert!(body.contains(word), "{word}: {body}");
    }
    daemon.stop();
    drop(endless);
}

#[test]
#[cfg(target_os = "linux")]
fn a_profile_ends_when_nobody_waits_for_it_any_more() {
    let folder = Folder::new();
    folder.database("a.db");
    let mut daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let files = format!("/proc/{}/fd", daemon.running.child().id());
    let sockets = || {
        let files = std::fs::read_dir(&files).unwrap().flatten();
        let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
        files.filter(|it| std::fs::read_link(it.path()).is_ok_and(is_socket)).count()
    };
    // The connection of the last answer may still count.
    let before = sockets();
    let ask = || daemon.ask("GET", "/debug/pprof/profile?seconds=300", "");
    let endless = [ask(), ask(), ask()];
    until("the profiles to begin", || sockets() >= before + 2);
    drop(endless);
    until("the profiles to end", || sockets() <= before);
    daemon.stop();
}

#[test]
fn threads_are_listed_with_their_time() {
    let folder = Folder::new();
    folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    daemon.sync("a.db");
    let answer = daemon.get("/debug/pprof/threads");
    assert_eq!(answer.status, 200);
    let http = answer.body.lines().find(|it| it.split_whitespace().nth(1) == Some("http"));
    let http = http.unwrap_or_else(|| panic!("{}", answer.body));
    assert!(http.contains(" running ") && http.ends_with('s'), "it is the one that looks: {http}");
    daemon.stop();
}

#[test]
fn the_command_line_is_told_without_secrets() {
    let folder = Folder::new();
    folder.database("a.db");
    Daemon::configure(&folder, ONE);
    let exec = "sh -c 'exec sleep 60 # postgres://me:hush@host/x?key=hush'";
    let running = folder.start(&["replicate", "-config", "c.yml", "-exec", exec]);
    let mut daemon = Daemon::started(&folder, running);
    let answer = daemon.get("/debug/pprof/cmdline");
    let args: Vec<_> = answer.body.split('\0').collect();
    assert_eq!(args[1..5], ["replicate", "-config", "c.yml", "-exec"]);
    assert_eq!(args[5], "sh -c 'exec sleep 60 # postgres://host/x'");
    daemon.running.signal(rustix::process::Signal::TERM);
    daemon.wait();
}

#[test]
fn what_there_is_not_is_told_with_what_there_is() {
    let folder = Folder::new();
    folder.database("a.db");
    let daemon = Daemon::start(&folder, ONE);
    let index = daemon.get("/debug/pprof/");
    assert_eq!(index.status, 200);
    for name in ["cmdline", "profile", "threads"] {
        assert!(index.body.lines().any(|line| line.starts_with(name)), "{index:?}");
    }
    let go = ["goroutine", "heap", "allocs", "block", "mutex", "threadcreate", "trace", "symbol"];
    for name in go.into_iter().chain(["nonsense"]) {
        let answer = daemon.get(&format!("/debug/pprof/{name}"));
        assert_eq!(answer.status, 404, "{name}");
        let start = format!("there is no profile {name:?} here");
        assert!(answer.body.starts_with(&start) && answer.body.contains(&index.body), "{answer:?}");
    }
    for seconds in ["0", "301", "-1", "soon"] {
        let answer = daemon.get(&format!("/debug/pprof/profile?seconds={seconds}"));
        assert_eq!(answer.status, 400, "{seconds}: {answer:?}");
    }
    assert_eq!(daemon.get("/debug/pprof").status, 308);
    assert_eq!(daemon.post("/debug/pprof/profile", &serde_json::json!({})).status, 405);
    daemon.stop();
}
