//! NATS against its own server.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, object_store};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ltx::{Level, Timestamp, Txid, TxidRange};
use nkeys::KeyPair;
use serde_json::{Value, json};
use storage::{Condition, Error, Storage};
use testkit::server::{Kind, Server};

use crate::open;
use crate::proxy::Proxy;
use crate::suite::{self, Abilities, Fixture, Times};

fn password() -> ConnectOptions {
    ConnectOptions::new().user_and_password("natsuser".into(), "natspass".into())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Makes a bucket, as its owner would.
fn create_bucket(host: &str, options: ConnectOptions) -> String {
    let bucket = Server::fresh_name();
    let config = object_store::Config { bucket: bucket.clone(), ..object_store::Config::default() };
    wait(async {
        let client = options.connect(host).await.expect("connect");
        jetstream::new(client).create_object_store(config).await.expect("a bucket");
    });
    bucket
}

/// How many messages the stream of a bucket holds.
fn messages(host: &str, bucket: &str) -> u64 {
    wait(async {
        let client = password().connect(host).await.expect("connect");
        let stream = jetstream::new(client).get_stream(format!("OBJ_{bucket}")).await;
        stream.expect("its stream").cached_info().state.messages
    })
}

fn replica(host: &str, bucket_and_path: &str) -> Arc<dyn Storage> {
    open(&format!("nats://natsuser:natspass@{host}/{bucket_and_path}"), &[])
}

fn first() -> TxidRange {
    TxidRange { min: Txid::FIRST, max: Txid::FIRST }
}

fn put(storage: &dyn Storage, level: Level, bytes: &[u8]) -> storage::Result<()> {
    let mut upload = storage.create(level, first(), Timestamp::from_millis(5))?;
    upload.write_all(bytes).map_err(|error| Error::from_io("upload", error))?;
    upload.commit().map(|_| ())
}

fn read(storage: &dyn Storage, level: Level) -> Vec<u8> {
    let mut bytes = Vec::new();
    storage.open(level, first(), 0).expect("open").read_to_end(&mut bytes).expect("read");
    bytes
}

#[test]
fn nats_conforms() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    let abilities = Abilities { times: Times::Millis, conditions: true };
    suite::run(abilities, || Fixture {
        storage: replica(&server.host, &create_bucket(&server.host, password())),
        keep: Box::new(()),
    });
    let shared = create_bucket(&server.host, password());
    suite::run(abilities, || Fixture {
        storage: replica(&server.host, &format!("{shared}/{}/app", Server::fresh_name())),
        keep: Box::new(()),
    });
    let list = |url: &str| open(url, &[]).list(Level::L0, Txid::FIRST).expect_err("no list");
    let missing = list(&format!("nats://natsuser:natspass@{}/none", server.host));
    assert!(matches!(missing, Error::NoBucket { .. }), "{missing:?}");
    for login in ["", "natsuser:wrong@"] {
        let denied = list(&format!("nats://{login}{}/none", server.host));
        assert!(matches!(denied, Error::Denied { .. }), "{denied:?}");
        assert!(!denied.to_string().contains("wrong"), "{denied}");
    }
}

#[test]
fn nats_keeps_nothing_of_what_is_replaced_deleted_or_given_up() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    let bucket = create_bucket(&server.host, password());
    let storage = replica(&server.host, &bucket);
    let large: Vec<u8> = (0..9_000_000_u32).map(|it| (it % 251) as u8).collect();
    put(&*storage, Level::SNAPSHOT, &large).expect("put");
    let of_one = messages(&server.host, &bucket);
    put(&*storage, Level::SNAPSHOT, &large).expect("put again");
    assert_eq!(messages(&server.host, &bucket), of_one, "the first is gone");
    let mut upload = storage.create(Level::L0, first(), Timestamp::from_millis(5)).expect("create");
    upload.write_all(&large).expect("write");
    assert!(messages(&server.host, &bucket) > of_one, "it is on its way");
    drop(upload);
    assert_eq!(messages(&server.host, &bucket), of_one);
    storage.delete(&[(Level::SNAPSHOT, first())]).expect("delete");
    assert_eq!(messages(&server.host, &bucket), 0);
}

