//! Who we are to Google: its "application default credentials".
//! (`cloud.google.com/docs/authentication/application-default-credentials`)

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use reqsign_core::{Context, Error, ProvideCredential, Result, Signer};
use reqsign_google::{
    Credential, RequestSigner, StaticCredentialProvider, VmMetadataCredentialProvider,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::token::{AuthorizedUser, SCOPE, ServiceAccount};
use crate::http::Http;
use crate::signing::{self, Signing};
use crate::{Environment, Options};

/// Signs with the credentials file that the options or the environment name, that `gcloud` has
/// left in the home directory, or as the machine that we run on.
pub(super) fn signing(
    http: &Http,
    options: &Options,
    environment: &Environment,
) -> Signing<Credential> {
    let context = signing::context(http, environment);
    let source = Source::find(options, environment);
    Signing::new(move || {
        Signer::new(context.clone(), source.clone().provider(), RequestSigner::new("storage"))
    })
}

/// Where credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// In a file that somebody named.
    Named(String),
    /// Where `gcloud` puts them, if there is such a file.
    Usual(Option<PathBuf>),
}

impl Source {
    fn find(options: &Options, environment: &Environment) -> Source {
        let named = options
            .get("credentials-path")
            .or_else(|| environment.get("GOOGLE_APPLICATION_CREDENTIALS"));
        if let Some(path) = named {
            return Source::Named(path.to_owned());
        }
        let directory = environment.get("CLOUDSDK_CONFIG").map(PathBuf::from);
        let directory =
            directory.or_else(|| Some(environment.home.as_ref()?.join(".config/gcloud")));
        Source::Usual(directory.map(|it| it.join("application_default_credentials.json")))
    }

    fn provider(self) -> Provider {
        Provider { source: self, is_there: AtomicBool::new(false) }
    }
}

/// Looks them up anew each time, so that a file that was replaced is read again.
#[derive(Debug)]
struct Provider {
    source: Source,
    /// Whether the metadata server has answered before.
    is_there: AtomicBool,
}

impl ProvideCredential for Provider {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        match &self.source {
            Source::Named(path) => from_file(context, path).await,
            Source::Usual(Some(path)) if path.exists() => {
                from_file(context, &path.display().to_string()).await
            }
            Source::Usual(_) => self.ask_machine(context).await,
        }
    }
}

impl Provider {
    async fn ask_machine(&self, context: &Context) -> Result<Option<Credential>> {
        let host = context.env_var("GCE_METADATA_HOST").filter(|host| !host.is_empty());
        let host = host.as_deref().unwrap_or("metadata.google.internal");
        let is_there = self.is_there.load(Ordering::Relaxed)
            || signing::answers(context, &format!("http://{host}")).await;
        if !is_there {
            return Err(Error::credential_invalid(
                "GOOGLE_APPLICATION_CREDENTIALS names no file, gcloud has left none, and this \
                 machine is none of Google's",
            ));
        }
        self.is_there.store(true, Ordering::Relaxed);
        let machine = VmMetadataCredentialProvider::new().with_endpoint(host).with_scope(SCOPE);
        let no_account = || Error::credential_invalid("this machine has no service account");
        machine.provide_credential(context).await?.map(Some).ok_or_else(no_account)
    }
}

/// Messages name the file and what is wrong with it, never what it holds.
async fn from_file(context: &Context, path: &str) -> Result<Option<Credential>> {
    let bytes = context.file_read(path).await?;
    let mut file: Value = serde_json::from_slice(&bytes)
        .map_err(|_| Error::config_invalid(format!("{path} is no JSON")))?;
    match file.get("type").and_then(Value::as_str).unwrap_or_default().to_owned().as_str() {
        "service_account" => {
            let account: ServiceAccount = read(path, file)?;
            account.exchange(context).await.map(Some)
        }
        "authorized_user" => {
            let user: AuthorizedUser = read(path, file)?;
            user.exchange(context).await.map(Some)
        }
        "external_account" | "impersonated_service_account" => {
            say_format(&mut file);
            let provider = StaticCredentialProvider::new(file.to_string()).with_scope(SCOPE);
            provider.provide_credential(context).await
        }
        kind => Err(Error::config_invalid(format!("{path}: {kind:?} is no kind of credentials"))),
    }
}

fn read<T: DeserializeOwned>(path: &str, file: Value) -> Result<T> {
    serde_json::from_value(file)
        .map_err(|_| Error::config_invalid(format!("{path} lacks a field that its type needs")))
}

/// A token is plain text unless the file says otherwise; the reader wants it said.
fn say_format(file: &mut Value) {
    let Some(source) = file.get_mut("credential_source").and_then(Value::as_object_mut) else {
        return;
    };
    if (source.contains_key("file") || source.contains_key("url"))
        && !source.contains_key("environment_id")
    {
        source.entry("format").or_insert_with(|| serde_json::json!({ "type": "text" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_comes_before_the_usual_one() {
        let find = |variables: &[(&str, &str)]| {
            let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
            let variables = variables.iter().map(owned).collect();
            let home = Some(PathBuf::from("/home/me"));
            Source::find(&Options::new(), &Environment { variables, home })
        };
        let usual = |path: &str| Source::Usual(Some(PathBuf::from(path)));
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json");
        assert_eq!(find(&[file]), Source::Named("/run/key.json".into()));
        let home = "/home/me/.config/gcloud/application_default_credentials.json";
        assert_eq!(find(&[]), usual(home));
        let directory = [("CLOUDSDK_CONFIG", "/etc/gcloud")];
        assert_eq!(find(&directory), usual("/etc/gcloud/application_default_credentials.json"));
    }

    #[test]
    fn a_format_that_is_not_said_is_text() {
        let mut file = serde_json::json!({ "credential_source": { "file": "/run/token" } });
        say_format(&mut file);
        assert_eq!(file["credential_source"]["format"]["type"], "text");
    }
}
