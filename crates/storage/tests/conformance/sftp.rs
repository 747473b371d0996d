//! SFTP against OpenSSH, and against a server that can do less.

mod asking;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Environment, Error, Options, Storage, Url};
use testkit::server::{Kind, Server};

use crate::suite::{self, Abilities, Fixture, Times};

const ABILITIES: Abilities = Abilities { times: Times::Seconds, conditions: false };
const MIB: usize = 1 << 20;

#[test]
fn openssh_conforms() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    suite::run(ABILITIES, || Fixture {
        storage: opened(&server, "sftptest:s3cret", &host_key(&server)),
        keep: Box::new(()),
    });
}

#[test]
fn a_server_without_extensions_conforms() {
    let Some(server) = Server::start(Kind::RcloneSftp) else { return };
    suite::run(ABILITIES, || Fixture {
        storage: open(
            &format!("sftp://sftptest:s3cret@{}/{}/app", server.host, Server::fresh_name()),
            &[],
            &Environment::default(),
        ),
        keep: Box::new(()),
    });
}

#[test]
fn all_ways_to_log_in_lead_in() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let (host_key, key) = (host_key(&server), path(&server, "userkey"));
    let with_host_key = |options: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let options = options.iter().map(|(name, value)| (*name, (*value).to_owned()));
        options.chain(host_key.clone()).collect()
    };
    let key_path = key.to_str().expect("a path");
    let login = |options: &[(&'static str, &str)]| {
        try_out(&*opened(&server, "sftptest", &with_host_key(options)))
    };

    login(&[("password", "s3cret")]).expect("a password");
    login(&[("key-path", key_path)]).expect("a key");
    let both = [("key-path", "/nowhere/key"), ("password", "s3cret")];
    assert!(login(&both).expect_err("no key there").is_not_found());

    let locked = copy_of_key(&key, "locked");
    keygen(&["-q", "-p", "-P", "", "-N", "open sesame", "-f", locked.to_str().expect("a path")]);
    let locked = locked.to_str().expect("a path");
    login(&[("key-path", locked), ("key-passphrase", "open sesame")]).expect("a locked key");
    let error = login(&[("key-path", locked)]).expect_err("no passphrase");
    assert!(error.to_string().contains("set key-passphrase"), "{error}");
    let wrong = [("key-path", locked), ("key-passphrase", "open barley")];
    let error = login(&wrong).expect_err("a wrong passphrase");
    assert!(matches!(&error, Error::Denied { .. }), "{error:?}");
    assert!(!error.to_string().contains("barley"), "{error}");

    for kind in ["ed25519", "ecdsa", "rsa"] {
        let name = format!("stranger-{kind}");
        let stranger = path(&server, &name);
        let stranger = stranger.to_str().expect("a path");
        keygen(&["-q", "-t", kind, "-N", "", "-f", stranger]);
        let error = login(&[("key-path", stranger)]).expect_err("a key that nobody knows");
        assert!(error.to_string().contains("tried a key; it takes publickey"), "{error}");
        let authority = path(&server, "ca");
        let authority = authority.to_str().expect("a path");
        let public = format!("{stranger}.pub");
        keygen(&["-q", "-s", authority, "-I", "a test", "-n", "sftptest", &public]);
        login(&[("key-path", stranger)]).expect("a certificate");
    }
}

#[test]
fn an_agent_leads_in() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let agent = Agent::start(&path(&server, "agent.sock"));
    let environment = Environment {
        variables: [("SSH_AUTH_SOCK".to_owned(), agent.socket.display().to_string())].into(),
        home: None,
    };
    let url = url(&server, "sftptest");
    let storage = || open(&url, &host_key(&server), &environment);
    let error = try_out(&*storage()).expect_err("an agent without keys");
    assert!(error.to_string().contains("keys of an ssh-agent (none can be used)"), "{error}");
    let stranger = path(&server, "stranger");
    keygen(&["-q", "-t", "rsa", "-N", "", "-f", stranger.to_str().expect("a path")]);
    agent.add(&stranger);
    agent.add(&path(&server, "userkey"));
    try_out(&*storage()).expect("the second key of an agent");
}