#[test]
fn nats_objects_are_those_of_other_clients() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    let bucket = create_bucket(&server.host, password());
    let storage = replica(&server.host, &bucket);
    let name = |level: Level| format!("ltx/{level}/{}", first().file_name());
    let bytes: Vec<u8> = (0..700_000_u32).map(|it| (it % 241) as u8).collect();
    put(&*storage, Level::L0, &bytes).expect("put");
    wait(async {
        let client = password().connect(&server.host).await.expect("connect");
        let store = jetstream::new(client).get_object_store(&bucket).await.expect("the bucket");
        let mut theirs = store.get(name(Level::L0)).await.expect("the object");
        let mut read = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut read).await.expect("read");
        assert!(read == bytes, "and its digest is right");
        store.put(name(Level::SNAPSHOT).as_str(), &mut bytes.as_slice()).await.expect("put");
        store.put("gone", &mut bytes.as_slice()).await.expect("put");
        store.delete("gone").await.expect("delete");
    });
    assert!(read(&*storage, Level::SNAPSHOT) == bytes);
    let mut part = [0; 100];
    storage.read_at(Level::SNAPSHOT, first(), 400_000, &mut part).expect("a range");
    assert_eq!(part, bytes[400_000..400_100]);
    assert_eq!(storage.keys("gone").expect("keys"), []);
    storage.put_if("gone", b"new", &Condition::Absent).expect("it is not there");
}

#[test]
fn a_path_does_not_hide_a_replica_at_the_root_of_the_bucket() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    let bucket = create_bucket(&server.host, password());
    put(&*replica(&server.host, &bucket), Level::L0, b"as Litestream keeps it").expect("put");
    let below = replica(&server.host, &format!("{bucket}/app"));
    let error = below.list(Level::L0, Txid::FIRST).expect_err("it is refused");
    assert!(error.to_string().contains("leave out the path"), "{error}");
}

#[test]
fn a_lost_connection_to_nats_is_taken_up_again() {
    let Some(server) = Server::start(Kind::Nats) else { return };
    let bucket = create_bucket(&server.host, password());
    let proxy = Proxy::to(&server.host);
    let storage = replica(&proxy.host, &bucket);
    put(&*storage, Level::L0, b"before").expect("put");
    proxy.cut();
    put(&*storage, Level::SNAPSHOT, b"after").expect("put after the cut");
    assert_eq!(read(&*storage, Level::SNAPSHOT), b"after");

    let large = vec![9; 9_000_000];
    let levels: Vec<Level> = Level::all().collect();
    proxy.cut_after(6_000_000);
    let cut = put(&*storage, levels[1], &large).expect_err("it is cut in the middle");
    assert!(matches!(cut, Error::Unreachable { .. }), "{cut:?}");
    assert_eq!(storage.list(levels[1], Txid::FIRST).expect("list"), [], "it does not show");
    put(&*storage, levels[1], &large).expect("put");
    assert!(read(&*storage, levels[1]) == large);

    proxy.cut_after(100);
    put(&*storage, levels[2], &vec![8; 1_000_000]).expect("a small one is sent again");
    assert!(read(&*storage, levels[2]) == vec![8; 1_000_000]);
}

#[test]
fn nats_lets_us_in_by_token_and_by_key() {
    let user = KeyPair::new_user();
    let seed = user.seed().expect("a seed");
    let by_key = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    let by_token = "authorization { token: hush }".to_owned();
    let by_token = (&*by_token, ConnectOptions::with_token("hush".into()), ("token", "hush"));
    let by_key = (&*by_key, ConnectOptions::with_nkey(seed.clone()), ("nkey", &*seed));
    for (access, owner, option) in [by_token, by_key] {
        let variables = [("NATS_ACCESS", access)];
        let Some(server) = Server::start_with(Kind::Nats, &variables) else { return };
        let bucket = create_bucket(&server.host, owner);
        let url = format!("nats://{}/{bucket}", server.host);
        let storage = open(&url, &[option]);
        put(&*storage, Level::L0, b"x").expect(access);
        assert_eq!(read(&*storage, Level::L0), b"x");
        let denied = open(&url, &[("token", "wrong")]).list(Level::L0, Txid::FIRST);
        assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    }
}

