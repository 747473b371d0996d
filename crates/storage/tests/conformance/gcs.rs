//! Google Cloud Storage against `fake-gcs-server`, which asks nobody who they are; its credentials
//! and its sessions against stand-ins.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, Storage};
use testkit::server::{Kind, Server};

use crate::cloud::{Cloud, Grant, TOKENS, open_in, wants};
use crate::stub::{Asked, Said, Stub};
use crate::suite::{self, Abilities, Fixture, Times};

const EMPTY: &str = r#"{"kind": "storage#objects"}"#;
/// Tokens of Google are renewed two minutes before they expire.
const SHORT: u64 = 60;
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// A replica of its own in a bucket.
fn replica(server: &Server, bucket: &str) -> Arc<dyn Storage> {
    let url = format!("gs://{bucket}/{}/app", Server::fresh_name());
    open_in(&[("STORAGE_EMULATOR_HOST", &server.host)], &url, &[])
}

#[test]
fn fake_gcs_conforms() {
    let Some(server) = Server::start(Kind::FakeGcs) else { return };
    suite::run(Abilities { times: Times::Millis, conditions: true }, || Fixture {
        storage: replica(&server, "bkt1"),
        keep: Box::new(()),
    });
    let missing = replica(&server, "no-such-bucket");
    let error = missing.list(Level::L0, Txid::FIRST).expect_err("no bucket");
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
}

/// A replica at a stand-in, by this credentials file.
fn replica_of(cloud: &Cloud, file: &Path, credentials: &serde_json::Value) -> Arc<dyn Storage> {
    std::fs::write(file, credentials.to_string()).expect("write");
    let (file, endpoint) = (file.display().to_string(), format!("http://{}", cloud.host));
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.as_str())];
    open_in(&variables, "gs://box/app", &[("endpoint", &endpoint)])
}

fn granted(Grant { token, lifetime }: Grant) -> String {
    format!(r#"{{"access_token":"{token}","expires_in":{lifetime},"token_type":"Bearer"}}"#)
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run openssl");
    openssl.stdin.take().expect("its input").write_all(input).expect("write");
    let output = openssl.wait_with_output().expect("wait for openssl");
    assert!(output.status.success(), "openssl {arguments:?}: {:?}", output.status);
    output.stdout
}

#[test]
fn a_service_account_signs_for_its_tokens() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| directory.path().join(name);
    let key = openssl(&["genpkey", "-algorithm", "RSA"], b"");
    std::fs::write(at("public"), openssl(&["pkey", "-pubout"], &key)).expect("write");
    let (public, signature) = (at("public"), at("signature"));
    let cloud = Cloud::start(EMPTY, move |asked, grant| {
        let grant_type = asked.field("grant_type");
        let bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        wants("grant_type", grant_type.as_deref(), bearer)?;
        let assertion = asked.field("assertion").unwrap_or_default();
        let (signed, sign) = assertion.rsplit_once('.').ok_or("no token")?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|it| it.to_string());
        std::fs::write(&signature, decode(sign)?).map_err(|it| it.to_string())?;
        let path = |path: &Path| path.display().to_string();
        let (public, signature) = (path(&public), path(&signature));
        openssl(
            &["dgst", "-sha256", "-verify", &public, "-signature", &signature],
            signed.as_bytes(),
        );
        let claims = signed.split_once('.').ok_or("no claims")?.1;
        let claims: serde_json::Value =
            serde_json::from_slice(&decode(claims)?).map_err(|it| it.to_string())?;
        wants("iss", claims["iss"].as_str(), "me@project")?;
        wants("scope", claims["scope"].as_str(), SCOPE)?;
        wants("aud", claims["aud"].as_str(), &format!("http://{}{TOKENS}", asked.host()))?;
        let lasts = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
        wants("exp", lasts.map(|it| it.to_string()).as_deref(), "3600")?;
        Ok(granted(grant))
    });
    let key = String::from_utf8(key).expect("PEM");
    let credentials = serde_json::json!({
        "type": "service_account", "client_email": "me@project", "private_key": key,
        "private_key_id": "1", "token_uri": cloud.token_uri(),
    });
    cloud.renews_tokens(&*replica_of(&cloud, &at("key.json"), &credentials), SHORT);
}

#[test]
fn an_authorized_user_gets_new_tokens_by_an_old_one() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        wants("grant_type", asked.field("grant_type").as_deref(), "refresh_token")?;
        wants("client_id", asked.field("client_id").as_deref(), "id")?;
        wants("client_secret", asked.field("client_secret").as_deref(), "s/e+c=r&t")?;
        wants("refresh_token", asked.field("refresh_token").as_deref(), "hush")
            .map_err(|_| r#"{"error":"invalid_grant","error_description":"revoked"}"#)?;
        Ok(granted(grant))
    });
    let file = directory.path().join("user.json");
    let mut credentials = serde_json::json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "s/e+c=r&t",
        "refresh_token": "wrong-hush", "token_uri": cloud.token_uri(),
    });
    let storage = replica_of(&cloud, &file, &credentials);
    let error = storage.list(Level::L0, Txid::FIRST).expect_err("a revoked token");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("invalid_grant: revoked"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    // The file is replaced, the process stays.
    credentials["refresh_token"] = "hush".into();
    std::fs::write(&file, credentials.to_string()).expect("write");
    cloud.renews_tokens(&*storage, SHORT);
}

