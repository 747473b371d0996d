//! Real servers, started for the tests of one process on free ports of the loopback.
//!
//! `tools/servers.sh` knows how each is installed and started. Its input is a pipe that we hold:
//! when this process ends, however it ends, the servers stop.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::scratch::Scratch;

/// Ports from here on are tried; servers that want a second one take it 10,000 above, which is
/// still below those that the system gives to connections.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 22_700;

/// The kinds of servers, by their names in `tools/servers.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `SeaweedFS`: S3 with conditional writes and encryption.
    Seaweed,
    /// Garage: S3, strict on signatures; it ignores conditions.
    Garage,
    /// `moto`: S3 in memory.
    Moto,
    /// `rclone` as an S3 that ignores conditions.
    RcloneS3,
    /// Azurite: Azure Blob.
    Azurite,
    /// `fake-gcs-server`: Google Cloud Storage, JSON only.
    FakeGcs,
    /// OpenSSH.
    Sftp,
    /// `rclone serve sftp`: weaker than OpenSSH.
    RcloneSftp,
    /// `wsgidav`: `WebDAV` with Basic; [`Kind::WsgiDavDigest`] with Digest.
    WsgiDav,
    /// `wsgidav` with Digest.
    WsgiDavDigest,
    /// Apache `mod_dav`.
    ApacheDav,
    /// nginx with `dav-ext`.
    NginxDav,
    /// `rclone serve webdav`: weaker than the others.
    RcloneDav,
    /// `nats-server` with `JetStream`.
    Nats,
    /// A stand-in for Alibaba OSS that verifies signatures.
    Oss,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Seaweed => "seaweed",
            Kind::Garage => "garage",
            Kind::Moto => "moto",
            Kind::RcloneS3 => "rclone_s3",
            Kind::Azurite => "azurite",
            Kind::FakeGcs => "fakegcs",
            Kind::Sftp => "sftp",
            Kind::RcloneSftp => "rclone_sftp",
            Kind::WsgiDav | Kind::WsgiDavDigest => "wsgidav",
            Kind::ApacheDav => "apache_dav",
            Kind::NginxDav => "nginx_dav",
            Kind::RcloneDav => "rclone_dav",
            Kind::Nats => "nats",
            Kind::Oss => "oss",
        }
    }

    /// The variables that its ports go into, the one that clients use first.
    fn ports(self) -> &'static [&'static str] {
        match self {
            Kind::Seaweed => &[
                "SEAWEED_S3_PORT",
                "SEAWEED_MASTER_PORT",
                "SEAWEED_VOLUME_PORT",
                "SEAWEED_FILER_PORT",
                "SEAWEED_DAV_PORT",
                "SEAWEED_ADMIN_PORT",
            ],
            Kind::Garage => &["GARAGE_S3_PORT", "GARAGE_RPC_PORT", "GARAGE_ADMIN_PORT"],
            Kind::Moto => &["MOTO_PORT"],
            Kind::RcloneS3 => &["RCLONE_S3_PORT"],
            Kind::Azurite => &["AZURITE_PORT"],
            Kind::FakeGcs => &["GCS_PORT"],
            Kind::Sftp => &["SFTP_PORT"],
            Kind::RcloneSftp => &["RCLONE_SFTP_PORT"],
            Kind::WsgiDav | Kind::WsgiDavDigest => &["WSGIDAV_PORT"],
            Kind::ApacheDav => &["APACHE_DAV_PORT"],
            Kind::NginxDav => &["NGINX_DAV_PORT"],
            Kind::RcloneDav => &["RCLONE_DAV_PORT"],
            Kind::Nats => &["NATS_PORT", "NATS_MON_PORT"],
            Kind::Oss => &["OSS_PORT"],
        }
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    script: Child,
    /// `127.0.0.1:<port>`
    pub host: String,
    kind: Kind,
    variables: Vec<(String, String)>,
    scratch: Scratch,
}

impl Server {
    /// Starts one. None where it is not installed, which is said; in CI that is a failure.
    pub fn start(kind: Kind) -> Option<Server> {
        Server::start_with(kind, &[])
    }

