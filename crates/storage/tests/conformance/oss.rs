//! Alibaba OSS against a stand-in that verifies signatures, since there is no other server of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, Storage};
use testkit::server::{Kind, Server};

use crate::open;
use crate::suite::{self, Abilities, Fixture, Times};

const KEYS: [(&str, &str); 2] = [("access-key-id", "testkey"), ("secret-access-key", "testsecret")];

fn start() -> Option<(Server, PathBuf)> {
    let server = Server::start(Kind::Oss)?;
    let bucket = server.directory().join("oss/bkt1");
    fs::create_dir_all(&bucket).expect("make the bucket");
    Some((server, bucket))
}

fn url(server: &Server, bucket: &str, more: &str) -> String {
    let name = Server::fresh_name();
    format!("oss://{bucket}/{name}/app?endpoint=http://{}&region=cn-test{more}", server.host)
}

fn replica(server: &Server, bucket: &str) -> Arc<dyn Storage> {
    open(&url(server, bucket, ""), &KEYS)
}

#[test]
fn oss_conforms() {
    let Some((server, _)) = start() else { return };
    suite::run(Abilities { times: Times::Arrival, conditions: false }, || Fixture {
        storage: replica(&server, "bkt1"),
        keep: Box::new(()),
    });
    let missing = replica(&server, "no-such-bucket");
    let error = missing.list(Level::L0, Txid::FIRST).expect_err("no bucket");
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
}

#[test]
fn objects_lie_where_litestream_looks_for_them_with_their_time() {
    let Some((server, bucket)) = start() else { return };
    let host = &server.host;
    let storage = open(&format!("oss://bkt1/my/app?endpoint={host}&region=cn-test"), &KEYS);
    let txids = TxidRange { min: Txid::FIRST, max: Txid::FIRST };
    let created = Timestamp::from_millis(1_795_382_171_409);
    let large = vec![7; 11 << 20];
    for (level, body) in [(Level::L0, &b"hello"[..]), (Level::SNAPSHOT, &large)] {
        let mut upload = storage.create(level, txids, created).expect("create");
        std::io::Write::write_all(&mut upload, body).expect("write");
        upload.commit().expect("commit");
        let name = format!("my/app/{:04x}/{}", level.get(), txids.file_name());
        assert_eq!(fs::read(bucket.join(&name)).expect(&name), body);
        let noted = fs::read_to_string(bucket.join(name + ".meta~")).expect("what is noted");
        let expected = r#"{"x-oss-meta-litestream-timestamp": "2026-11-22T21:16:11.409Z"}"#;
        assert_eq!(noted, expected);
    }
}

#[test]
fn wrong_keys_are_denied() {
    let Some((server, _)) = start() else { return };
    for (keys, more) in [
        ([("access-key-id", "testkey"), ("secret-access-key", "wrong")], ""),
        ([("access-key-id", "wrong"), ("secret-access-key", "testsecret")], ""),
    ] {
        let storage = open(&url(&server, "bkt1", more), &keys);
        let error = storage.list(Level::L0, Txid::FIRST).expect_err("no access");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert!(!error.to_string().contains("testsecret"), "{error}");
    }
}
