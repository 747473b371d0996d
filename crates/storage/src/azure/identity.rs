//! The identity that Azure gives a machine or a container.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use reqsign_azure_storage::{AzureCliCredentialProvider, Credential};
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, Error, ProvideCredential, Result};
use serde::Deserialize;

use crate::{signing, wire};

/// What a token is for.
const RESOURCE: &str = "https://storage.azure.com/";
/// The one address of the metadata service of every machine.
const METADATA: &str = "http://169.254.169.254";
/// How long a token lasts if nobody says it.
const SHORT: Duration = Duration::from_secs(600);

/// Asks the container's token service (`IDENTITY_ENDPOINT`: App Service, Container Apps), or the
/// machine's metadata service; where there is neither, the user who is signed in by `az login`.
/// (`learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token`)
#[derive(Debug, Default)]
pub(super) struct ManagedIdentity {
    /// Whether the metadata service has answered before.
    is_there: AtomicBool,
}

/// Both kinds of service write numbers as text, sometimes.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_on: serde_json::Value,
}

impl ProvideCredential for ManagedIdentity {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        let variable = |name: &str| context.env_var(name).filter(|value| !value.is_empty());
        let client = variable("AZURE_CLIENT_ID");
        let mut query = vec![("resource", RESOURCE)];
        query.extend(client.as_deref().map(|client| ("client_id", client)));
        let service = (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER"));
        let (address, version, header) = match service {
            (Some(address), Some(secret)) => (address, "2019-08-01", ("x-identity-header", secret)),
            _ => {
                let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                let host = host.as_deref().unwrap_or(METADATA).trim_end_matches('/').to_owned();
                if !self.is_there.load(Ordering::Relaxed) && !signing::answers(context, &host).await
                {
                    return signed_in(context).await;
                }
                self.is_there.store(true, Ordering::Relaxed);
                let address = format!("{host}/metadata/identity/oauth2/token");
                (address, "2018-02-01", ("metadata", "true".to_owned()))
            }
        };
        query.push(("api-version", version));
        let request = http::Request::get(format!("{address}{}", wire::query(&query)))
            .header(header.0, header.1)
            .body(Bytes::new())
            .map_err(|_| Error::config_invalid("IDENTITY_ENDPOINT is no address"))?;
        let answer = context.http_send(request).await?;
        if !answer.status().is_success() {
            return Err(refused(answer.status(), answer.body()));
        }
        let token: Token = serde_json::from_slice(answer.body())
            .map_err(|_| Error::unexpected("the identity service gave no token"))?;
        let seconds = token.expires_on.as_i64();
        let seconds = seconds.or_else(|| token.expires_on.as_str()?.parse().ok());
        let expires = seconds.and_then(|it| Timestamp::from_second(it).ok());
        let expires = expires.unwrap_or_else(|| Timestamp::now() + SHORT);
        Ok(Some(Credential::with_bearer_token(&token.access_token, Some(expires))))
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Error {
    let said = wire::shortened(String::from_utf8_lossy(body).trim().to_owned());
    let reason = format!("the identity service says HTTP {}: {said}", status.as_u16());
    // It is not ready, or busy: so its documentation.
    let is_passing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    Error::credential_invalid(reason).set_retryable(is_passing)
}

async fn signed_in(context: &Context) -> Result<Option<Credential>> {
    AzureCliCredentialProvider::new().provide_credential(context).await.map_err(|_| {
        Error::credential_invalid(
            "neither account-key nor sas-token nor connection-string is set, this machine has no \
             managed identity, and nobody is signed in by az login",
        )
    })
}
