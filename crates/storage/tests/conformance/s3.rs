//! S3 against servers that speak it.

use std::sync::{Arc, Mutex};

use ltx::{Level, Txid};
use storage::{Condition, Environment, Error, Options, Storage, Url};
use testkit::Scratch;
use testkit::server::{Kind, Server};
use testkit::stub::{Reply, Request, Stub};

use crate::cloud::open_in;
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
    let error = missing.list(Level::L0, Txid::FIRST).expect_err("no bucket");
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

/// Strict on regions and checksums; it takes conditions and writes all the same. It is there where
/// somebody built it: `WITH_GARAGE=1 tools/servers.sh install`.
#[test]
fn garage_conforms() {
    let Some(server) = Server::start(Kind::Garage) else { return };
    let secret = "0123456789abcdef".repeat(4);
    let keys = [("access-key-id", "GK0123456789abcdef01234567"), ("secret-access-key", &secret)];
    suite::run(Abilities { times: Times::Arrival, conditions: false }, || Fixture {
        storage: open(
            &format!(
                "s3://bkt1/{}/app?endpoint=http://{}&region=garage",
                Server::fresh_name(),
                server.host
            ),
            &keys,
        ),
        keep: Box::new(()),
    });
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

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const OUR_CIPHER: &str = "x-amz-server-side-encryption-customer-algorithm";
const OUR_KEY: &str = "x-amz-server-side-encryption-customer-key";
const OUR_KEY_SUM: &str = "x-amz-server-side-encryption-customer-key-md5";
const CLASS: &str = "x-amz-storage-class";

/// Runs all checks through a stub that refuses requests whose headers are not those that they have
/// to carry: `on_create` where an object begins, `on_access` wherever its bytes go to or come from.
fn carries(
    kind: Kind,
    options: &[(&str, &str)],
    on_create: &[(&'static str, &'static str)],
    on_access: &[(&'static str, &'static str)],
) {
    let Some(server) = Server::start(kind) else { return };
    server.create_bucket("bkt1");
    let (create, access) = (on_create.to_vec(), on_access.to_vec());
    let stub = Stub::start(Some(&server.host), move |request| {
        let is_part = request.target.contains("partNumber=");
        let begins = request.method == "PUT" && !is_part || request.target.contains("uploads=");
        let reads = request.method == "GET" && !request.target.contains("list-type=");
        let all = create.iter().map(|it| (it, begins));
        let all = all.chain(access.iter().map(|it| (it, begins || is_part || reads)));
        let mut wrong =
            all.filter(|((name, value), due)| request.header(name) != due.then_some(*value));
        match wrong.next() {
            Some(((name, _), due)) => {
                eprintln!("{} {}: {name} {due}", request.method, request.target);
                Reply::refusal(400, "InvalidRequest")
            }
            None => Reply::Pass,
        }
    });
    let keys = [("access-key-id", "testkey"), ("secret-access-key", "testsecret")];
    suite::run(Abilities { times: Times::Arrival, conditions: true }, || Fixture {
        storage: open(
            &format!("s3://bkt1/{}/app?endpoint=http://{}", Server::fresh_name(), stub.host),
            &[&keys, options].concat(),
        ),
        keep: Box::new(()),
    });
}

#[test]
fn objects_are_encrypted_and_classed_as_asked_for() {
    carries(
        Kind::Moto,
        &[("sse", "aws:kms"), ("sse-kms-key-id", "alias/backup"), ("storage-class", "STANDARD_IA")],
        &[(ENCRYPTION, "aws:kms"), (KMS_KEY, "alias/backup"), (CLASS, "STANDARD_IA")],
        &[],
    );
}

#[test]
fn a_server_that_encrypts_with_its_own_keys_is_told_so() {
    carries(Kind::Seaweed, &[("sse", "AES256")], &[(ENCRYPTION, "AES256")], &[]);
}

/// The key of 32 bytes `k`, and its MD5.
const KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
const KEY_SUM: &str = "mT2HRsMGJ5IX5C+0rreZ8Q==";

#[test]
fn a_key_of_our_own_goes_with_all_bytes() {
    carries(
        Kind::Seaweed,
        &[("sse-customer-key", KEY)],
        &[],
        &[(OUR_CIPHER, "AES256"), (OUR_KEY, KEY), (OUR_KEY_SUM, KEY_SUM)],
    );
}

/// What a server encrypted with a key of ours is nothing without it.
#[test]
fn without_the_key_nothing_is_read() {
    let Some(server) = Server::start(Kind::Seaweed) else { return };
    server.create_bucket("bkt1");
    let url = format!("s3://bkt1/{}/app?endpoint=http://{}", Server::fresh_name(), server.host);
    let keys = [("access-key-id", "testkey"), ("secret-access-key", "testsecret")];
    let with = open(&url, &[&keys[..], &[("sse-customer-key", KEY)]].concat());
    with.put_if("note", b"secret", &Condition::Absent).expect("put");
    assert_eq!(with.get_versioned("note").expect("read").0, b"secret");
    let read = open(&url, &keys).get_versioned("note");
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn a_key_of_our_own_is_refused_where_it_would_be_lost_or_seen() {
    let refused = |url: &str, options: &[(&str, &str)]| {
        let keys = [("access-key-id", "k"), ("secret-access-key", "s")];
        let url: Url = url.parse().expect("a URL");
        let options: Options = [&keys, options].concat().into_iter().collect();
        url.storage(&options, &Environment::default()).expect_err("refused").to_string()
    };
    let near = "s3://b/p?endpoint=http://localhost:1&region=r";
    let said = refused(near, &[("sse-customer-key", "c2hvcnQ=")]);
    assert!(said.contains("32 bytes in Base64 are wanted"), "{said}");
    let said = refused(near, &[("sse-customer-key", KEY), ("sse", "AES256")]);
    assert!(said.contains("not with both"), "{said}");
    let far = "s3://b/p?endpoint=http://s3.example&region=r";
    let said = refused(far, &[("sse-customer-key", KEY)]);
    assert!(said.contains("https alone") && !said.contains(KEY), "{said}");
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

/// A profile that stands for a role is signed in as that role.
#[test]
fn a_profile_may_stand_for_a_role() {
    let Some(server) = Server::start(Kind::Moto) else { return };
    server.create_bucket("bkt1");
    let signed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&signed);
    let stub = Stub::start(Some(&server.host), move |request| {
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let mut seen = seen.lock().expect("no panic");
        seen.push((
            header("authorization"),
            header("x-amz-security-token"),
            request.target.clone(),
        ));
        Reply::Pass
    });
    let folder = Scratch::new("roles");
    let files = [
        (
            "config",
            "[profile backup]\nrole_arn = arn:aws:iam::123456789012:role/backup\nsource_profile = base\n",
        ),
        (
            "credentials",
            "[base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret\n",
        ),
    ];
    for (name, text) in files {
        std::fs::write(folder.path(name), text).expect("write");
    }
    let path = |name| folder.path(name).display().to_string();
    let (config, credentials, sts) =
        (path("config"), path("credentials"), format!("http://{}", stub.host));
    let variables = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    let url = format!("s3://bkt1/role/app?endpoint=http://{}&region=us-east-1", stub.host);
    let storage = open_in(&variables, &url, &[("profile", "backup")]);
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), []);
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list again"), []);
    let signed = signed.lock().expect("no panic");
    let (asking, listing): (Vec<_>, Vec<_>) =
        signed.iter().partition(|(_, _, target)| target.contains("AssumeRole"));
    assert_eq!(asking.len(), 1, "the keys are kept while they are good: {signed:?}");
    assert!(asking[0].0.contains("Credential=AKIAIOSFODNN7EXAMPLE/"), "{asking:?}");
    for (authorization, token, _) in listing {
        assert!(authorization.contains("Credential=ASIA") && !token.is_empty(), "{signed:?}");
    }
}