#[test]
fn a_login_that_fails_says_what_was_tried() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let error = try_out(&*opened(&server, "sftptest:hush", &host_key(&server)));
    let error = error.expect_err("a wrong password");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("refuses to log sftptest in; tried a password"), "{text}");
    assert!(text.contains("it takes publickey, password"), "{text}");
    assert!(!text.contains("hush") && !format!("{error:?}").contains("hush"), "{text}");
    let error = try_out(&*opened(&server, "sftptest", &host_key(&server)));
    let error = error.expect_err("nothing to log in with");
    assert!(error.to_string().contains("set password or key-path"), "{error}");
}

#[test]
fn a_password_may_hold_any_character() {
    const PASSWORD: &str = "p@ss:/%#?& w\u{f6}rd";
    let Some(server) = Server::start_with(Kind::RcloneSftp, &[("SFTP_PASS", PASSWORD)]) else {
        return;
    };
    let environment = Environment::default();
    let encoded = "p%40ss%3A%2F%25%23%3F%26%20w%C3%B6rd";
    let in_url = format!("sftp://sftptest:{encoded}@{}/a", server.host);
    let storage = open(&in_url, &[], &environment);
    try_out(&*storage).expect("encoded in the URL");
    assert!(!format!("{storage:?}").contains("ss:/"), "{storage:?}");
    let without = format!("sftp://sftptest@{}/b", server.host);
    let option = [("password", PASSWORD.to_owned())];
    try_out(&*open(&without, &option, &environment)).expect("plain in the option");
}

#[test]
fn questions_are_answered_with_the_password() {
    let host = asking::serve("s3cret");
    let environment = Environment::default();
    let try_with = |password: &str| {
        let storage = open(&format!("sftp://me:{password}@{host}/a"), &[], &environment);
        try_out(&*storage).expect_err("the server knows logins, but no SFTP").to_string()
    };
    let text = try_with("s3cret");
    assert!(text.contains("the server gives no SFTP"), "{text}");
    let text = try_with("wrong");
    assert!(text.contains("a password when asked (keyboard-interactive)"), "{text}");
}

#[test]
fn a_changed_host_key_is_refused_and_an_unknown_one_if_so_wished() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let other = std::fs::read_to_string(path(&server, "userkey.pub")).expect("a key");
    let own = host_key(&server).remove(0).1;
    let shown = |options: &[(&'static str, String)], environment: &Environment| {
        let storage = open(&url(&server, "sftptest:s3cret"), options, environment);
        try_out(&*storage).map_err(|error| match error {
            Error::Denied { reason, .. } => reason,
            other => panic!("{other:?}"),
        })
    };
    let nobody = Environment::default();

    let reason = shown(&[("host-key", other.clone())], &nobody).expect_err("another key");
    for part in [fingerprint(&server, "hostkey.pub"), fingerprint(&server, "userkey.pub")] {
        assert!(reason.contains(&part), "{reason}");
    }

    shown(&[], &nobody).expect("an unknown server, with a warning");
    let strict = [("strict-host-key", "true".to_owned())];
    let reason = shown(&strict, &nobody).expect_err("an unknown server");
    let key = own.rsplit_once(' ').expect("a comment").0;
    assert!(reason.contains("not known") && reason.contains(key), "{reason}");

    let (host, port) = server.host.split_once(':').expect("a port");
    let home = tempfile::tempdir().expect("a home");
    std::fs::create_dir(home.path().join(".ssh")).expect("~/.ssh");
    let known_hosts = home.path().join(".ssh/known_hosts");
    let at_home = Environment { home: Some(home.path().to_owned()), ..Environment::default() };
    let is_told = |line: String| std::fs::write(&known_hosts, line).expect("write known_hosts");
    is_told(format!("[{host}]:{port} {own}"));
    shown(&strict, &at_home).expect("a server that the user knows");
    is_told(format!("[{host}]:{port} {other}"));
    let reason = shown(&[], &at_home).expect_err("a changed key");
    assert!(reason.contains("known_hosts:1"), "{reason}");

    let elsewhere = home.path().join("hosts");
    std::fs::write(&elsewhere, format!("* {own}")).expect("write it");
    let option = |path: &Path| ("known-hosts", path.display().to_string());
    shown(&[option(&elsewhere), strict[0].clone()], &at_home).expect("another file");
    let missing =
        open(&url(&server, "sftptest:s3cret"), &[option(&home.path().join("none"))], &at_home);
    assert!(try_out(&*missing).expect_err("a file that is not there").is_not_found());
}

