//! S3 against servers that speak it.

use std::sync::Arc;

use storage::{Error, Storage};
use testkit::server::{Kind, Server};
use testkit::stub::{Reply, Request, Stub};

use crate::open;
use crate::suite::{self, Abilities, Fixture, Times};

/// A replica of its own in the bucket, by the keys that `tools/servers.sh` gives all servers.
fn replica(host: &str, bucket: &str, more: &str) -> Arc<dyn Storage> {
    let name = Server::fresh_name();
    let url = format!("s3://{bucket}/{name}/app?endpoint=http://{host}{more}");
    open(&url, &[("access-key-id", "testkey"), ("secret-access-key", "testsecret")])
}

fn conforms(kind: Kind, conditions: bool) {
    let Some(server) = Server::start(kind) else { return };
    server.create_bucket("bkt1");
    suite::run(Abilities { times: Times::Arrival, conditions }, || Fixture {
        storage: replica(&server.host, "bkt1", ""),
        keep: Box::new(()),
    });
    let missing = replica(&server.host, "no-such-bucket", "");
    let error = missing.list(ltx::Level::L0, ltx::Txid::FIRST).expect_err("no bucket");
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
}

#[test]
fn seaweedfs_conforms() {
    conforms(Kind::Seaweed, true);
}

#[test]
fn moto_conforms() {
    conforms(Kind::Moto, true);
}

#[test]
fn a_server_that_ignores_conditions_is_found_out() {
    conforms(Kind::RcloneS3, false);
}

/// Providers refuse headers that they do not know, and Amazon's newer ways to send a body.
#[test]
fn a30_a_strict_server_takes_all_requests() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let stub = Stub::start(Some(&server.host), |request| match strange(request) {
        Some(strange) => {
            eprintln!("{} {}: {strange}", request.method, request.target);
            Reply::refusal(400, "NotImplemented")
        }
        None => Reply::Pass,
    });
    suite::run(Abilities { times: Times::Arrival, conditions: true }, || Fixture {
        storage: replica(&stub.host, "bkt1", ""),
        keep: Box::new(()),
    });
}

/// What a strict server does not like about a request.
fn strange(request: &Request) -> Option<String> {
    const KNOWN: [&str; 13] = [
        "host",
        "user-agent",
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "content-md5",
        "range",
        "if-match",
        "if-none-match",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-meta-litestream-timestamp",
    ];
    let is_conditional = request.header("if-match").or(request.header("if-none-match")).is_some();
    let hash = request.header("x-amz-content-sha256").unwrap_or_default();
    let unknown = request.headers.iter().find(|(name, _)| !KNOWN.contains(&name.as_str()));
    match unknown {
        Some((name, value)) => Some(format!("{name}: {value}")),
        None if hash.len() != 64 => Some(format!("the body's hash is {hash:?}")),
        None if is_conditional && request.target.contains(".ltx") => Some("a condition".into()),
        None if matches!(request.method.as_str(), "PUT" | "POST") => {
            let length = request.header("content-length");
            length.is_none().then(|| "no content-length".into())
        }
        None => None,
    }
}
