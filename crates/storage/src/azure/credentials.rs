//! Who we are to Azure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use reqsign_azure_storage::{
    ClientCertificateCredentialProvider, ClientSecretCredentialProvider, Credential, RequestSigner,
    StaticCredentialProvider, WorkloadIdentityCredentialProvider,
};
use reqsign_core::Signer;

use super::connection::Connection;
use super::identity::ManagedIdentity;
use crate::http::Http;
use crate::signing::{Signing, context};
use crate::{Environment, Error, Options, Result};

/// The one source of credentials that the options and the environment name. What fails there is
/// said, and no other is tried in its place.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The account's key.
    Key(String),
    /// A signature that somebody gave us.
    Sas(String),
    /// `AZURE_CLIENT_SECRET`
    Secret,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`
    Certificate,
    /// `AZURE_FEDERATED_TOKEN_FILE`, as Kubernetes provides it.
    Workload,
    /// The machine's or the container's own identity, else who is signed in by `az login`.
    Managed,
}

impl Source {
    /// What was given, in Litestream's order: a signature, a key, an identity.
    pub(super) fn find(
        options: &Options,
        environment: &Environment,
        connection: &Connection,
    ) -> Result<Source> {
        let first = |names: &[&str]| names.iter().find_map(|name| environment.get(name));
        let sas = options
            .get("sas-token")
            .or_else(|| first(&["LITESTREAM_AZURE_SAS_TOKEN"]))
            .or(connection.sas.as_deref())
            .or_else(|| first(&["AZURE_STORAGE_SAS_TOKEN"]));
        let key = options
            .get("account-key")
            .or_else(|| first(&["LITESTREAM_AZURE_ACCOUNT_KEY"]))
            .or(connection.key.as_deref())
            .or_else(|| first(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]));
        let is_client = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"].map(|it| environment.get(it));
        let is_client = is_client.iter().all(Option::is_some);
        let has = |name: &str| is_client && environment.get(name).is_some();
        Ok(match (sas, key) {
            (Some(sas), _) => Source::Sas(sas.trim_start_matches('?').to_owned()),
            (None, Some(key)) => Source::Key(checked(key)?),
            _ if has("AZURE_CLIENT_SECRET") => Source::Secret,
            _ if has("AZURE_CLIENT_CERTIFICATE_PATH") => Source::Certificate,
            _ if has("AZURE_FEDERATED_TOKEN_FILE") => Source::Workload,
            _ => Source::Managed,
        })
    }

    /// Whether they can be had anew.
    pub(super) fn is_renewable(&self) -> bool {
        !matches!(self, Source::Key(_) | Source::Sas(_))
    }

    /// When a signature ends, if it says so: a moment or a day.
    pub(super) fn ends(&self) -> Option<jiff::Timestamp> {
        let Source::Sas(sas) = self else { return None };
        let (_, value) =
            sas.split('&').filter_map(|it| it.split_once('=')).find(|it| it.0 == "se")?;
        let text = percent_decode_str(value).decode_utf8().ok()?;
        let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(TimeZone::UTC).ok();
        text.parse().ok().or_else(|| Some(day()?.timestamp()))
    }
}

fn checked(key: &str) -> Result<String> {
    match BASE64.decode(key) {
        Ok(bytes) if !bytes.is_empty() => Ok(key.to_owned()),
        _ => Err(Error::Unsupported {
            url: "account-key".into(),
            reason: "a key of a storage account is Base64".into(),
        }),
    }
}

/// Signs with these.
pub(super) fn signing(
    http: &Http,
    environment: &Environment,
    source: &Source,
    account: Option<&str>,
) -> Result<Signing<Credential>> {
    let account = match (source, account) {
        (Source::Key(_), None) => {
            return Err(Error::Unsupported {
                url: "account-key".into(),
                reason: "a key needs its account: set account-name".into(),
            });
        }
        (_, account) => account.unwrap_or_default().to_owned(),
    };
    let (context, source) = (context(http, environment), source.clone());
    Ok(Signing::new(move || {
        let (context, signer) = (context.clone(), RequestSigner::new());
        match &source {
            Source::Key(key) => {
                let key = StaticCredentialProvider::new_shared_key(&account, key);
                Signer::new(context, key, signer)
            }
            Source::Sas(sas) => {
                Signer::new(context, StaticCredentialProvider::new_sas_token(sas), signer)
            }
            Source::Secret => Signer::new(context, ClientSecretCredentialProvider::new(), signer),
            Source::Certificate => {
                Signer::new(context, ClientCertificateCredentialProvider::new(), signer)
            }
            Source::Workload => {
                Signer::new(context, WorkloadIdentityCredentialProvider::new(), signer)
            }
            Source::Managed => Signer::new(context, ManagedIdentity::default(), signer),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(options: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Source> {
        let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        let variables = variables.iter().map(owned).collect();
        let environment = Environment { variables, home: None };
        Source::find(&options.iter().copied().collect(), &environment, &Connection::default())
    }

    #[test]
    fn a_signature_tells_its_end() {
        let ends = |sas: &str| Source::Sas(sas.into()).ends().map(|it| it.to_string());
        let moment = Some("2026-11-22T21:16:00Z".to_owned());
        assert_eq!(ends("sv=1&se=2026-11-22T21%3A16%3A00Z&sig=x"), moment);
        assert_eq!(ends("se=2026-11-22T21:16Z"), moment);
        assert_eq!(ends("se=2026-11-22").as_deref(), Some("2026-11-22T00:00:00Z"));
        assert_eq!(ends("sv=1&si=policy"), None);
    }

    #[test]
    fn the_nearest_source_is_taken() {
        let client = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
        let with = |name| [client[0], client[1], (name, "x")];
        let of = |options: &[(&str, &str)], variables: &[(&str, &str)]| {
            find(options, variables).expect("a source")
        };
        let key = ("account-key", "a2V5");
        assert!(of(&[key, ("sas-token", "?sv=1")], &[]) == Source::Sas("sv=1".into()));
        assert!(of(&[key], &[("AZURE_STORAGE_SAS_TOKEN", "")]) == Source::Key("a2V5".into()));
        let variable = [("LITESTREAM_AZURE_ACCOUNT_KEY", "aw==")];
        assert!(of(&[], &variable) == Source::Key("aw==".into()));
        assert!(of(&[], &with("AZURE_CLIENT_SECRET")) == Source::Secret);
        assert!(of(&[], &with("AZURE_FEDERATED_TOKEN_FILE")) == Source::Workload);
        assert!(of(&[], &client) == Source::Managed);
        let error = find(&[("account-key", "hush!")], &[]).err().expect("no Base64").to_string();
        assert!(error.starts_with("account-key: ") && !error.contains("hush"), "{error}");
    }
}