#[test]
fn a_machine_of_googles_has_an_account() {
    let metadata = "/computeMetadata/v1/instance/service-accounts/default/token";
    let cloud = Cloud::start(EMPTY, move |asked, grant| {
        wants("Metadata-Flavor", asked.header("metadata-flavor"), "Google")?;
        let path = asked.target.split('?').next().and_then(|it| it.strip_prefix(TOKENS));
        wants("path", path, metadata)?;
        Ok(granted(grant))
    });
    let host = format!("{}{TOKENS}", cloud.host);
    let endpoint = format!("http://{}", cloud.host);
    let variables = [("GCE_METADATA_HOST", host.as_str())];
    let storage = open_in(&variables, "gs://box/app", &[("endpoint", &endpoint)]);
    cloud.renews_tokens(&*storage, SHORT);
}

#[test]
fn an_external_account_is_exchanged() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let subject = directory.path().join("subject");
    std::fs::write(&subject, "signed by another cloud\n").expect("write");
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        wants("grant_type", asked.field("grant_type").as_deref(), exchange)?;
        let subject = asked.field("subject_token").map(|it| it.replace('+', " "));
        wants("subject_token", subject.as_deref(), "signed by another cloud")?;
        wants("audience", asked.field("audience").as_deref(), "//iam.googleapis.com/pool")?;
        Ok(granted(grant))
    });
    let credentials = serde_json::json!({
        "type": "external_account", "audience": "//iam.googleapis.com/pool",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": cloud.token_uri(), "credential_source": { "file": subject },
    });
    let file = directory.path().join("external.json");
    cloud.renews_tokens(&*replica_of(&cloud, &file, &credentials), SHORT);
}

#[test]
fn without_credentials_it_is_said_where_they_are_looked_for() {
    let variables = [("GCE_METADATA_HOST", "127.0.0.1:1")];
    let storage = open_in(&variables, "gs://box/app", &[("endpoint", "http://127.0.0.1:1")]);
    let error = storage.list(Level::L0, Txid::FIRST).expect_err("no credentials");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("GOOGLE_APPLICATION_CREDENTIALS"), "{error}");
}

/// What a stand-in of a session has stored, and how often it was asked for it.
#[derive(Default)]
struct Stored {
    bytes: Vec<u8>,
    pieces: u32,
    questions: u32,
    size: Option<usize>,
}

/// Takes pieces as the true server does: no byte that it has already, less than it is given at
/// times, and its answer may be lost.
fn take(stored: &mut Stored, asked: &Asked) -> Said {
    if asked.method == "POST" {
        let session = format!("http://{}/session", asked.host());
        return Said::new(200, "").with("Location", &session);
    }
    assert!(asked.header("content-length").is_some(), "Google answers 411 without");
    let range = asked.header("content-range").unwrap_or_default();
    let (span, size) = range.trim_start_matches("bytes ").split_once('/').expect("a range");
    let size: Option<usize> = size.parse().ok();
    stored.questions += u32::from(span == "*" && size.is_none());
    let mut is_lost = false;
    if let Some((first, _)) = span.split_once('-') {
        let first: usize = first.parse().expect("a number");
        assert_eq!(first, stored.bytes.len(), "no byte twice, and none left out");
        stored.pieces += 1;
        let taken = match stored.pieces {
            // The first is taken in part, the second wholly, but nobody hears of it.
            1 => 3 << 20,
            2 => {
                is_lost = true;
                asked.body.len()
            }
            _ => asked.body.len(),
        };
        stored.bytes.extend_from_slice(&asked.body[..taken.min(asked.body.len())]);
    }
    if size == Some(stored.bytes.len()) {
        stored.size = size;
    }
    match (is_lost, stored.size, stored.bytes.len()) {
        (true, ..) => Said::nothing(),
        (_, Some(size), _) => {
            Said::new(200, format!(r#"{{"name":"x","size":"{size}","generation":"1"}}"#))
        }
        (_, None, 0) => Said::new(308, ""),
        (_, None, length) => Said::new(308, "").with("Range", &format!("bytes=0-{}", length - 1)),
    }
}

#[test]
fn a_session_goes_on_where_it_broke_without_a_byte_twice() {
    // A piece of 8 MiB and a rest; and pieces that end where the object ends.
    for length in [8 * (1 << 20) + 12_345, 16 * (1 << 20)] {
        let stored = Arc::new(Mutex::new(Stored::default()));
        let ours = Arc::clone(&stored);
        let stub = Stub::start(move |asked| take(&mut ours.lock().expect("lock"), asked));
        let storage = open_in(&[("STORAGE_EMULATOR_HOST", &stub.host)], "gs://box/app", &[]);
        let bytes: Vec<u8> = (0..length).map(|it: u32| (it / 7 + it % 251) as u8).collect();
        let txids = TxidRange { min: Txid::FIRST, max: Txid::FIRST };
        let mut upload =
            storage.create(Level::L0, txids, Timestamp::from_millis(1)).expect("create");
        upload.write_all(&bytes).expect("write");
        assert_eq!(upload.commit().expect("commit").size, bytes.len() as u64);
        let stored = stored.lock().expect("lock");
        assert!(stored.bytes == bytes, "what arrived is what was sent");
        assert_eq!((stored.size, stored.questions), (Some(bytes.len()), 1));
    }
}
