//! What a service manager hears, with a socket in systemd's place.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::program::{Folder, Running, add};

/// Hears messages.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Manager {
        Manager(UnixDatagram::bind(path).unwrap())
    }

    /// The next message that has this line.
    fn hears(&self, line: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "in vain: {line} among {seen:?}");
            self.0.set_read_timeout(Some(left)).unwrap();
            let mut buf = [0; 4096];
            let Ok(length) = self.0.recv(&mut buf) else { continue };
            let message = String::from_utf8(buf[..length].to_vec()).unwrap();
            if message.lines().any(|it| it == line || (line.ends_with('=') && it.starts_with(line)))
            {
                return message;
            }
            seen.push(message);
        }
    }
}

fn start<'a>(folder: &'a Folder, variables: &[(&str, &str)]) -> Daemon<'a> {
    let mut command = folder.command(&["replicate", "-config", "c.yml"]);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Daemon::started(folder, Running::of(command.spawn().unwrap(), folder))
}

const ONE: &str = "dbs: [{path: a.db, replica: {path: ra}}]\n";

#[test]
fn a_service_manager_is_told_of_the_beginning_of_reloads_and_of_the_end() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    Daemon::configure(&folder, ONE);
    let manager = Manager::at(&folder.path("notify"));
    let path = folder.path("notify").display().to_string();
    let mut daemon = start(&folder, &[("NOTIFY_SOCKET", &path)]);
    manager.hears("READY=1");
    daemon.sync("a.db");
    daemon.running.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec as u64;
    let usec = reloading.lines().find_map(|it| it.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let seconds = usec.parse::<u64>().unwrap() / 1_000_000;
    assert!(now - seconds < 60, "{reloading} at {now}");
    manager.hears("READY=1");
    let log = daemon.stop();
    let stopping = manager.hears("STOPPING=1");
    assert!(stopping.contains("STATUS="), "{stopping}");
    assert!(!log.contains("watchdog"), "{log}");
}

#[test]
fn the_status_line_says_what_is_wrong() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    folder.write("file", "no directory can be made below a file");
    let broken = "shutdown-sync-timeout: 100ms\ndbs: [{path: a.db, replica: {path: file/r}}]\n";
    Daemon::configure(&folder, broken);
    let manager = Manager::at(&folder.path("notify"));
    let path = folder.path("notify").display().to_string();
    let daemon = start(&folder, &[("NOTIFY_SOCKET", &path)]);
    let told = loop {
        let told = manager.hears("STATUS=");
        if told.contains("; ") {
            break told;
        }
    };
    assert!(told.starts_with("STATUS=Replicating 1 databases; "), "{told}");
    drop(daemon);
}

#[test]
fn an_abstract_socket_will_do() {
    let folder = Folder::new();
    Daemon::configure(&folder, ONE);
    let name = format!("brooklet-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager(UnixDatagram::bind_addr(&address).unwrap());
    let daemon = start(&folder, &[("NOTIFY_SOCKET", &format!("@{name}"))]);
    // A database that is not there is waited for: that is a beginning, too.
    manager.hears("READY=1");
    daemon.stop();
}

#[test]
fn the_watchdog_is_fed_and_only_ours() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    Daemon::configure(&folder, ONE);
    let manager = Manager::at(&folder.path("notify"));
    let path = folder.path("notify").display().to_string();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "300000")];
    let daemon = start(&folder, &variables);
    let began = Instant::now();
    for _ in 0..5 {
        manager.hears("WATCHDOG=1");
    }
    assert!(began.elapsed() > Duration::from_millis(200), "not more often than is asked for");
    daemon.stop();

    let others = [variables[0], variables[1], ("WATCHDOG_PID", "1")];
    let daemon = start(&folder, &others);
    manager.hears("READY=1");
    manager.0.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    let mut buf = [0; 4096];
    while let Ok(length) = manager.0.recv(&mut buf) {
        assert!(!buf[..length].starts_with(b"WATCHDOG"), "that is for another process");
    }
    daemon.stop();
}

#[test]
fn the_supervised_program_does_not_speak_for_us() {
    let folder = Folder::new();
    folder.database("a.db");
    let manager = Manager::at(&folder.path("notify"));
    let path = folder.path("notify").display().to_string();
    let told = "sh -c 'echo socket=$NOTIFY_SOCKET watchdog=$WATCHDOG_USEC'";
    let mut command = folder.command(&["replicate", "-exec", told, "a.db", "@ra"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let out = command.output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "socket= watchdog=\n");
    manager.hears("STOPPING=1");
}

/// The unit is what `systemd-analyze verify` and our own reading take.
#[test]
fn the_service_file_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unit = std::fs::read_to_string(root.join("etc/brooklet.service")).unwrap();
    for wanted in [
        "Type=notify",
        "ExecStart=/usr/local/bin/brooklet replicate",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=",
        "TimeoutStopSec=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "RuntimeDirectory=brooklet",
    ] {
        assert!(unit.lines().any(|line| line.starts_with(wanted)), "{wanted}");
    }
    let sections: Vec<_> = unit.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(sections, ["[Unit]", "[Service]", "[Install]"]);
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        assert!(
            line.split_once('=').is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric)),
            "{line}"
        );
    }
}

/// Where systemd's own tool is there, it has to agree.
#[test]
fn systemd_finds_nothing_wrong_with_the_service_file() {
    let folder = Folder::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unit = std::fs::read_to_string(root.join("etc/brooklet.service")).unwrap();
    let program =
        unit.replace("/usr/local/bin/brooklet", "/bin/true").replace("User=app", "User=root");
    folder.write("brooklet.service", &program);
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(folder.path("brooklet.service"))
        .output();
    match verify {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(!said.contains("brooklet.service"), "{said}");
        }
        Err(_) => println!("SKIPPED: no systemd-analyze"),
    }
}

#[test]
fn the_example_configuration_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = root.join("etc/brooklet.yml").canonicalize().unwrap().display().to_string();
    let ran = Folder::new().run(&["databases", "-config", &example]).ok();
    assert!(ran.stdout.contains("/var/lib/app/app.db"), "{ran:?}");
}