#[test]
fn a_relative_path_begins_where_a_login_does() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let mut options = host_key(&server);
    options.push(("path", "backup/app".to_owned()));
    let url = format!("sftp://sftptest:s3cret@{}", server.host);
    try_out(&*open(&url, &options, &Environment::default())).expect("put");
    assert!(path(&server, "data/backup/app/ltx/0").is_dir());
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let url = format!("sftp://me:x@{}/a", port.expect("its address"));
    let error = try_out(&*open(&url, &[], &Environment::default())).expect_err("nobody listens");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn what_a_user_may_not_do_is_denied() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let url = format!("sftp://sftptest:s3cret@{}/etc/backup", server.host);
    let error = try_out(&*open(&url, &host_key(&server), &Environment::default()));
    let error = error.expect_err("not in root's home");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[test]
fn a_read_goes_on_when_the_server_comes_back() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let storage = opened(&server, "sftptest:s3cret", &host_key(&server));
    let bytes = noise(24 * MIB);
    put(&*storage, 1, &bytes).expect("put");
    let mut reader = storage.open(Level::L0, txids(1), 0).expect("open");
    let mut read = vec![0; MIB];
    reader.read_exact(&mut read).expect("the beginning");
    server.kill();
    server.restart();
    reader.read_to_end(&mut read).expect("the rest");
    assert!(read == bytes);
}

#[test]
fn a_killed_server_leaves_nothing_half_and_the_next_upload_cleans_up() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let storage = opened(&server, "sftptest:s3cret", &host_key(&server));
    let bytes = noise(24 * MIB);
    put(&*storage, 1, b"the first version").expect("put");
    let mut upload =
        storage.create(Level::L0, txids(1), Timestamp::from_millis(0)).expect("create");
    upload.write_all(&bytes[..16 * MIB]).expect("most of it");
    server.kill();
    let rest = upload.write_all(&bytes[16 * MIB..]);
    let committed = rest
        .map_err(|error| Error::from_io("the rest", error))
        .and_then(|()| upload.commit().map(|_| ()));
    let error = committed.expect_err("the server is gone");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    server.restart();
    let listed = storage.list(Level::L0, Txid::FIRST).expect("list");
    assert_eq!(listed.iter().map(|it| it.size).collect::<Vec<_>>(), [17]);
    put(&*storage, 1, &bytes).expect("put again");
    let mut read = Vec::new();
    storage.open(Level::L0, txids(1), 0).expect("open").read_to_end(&mut read).expect("read");
    assert!(read == bytes);
    let names = files(&server);
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn an_upload_that_is_given_up_leaves_no_file() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let storage = opened(&server, "sftptest:s3cret", &host_key(&server));
    let mut upload =
        storage.create(Level::L0, txids(1), Timestamp::from_millis(0)).expect("create");
    upload.write_all(&noise(12 * MIB)).expect("write");
    assert!(files(&server).iter().any(|it| it.ends_with(".tmp")), "it is there meanwhile");
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
    drop(upload);
    assert_eq!(files(&server), Vec::<String>::new());
}

#[test]
fn files_that_crashed_uploads_left_are_removed_after_a_day() {
    let Some(server) = Server::start(Kind::Sftp) else { return };
    let storage = opened(&server, "sftptest:s3cret", &host_key(&server));
    put(&*storage, 1, b"x").expect("put");
    let directory = std::fs::read_dir(path(&server, "data")).expect("list").next();
    let directory = directory.expect("a replica").expect("its name").path().join("app/ltx/0");
    let leave = |name: &str, age: u64| {
        let file = std::fs::File::create(directory.join(name)).expect("create");
        let hour = std::time::Duration::from_secs(3600);
        let written = std::time::SystemTime::now() - hour * u32::try_from(age).expect("hours");
        file.set_modified(written).expect("set its age");
    };
    leave("0000000000000002-0000000000000002.ltx.0123.tmp", 25);
    leave("0000000000000003-0000000000000003.ltx.0123.tmp", 23);
    leave("mine.tmp", 25);
    let name = directory.ancestors().nth(3).expect("a replica").file_name().expect("its name");
    let again = format!(
        "sftp://sftptest:s3cret@{}{}/{}/app",
        server.host,
        path(&server, "data").display(),
        name.display()
    );
    put(&*open(&again, &host_key(&server), &Environment::default()), 4, b"x").expect("put");
    let mut left = files(&server);
    left.retain(|it| it.ends_with(".tmp"));
    assert_eq!(left, ["0000000000000003-0000000000000003.ltx.0123.tmp", "mine.tmp"]);
}

