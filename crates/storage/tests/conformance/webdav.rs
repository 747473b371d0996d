//! `WebDAV` against servers that differ in what matters.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, Storage};
use testkit::server::{Kind, Server};

use crate::open;
use crate::proxy::Proxy;
use crate::suite::{self, Abilities, Fixture, Times};

/// A replica of its own, by the login that `tools/servers.sh` gives all servers.
fn replica(server: &Server, login: &str) -> Arc<dyn Storage> {
    let (host, name) = (&server.host, Server::fresh_name());
    open(&format!("webdav://{login}{host}/my%20backups/{name}"), &[])
}

fn conforms(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    suite::run(Abilities { times: Times::Arrival, conditions: false }, || Fixture {
        storage: replica(&server, "davuser:davpass@"),
        keep: Box::new(()),
    });
    assert_eq!(temporary_files(server.directory()), Vec::<String>::new(), "nothing is left");
    // rclone stores what came so far much later; it does not show, and is swept up in a day.
    if kind != Kind::RcloneDav {
        given_up_uploads_leave_nothing(&server);
    }
    for login in ["", "davuser:wrong@"] {
        let error = replica(&server, login).list(Level::L0, Txid::FIRST).expect_err("refused");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

/// A large upload is on its way to the server when it is given up.
fn given_up_uploads_leave_nothing(server: &Server) {
    let storage = replica(server, "davuser:davpass@");
    let mut upload =
        storage.create(Level::SNAPSHOT, first(), Timestamp::from_millis(0)).expect("create");
    upload.write_all(&vec![7; 9 << 20]).expect("write");
    assert_eq!(temporary_files(server.directory()).len(), 1, "it goes to a name of its own");
    assert_eq!(storage.list(Level::SNAPSHOT, Txid::FIRST).expect("list"), []);
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
    drop(upload);
    testkit::wait::until("the upload to be gone", Duration::from_secs(10), || {
        temporary_files(server.directory()).is_empty().then_some(())
    });
}

fn first() -> TxidRange {
    TxidRange { min: Txid::FIRST, max: Txid::FIRST }
}

/// What a server keeps of uploads that are not done, below its data directory.
fn temporary_files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).expect("read a directory") {
            let path = entry.expect("an entry").path();
            let name = path.display().to_string();
            match path.is_dir() {
                true => left.push(path),
                false if name.ends_with(".tmp") => names.push(name),
                false => {}
            }
        }
    }
    names
}

#[test]
fn apache_conforms() {
    conforms(Kind::ApacheDav);
}

#[test]
fn nginx_conforms() {
    conforms(Kind::NginxDav);
}

#[test]
fn wsgidav_with_basic_conforms() {
    conforms(Kind::WsgiDav);
}

#[test]
fn wsgidav_with_digest_conforms() {
    conforms(Kind::WsgiDavDigest);
}

#[test]
fn rclone_conforms() {
    conforms(Kind::RcloneDav);
}

/// `wsgidav` keeps what a cut connection has brought.
#[test]
fn a_cut_connection_to_a_webdav_server_leaves_no_partial_object() {
    let Some(server) = Server::start(Kind::WsgiDav) else { return };
    let proxy = Proxy::to(&server.host);
    let storage = open(&format!("webdav://davuser:davpass@{}/shop", proxy.host), &[]);
    let put = |size: usize| {
        let mut upload = storage.create(Level::SNAPSHOT, first(), Timestamp::from_millis(0))?;
        let written = upload.write_all(&vec![7; size]);
        written.map_err(|error| Error::from_io("upload", error))?;
        upload.commit()
    };
    proxy.cut_after(6_000_000);
    let cut = put(9 << 20).expect_err("it is cut in the middle");
    assert!(matches!(cut, Error::Unreachable { .. }), "{cut:?}");
    assert_eq!(storage.list(Level::SNAPSHOT, Txid::FIRST).expect("list"), []);
    assert_eq!(put(9 << 20).expect("another try").size, 9 << 20);
    proxy.cut_after(1_000_000);
    assert_eq!(put(3 << 20).expect("a small one is sent again").size, 3 << 20);
    assert_eq!(storage.list(Level::SNAPSHOT, Txid::FIRST).expect("list")[0].size, 3 << 20);
}