    /// The same, with these variables of `tools/servers.sh`.
    pub fn start_with(kind: Kind, variables: &[(&str, &str)]) -> Option<Server> {
        let scratch = Scratch::new(kind.name());
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: Vec<_> = variables.iter().map(text).collect();
        if kind == Kind::WsgiDavDigest {
            variables.extend([("DAV_BASIC", "false"), ("DAV_DIGEST", "true")].iter().map(text));
        }
        let ports: Vec<u16> = kind.ports().iter().map(|_| free_port()).collect();
        for (name, port) in kind.ports().iter().zip(&ports) {
            variables.push(((*name).to_owned(), port.to_string()));
        }
        let mut script = command("run", kind, &variables, &scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run tools/servers.sh");
        let mut said = String::new();
        for line in BufReader::new(script.stdout.take().expect("its output")).lines() {
            let line = line.expect("a line of tools/servers.sh");
            if line.contains(" ready (") {
                let host = format!("127.0.0.1:{}", ports[0]);
                return Some(Server { script, host, kind, variables, scratch });
            }
            let _ = writeln!(said, "{line}");
        }
        let errors = script.stderr.take().map(std::io::read_to_string);
        let errors = errors.and_then(Result::ok).unwrap_or_default();
        let _ = script.wait();
        let name = kind.name();
        assert!(
            std::env::var_os("CI").is_none() || kind == Kind::Garage,
            "{name} does not start: {said}{errors}"
        );
        eprintln!("skipped: {name} is not there (tools/servers.sh install): {said}{errors}");
        None
    }

    /// Ends it at once, and whatever serves a client of it, as a crash would.
    pub fn kill(&self) {
        let path = self.scratch.path(&format!("{}.pid", self.kind.name()));
        let pid = std::fs::read_to_string(path).expect("its process id");
        let family = with_descendants(pid.trim().parse().expect("a process id"));
        let pids = family.iter().map(i32::to_string);
        let killed = Command::new("kill").arg("-9").args(pids).status().expect("run kill");
        assert!(killed.success(), "kill {family:?}");
    }

    /// Starts it again, on the same ports and with the data that it had.
    pub fn restart(&self) {
        let mut command = command("start", self.kind, &self.variables, &self.scratch);
        let started = command.stdout(Stdio::null()).status().expect("run tools/servers.sh");
        assert!(started.success(), "{} does not start again", self.kind.name());
    }

    /// Where it keeps its data and configuration.
    pub fn directory(&self) -> &Path {
        self.scratch.root()
    }

    /// Makes a bucket on an S3 server, as its owner would.
    pub fn create_bucket(&self, name: &str) {
        let url = format!("http://{}/{name}", self.host);
        let made = Command::new("curl")
            .args(["-sf", "-o", "/dev/null", "-X", "PUT", "--user", "testkey:testsecret"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", &url])
            .status();
        assert!(made.expect("run curl").success(), "{url}: no bucket");
    }

    /// Makes a bucket for objects on a NATS server, as its owner would.
    pub fn create_object_store(&self, name: &str) {
        let config = serde_json::json!({
            "name": format!("OBJ_{name}"),
            "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
            "retention": "limits", "discard": "new", "storage": "file", "num_replicas": 1,
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_msg_size": -1,
            "max_msgs_per_subject": -1, "max_age": 0,
            "allow_rollup_hdrs": true, "allow_direct": true,
        });
        let (config, mut stream) =
            (config.to_string(), TcpStream::connect(&self.host).expect("connect"));
        let login = r#"{"user":"natsuser","pass":"natspass","verbose":false}"#;
        let subject = format!("$JS.API.STREAM.CREATE.OBJ_{name}");
        let length = config.len();
        let said = format!(
            "CONNECT {login}\r\nSUB answer 1\r\nPUB {subject} answer {length}\r\n{config}\r\n"
        );
        stream.write_all(said.as_bytes()).expect("ask for a bucket");
        let answer = BufReader::new(stream)
            .lines()
            .map(|line| line.expect("an answer"))
            .find(|line| line.starts_with('{') || line.starts_with("-ERR"))
            .expect("an answer");
        assert!(answer.contains("\"did_create\":true"), "{name}: no bucket: {answer}");
    }

    /// A directory, bucket or prefix name that no other test has.
    pub fn fresh_name() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn command(verb: &str, kind: Kind, variables: &[(String, String)], scratch: &Scratch) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/servers.sh");
    let mut command = Command::new(script);
    command.args([verb, kind.name()]).env("RUN", scratch.root());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// A process and those that it began, directly or not.
fn with_descendants(pid: i32) -> Vec<i32> {
    let listed = Command::new("ps").args(["-e", "-o", "pid=,ppid="]).output().expect("run ps");
    let text = String::from_utf8(listed.stdout).expect("numbers");
    let pairs: Vec<(i32, i32)> = text
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// A port that is free, and the one 10,000 above.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let span = u64::from(LAST_PORT - FIRST_PORT);
    let begin = u64::from(std::process::id()) * 37 % span;
    loop {
        let step = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + u16::try_from(step % span).expect("below the span");
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