/// What an operator signs; the names are those of NATS.
fn token(issuer: &KeyPair, subject: &KeyPair, mut nats: Value) -> String {
    nats["version"] = json!(2);
    let claims = json!({
        "jti": "of a test", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    });
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = issuer.sign(text.as_bytes()).expect("sign");
    format!("{text}.{}", encode(&signature))
}

#[test]
fn nats_lets_us_in_by_credentials() {
    let (operator, account, user) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_operator = token(&operator, &operator, json!({ "type": "operator" }));
    let of_account = token(&operator, &account, json!({ "type": "account", "limits": limits }));
    let unlimited = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
    let jwt = token(&account, &user, unlimited);
    // Without one by name the server now and then begins before it has made one, and ends.
    let system = KeyPair::new_account();
    let of_system = token(&operator, &system, json!({ "type": "account" }));
    let access = format!(
        "operator: {of_operator}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {}: {of_account}, {system}: {of_system} }}",
        account.public_key(),
        system = system.public_key(),
    );
    let Some(server) = Server::start_with(Kind::Nats, &[("NATS_ACCESS", &access)]) else { return };
    let seed = user.seed().expect("a seed");
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let owner = ConnectOptions::with_credentials(&creds).expect("credentials");
    let url = format!("nats://{}/{}", server.host, create_bucket(&server.host, owner));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(creds.as_bytes()).expect("write");
    let path = file.path().display().to_string();
    let storage = open(&url, &[("creds", &path)]);
    put(&*storage, Level::L0, b"x").expect("by a file");
    let storage = open(&url, &[("jwt", &jwt), ("seed", &seed)]);
    assert_eq!(read(&*storage, Level::L0), b"x");
    let other = KeyPair::new_user().seed().expect("a seed");
    let denied = open(&url, &[("jwt", &jwt), ("seed", &other)]).list(Level::L0, Txid::FIRST);
    let denied = denied.expect_err("the seed of another");
    assert!(matches!(denied, Error::Denied { .. }), "{denied:?}");
    assert!(!denied.to_string().contains(&other));
}

/// Runs `openssl` in a directory.
fn openssl(directory: &std::path::Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("run openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nats_wants_tls_and_to_know_us() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30";
    openssl(directory.path(), &format!("req -x509 {key} -subj /CN=ca -keyout ca.key -out ca.pem"));
    for name in ["server", "client"] {
        openssl(
            directory.path(),
            &format!(
                "req -x509 {key} -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 \
                 -addext basicConstraints=CA:FALSE -CA ca.pem -CAkey ca.key \
                 -keyout {name}.key -out {name}.pem"
            ),
        );
    }
    let access = format!(
        "authorization {{ user: natsuser, password: natspass }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let Some(server) = Server::start_with(Kind::Nats, &[("NATS_ACCESS", &access)]) else { return };
    let (authority, certificate, key) = (at("ca.pem"), at("client.pem"), at("client.key"));
    let all = [("root-cas", &*authority), ("client-cert", &*certificate), ("client-key", &*key)];
    let url = |bucket: &str| format!("nats://natsuser:natspass@{}/{bucket}", server.host);
    let missing = open(&url("none"), &all).list(Level::L0, Txid::FIRST);
    assert!(matches!(missing, Err(Error::NoBucket { .. })), "{missing:?}");
    for (what, options) in [("who they are", &all[1..]), ("who we are", &all[..1])] {
        let unknown = open(&url("none"), options).list(Level::L0, Txid::FIRST);
        assert!(matches!(unknown, Err(Error::Unreachable { .. })), "{what}: {unknown:?}");
    }
}
