//! Azure Blob against Azurite, and its credentials against stand-ins of who hands them out.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ltx::{Level, Txid};
use storage::{Error, Storage};
use testkit::server::{Kind, Server};

use crate::cloud::{Cloud, Grant, TOKENS, open_in, wants};
use crate::open;
use crate::suite::{self, Abilities, Fixture, Times};

/// As `tools/servers.sh` makes it.
const ACCOUNT: &str = "testacct";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const EMPTY: &str = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
/// Tokens of Azure are renewed 20 s before they expire.
const SHORT: u64 = 23;

/// A replica of its own in a container.
fn replica(server: &Server, container: &str, key: &str) -> Arc<dyn Storage> {
    let (host, name) = (&server.host, Server::fresh_name());
    let url = format!("abs://{ACCOUNT}@{container}/{name}/app");
    let endpoint = format!("http://{host}/{ACCOUNT}");
    open(&url, &[("account-key", key), ("endpoint", &endpoint)])
}

#[test]
fn azurite_conforms() {
    let Some(server) = Server::start(Kind::Azurite) else { return };
    suite::run(Abilities { times: Times::Millis, conditions: true }, || Fixture {
        storage: replica(&server, "bkt1", KEY),
        keep: Box::new(()),
    });
    let missing = replica(&server, "no-such-container", KEY);
    let error = missing.list(Level::L0, Txid::FIRST).expect_err("no container");
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
    let denied = replica(&server, "bkt1", "d3Jvbmc=");
    let error = denied.list(Level::L0, Txid::FIRST).expect_err("a wrong key");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(!error.to_string().contains("d3Jvbmc="), "{error}");
    let string = format!(
        "AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://{}/{ACCOUNT};",
        server.host
    );
    let variables = [("AZURE_STORAGE_CONNECTION_STRING", string.as_str())];
    let by_string = open_in(&variables, "abs://bkt1/by-string", &[]);
    assert_eq!(by_string.list(Level::L0, Txid::FIRST).expect("list"), []);
    let by_option = open("abs://bkt1/by-option", &[("connection-string", &string)]);
    assert_eq!(by_option.list(Level::L0, Txid::FIRST).expect("list"), []);
}

/// A replica at a stand-in that wants tokens.
fn replica_of(cloud: &Cloud, variables: &[(&str, &str)]) -> Arc<dyn Storage> {
    let endpoint = format!("http://{}/acct", cloud.host);
    open_in(variables, "abs://acct@box/app", &[("endpoint", &endpoint)])
}

#[test]
fn the_identity_of_a_machine_is_renewed() {
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        wants("Metadata", asked.header("metadata"), "true")?;
        wants("resource", asked.field("resource").as_deref(), "https://storage.azure.com/")?;
        wants("client_id", asked.field("client_id").as_deref(), "mine")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|it| it.to_string())?;
        let (token, expires) = (grant.token, now.as_secs() + grant.lifetime);
        Ok(format!(r#"{{"access_token":"{token}","expires_on":"{expires}"}}"#))
    });
    let host = cloud.token_uri();
    let variables = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*host), ("AZURE_CLIENT_ID", "mine")];
    cloud.renews_tokens(&*replica_of(&cloud, &variables), SHORT);
}

#[test]
fn the_identity_of_a_container_is_renewed() {
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        wants("X-IDENTITY-HEADER", asked.header("x-identity-header"), "hush")?;
        wants("api-version", asked.field("api-version").as_deref(), "2019-08-01")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|it| it.to_string())?;
        let (token, expires) = (grant.token, now.as_secs() + grant.lifetime);
        Ok(format!(r#"{{"access_token":"{token}","expires_on":{expires}}}"#))
    });
    let uri = cloud.token_uri();
    let variables = [("IDENTITY_ENDPOINT", uri.as_str()), ("IDENTITY_HEADER", "hush")];
    cloud.renews_tokens(&*replica_of(&cloud, &variables), SHORT);
}

#[test]
fn the_identity_of_a_workload_is_renewed() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "signed by kubernetes\n").expect("write");
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        wants("path", asked.target.strip_prefix(TOKENS), "/tenant/oauth2/v2.0/token")?;
        let assertion = asked.field("client_assertion").map(|it| it.replace('+', " "));
        wants("client_assertion", assertion.as_deref(), "signed by kubernetes")?;
        let Grant { token, lifetime } = grant;
        Ok(format!(r#"{{"access_token":"{token}","expires_in":{lifetime}}}"#))
    });
    let (host, file) = (cloud.token_uri(), file.display().to_string());
    let variables = [
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_FEDERATED_TOKEN_FILE", &*file),
        ("AZURE_AUTHORITY_HOST", &*host),
    ];
    cloud.renews_tokens(&*replica_of(&cloud, &variables), SHORT);
}

#[test]
fn a_client_shows_its_secret_and_a_refusal_is_said_without_it() {
    let cloud = Cloud::start(EMPTY, |asked, grant| {
        wants("client_secret", asked.field("client_secret").as_deref(), "hush")?;
        let Grant { token, lifetime } = grant;
        Ok(format!(r#"{{"access_token":"{token}","expires_in":{lifetime}}}"#))
    });
    let host = cloud.token_uri();
    let with = |secret| {
        replica_of(
            &cloud,
            &[
                ("AZURE_TENANT_ID", "tenant"),
                ("AZURE_CLIENT_ID", "client"),
                ("AZURE_CLIENT_SECRET", secret),
                ("AZURE_AUTHORITY_HOST", &*host),
            ],
        )
    };
    let error = with("wrong-hush").list(Level::L0, Txid::FIRST).expect_err("a wrong secret");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("400"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    cloud.renews_tokens(&*with("hush"), SHORT);
}
