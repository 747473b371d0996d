//! Signed requests: what the providers of credentials need of us, and credentials that are looked
//! up anew once a server does not take them any more.

use std::fmt;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use reqsign_core::{
    CommandExecute, CommandOutput, Context, FileRead, HttpSend, Signer, SigningCredential,
    StaticEnv,
};
use tokio::time::timeout;

use crate::http::Http;
use crate::{Environment, Error, Result};

/// How long a server on the same machine may take to answer.
const NEAR: Duration = Duration::from_secs(3);

/// What providers of credentials may use: our HTTP client, files, programs, and the environment
/// that we were given.
pub(crate) fn context(http: &Http, environment: &Environment) -> Context {
    let env = StaticEnv {
        home_dir: environment.home.clone(),
        envs: environment.variables.clone().into_iter().collect(),
    };
    Context::new()
        .with_http_send(Web { http: http.clone(), sts: sts(environment) })
        .with_file_read(Files)
        .with_command_execute(Programs)
        .with_env(env)
}

/// A signer that can be made anew, so that its credentials are looked up again.
pub(crate) struct Signing<K: SigningCredential> {
    make: Box<dyn Fn() -> Signer<K> + Send + Sync>,
    current: Mutex<Signer<K>>,
}

impl<K: SigningCredential> Signing<K> {
    /// Signs with what `make` makes.
    pub(crate) fn new(make: impl Fn() -> Signer<K> + Send + Sync + 'static) -> Signing<K> {
        let current = Mutex::new(make());
        Signing { make: Box::new(make), current }
    }

    /// Signs a request about `object`.
    pub(crate) async fn sign(
        &self,
        object: &str,
        request: &mut http::Request<Bytes>,
    ) -> Result<()> {
        let signer = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut parts, body) = std::mem::take(request).into_parts();
        let signed = signer.sign(&mut parts, None).await;
        *request = http::Request::from_parts(parts, body);
        signed.map_err(|error| not_signed(object, &error))
    }

    /// Forgets the credentials.
    pub(crate) fn renew(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (self.make)();
    }
}

impl<K: SigningCredential> fmt::Debug for Signing<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signing")
    }
}

fn not_signed(object: &str, error: &reqsign_core::Error) -> Error {
    use reqsign_core::ErrorKind as Kind;
    let object = object.to_owned();
    let mut reason = format!("no credentials: {error}");
    for status in error.context().iter().filter(|it| it.starts_with("http_status")) {
        reason.push_str(&format!(" ({status})"));
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    match error.kind() {
        Kind::RateLimited => Error::Throttled { object, reason, after: None },
        _ if error.is_retryable() => Error::Unreachable { object, reason },
        _ => Error::Denied { object, reason },
    }
}

/// Whether there is a server that answers at once, whatever it says: the metadata service of a
/// cloud, which is elsewhere not there.
pub(crate) async fn answers(context: &Context, url: &str) -> bool {
    let Ok(request) = http::Request::get(url).body(Bytes::new()) else { return false };
    matches!(timeout(NEAR, context.http_send(request)).await, Ok(Ok(_)))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> reqsign_core::Error {
    reqsign_core::Error::unexpected(error.to_string())
}

/// Our HTTP client, and where AWS's service for tokens is, if not where it usually is.
#[derive(Debug)]
struct Web {
    http: Http,
    sts: Option<Uri>,
}

fn sts(environment: &Environment) -> Option<Uri> {
    environment.get("AWS_ENDPOINT_URL_STS")?.parse().ok()
}

impl Web {
    /// The providers of credentials do not know that the service may be elsewhere.
    fn place(&self, usual: &Uri) -> Option<Uri> {
        let host = usual.host().unwrap_or_default();
        let is_sts = host.starts_with("sts.") && host.contains(".amazonaws.com");
        let elsewhere = self.sts.as_ref().filter(|_| is_sts)?;
        let mut parts = usual.clone().into_parts();
        parts.scheme = elsewhere.scheme().cloned();
        parts.authority = elsewhere.authority().cloned();
        Uri::from_parts(parts).ok()
    }
}

impl HttpSend for Web {
    async fn http_send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> reqsign_core::Result<http::Response<Bytes>> {
        if let Some(place) = self.place(request.uri()) {
            *request.uri_mut() = place;
        }
        let passing = |error: Error| failed(error).set_retryable(true);
        let object = request.uri().authority().map_or("credentials".into(), ToString::to_string);
        let answer = self.http.send(&object, request).await.map_err(passing)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let reason = std::io::Error::other(format!("{object}: HTTP {status}"));
            return Err(failed(reason).set_retryable(true));
        }
        let body = answer.body(0).collect().await.map_err(passing)?;
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        tokio::fs::read(path).await.map_err(|error| failed(Error::from_io(path, error)))
    }
}

#[derive(Debug)]
struct Programs;

impl CommandExecute for Programs {
    async fn command_execute<'a>(
        &'a self,
        program: &'a str,
        arguments: &'a [&'a str],
    ) -> reqsign_core::Result<CommandOutput> {
        let output = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| failed(Error::from_io(program, error)))?;
        let status = output.status.code().unwrap_or(-1);
        Ok(CommandOutput { status, stdout: output.stdout, stderr: output.stderr })
    }
}