/// A replica of its own by password, key or agent, as `login` and the options say.
fn opened(server: &Server, login: &str, options: &[(&'static str, String)]) -> Arc<dyn Storage> {
    open(&url(server, login), options, &Environment::default())
}

fn open(
    url: &str,
    options: &[(&'static str, String)],
    environment: &Environment,
) -> Arc<dyn Storage> {
    let url: Url = url.parse().expect("a URL");
    let options: Options = options.iter().cloned().collect();
    url.storage(&options, environment).expect("a storage")
}

fn url(server: &Server, login: &str) -> String {
    let (data, name) = (path(server, "data"), Server::fresh_name());
    format!("sftp://{login}@{}{}/{name}/app", server.host, data.display())
}

fn path(server: &Server, name: &str) -> PathBuf {
    server.directory().join("sftp").join(name)
}

fn host_key(server: &Server) -> Vec<(&'static str, String)> {
    let line = std::fs::read_to_string(path(server, "hostkey.pub")).expect("the host key");
    vec![("host-key", line.trim().to_owned())]
}

fn fingerprint(server: &Server, name: &str) -> String {
    let shown = Command::new("ssh-keygen").arg("-lf").arg(path(server, name)).output();
    let shown = String::from_utf8(shown.expect("run ssh-keygen").stdout).expect("text");
    shown.split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// Stores, lists, reads and removes an object.
fn try_out(storage: &dyn Storage) -> storage::Result<()> {
    put(storage, 7, b"hello")?;
    assert_eq!(storage.list(Level::L0, Txid::FIRST)?.len(), 1);
    let mut read = [0; 5];
    storage.read_at(Level::L0, txids(7), 0, &mut read)?;
    assert_eq!(&read, b"hello");
    storage.delete(&[(Level::L0, txids(7))])
}

fn put(storage: &dyn Storage, number: u64, bytes: &[u8]) -> storage::Result<()> {
    let mut upload = storage.create(Level::L0, txids(number), Timestamp::from_millis(0))?;
    upload.write_all(bytes).map_err(|error| Error::from_io("an upload", error))?;
    upload.commit().map(|_| ())
}

fn txids(number: u64) -> TxidRange {
    let txid = Txid::new(number).expect("a TXID is at least 1");
    TxidRange { min: txid, max: txid }
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|it| (it / 11 + it % 239) as u8).collect()
}

/// The names of all files that the server holds.
fn files(server: &Server) -> Vec<String> {
    let (mut names, mut left) = (Vec::new(), vec![path(server, "data")]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).expect("list") {
            let entry = entry.expect("an entry");
            match entry.path().is_dir() {
                true => left.push(entry.path()),
                false => names.push(entry.file_name().display().to_string()),
            }
        }
    }
    names.sort_unstable();
    names
}

fn keygen(arguments: &[&str]) {
    let made = Command::new("ssh-keygen").args(arguments).status().expect("run ssh-keygen");
    assert!(made.success(), "ssh-keygen {arguments:?}");
}

fn copy_of_key(key: &Path, name: &str) -> PathBuf {
    let copy = key.with_file_name(name);
    std::fs::copy(key, &copy).expect("copy the key");
    copy
}

/// An agent that runs until it is dropped.
struct Agent {
    process: std::process::Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: &Path) -> Agent {
        let mut command = Command::new("ssh-agent");
        let command = command.args(["-D", "-a"]).arg(socket).stdout(Stdio::null());
        let process = command.spawn().expect("run ssh-agent");
        let patience = std::time::Duration::from_secs(10);
        testkit::wait::until("the agent", patience, || socket.exists().then_some(()));
        Agent { process, socket: socket.to_owned() }
    }

    fn add(&self, key: &Path) {
        let mut command = Command::new("ssh-add");
        let added = command.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(added.expect("run ssh-add").success(), "{}", key.display());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
