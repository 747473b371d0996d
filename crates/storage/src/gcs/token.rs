//! Tokens in exchange for what a credentials file holds.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, Error, Result, jwt};
use reqsign_google::{Credential, Token};
use serde::{Deserialize, Serialize};

use crate::wire;

/// Enough to read, write and delete objects.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const GOOGLE: &str = "https://oauth2.googleapis.com/token";
/// How long an assertion is good for: as long as Google allows.
const HOUR: i64 = 3600;

/// A service account and its private key. (RFC 7523)
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: Option<String>,
}

/// A user who has signed in by `gcloud auth application-default login`. (RFC 6749, 6)
#[derive(Deserialize)]
pub(super) struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    token_uri: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl ServiceAccount {
    pub(super) async fn exchange(&self, context: &Context) -> Result<Credential> {
        let uri = self.token_uri.as_deref().unwrap_or(GOOGLE);
        let (header, now) =
            (Header { alg: "RS256", typ: "JWT", kid: &self.private_key_id }, Timestamp::now());
        let (iss, iat) = (self.client_email.as_str(), now.as_second());
        let claims = Claims { iss, scope: SCOPE, aud: uri, iat, exp: iat + HOUR };
        let assertion = jwt::encode_rs256_pem(&header, &claims, self.private_key.as_bytes())?;
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        ask(context, uri, &[("grant_type", grant), ("assertion", &assertion)]).await
    }
}

impl AuthorizedUser {
    pub(super) async fn exchange(&self, context: &Context) -> Result<Credential> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("refresh_token", &self.refresh_token),
        ];
        ask(context, self.token_uri.as_deref().unwrap_or(GOOGLE), &form).await
    }
}

async fn ask(context: &Context, uri: &str, form: &[(&str, &str)]) -> Result<Credential> {
    let request = http::Request::post(uri)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(wire::query(form).trim_start_matches('?').to_owned()))
        .map_err(|_| Error::config_invalid("token_uri is no address"))?;
    let asked = Timestamp::now();
    let answer = context.http_send(request).await?;
    if !answer.status().is_success() {
        let Refused { error, error_description } =
            serde_json::from_slice(answer.body()).unwrap_or_default();
        let status = answer.status().as_u16();
        let reason = format!("{uri} says HTTP {status}: {error}: {error_description}");
        return Err(Error::credential_invalid(reason));
    }
    let granted: Granted = serde_json::from_slice(answer.body())
        .map_err(|_| Error::unexpected(format!("{uri} gave no token")))?;
    let expires_at = granted.expires_in.map(|seconds| asked + Duration::from_secs(seconds));
    Ok(Credential::with_token(Token { access_token: granted.access_token, expires_at }))
}
