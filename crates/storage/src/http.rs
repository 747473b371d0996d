//! The HTTP client that all backends share: TLS, deadlines, and what an answer's status means.

mod content;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::remote::Body;
use crate::tls::{self, Trust};
use crate::{Environment, Error, Options, Result, wire};
use content::Progress;
pub(crate) use content::{Content, Feeder, feed};
use pace::Pace;

/// To reach a server, name look-up included.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest error message of a server that is read.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// The client.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    silence: Duration,
    pace: Arc<Pace>,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    object: String,
    response: reqwest::Response,
    silence: Duration,
}

impl Http {
    /// A client as the options and the environment ask for it.
    pub(crate) fn of(options: &Options, environment: &Environment) -> Result<Http> {
        Http::build(&Trust::of(options, environment)?, wire::silence(options)?)
    }

    fn build(trust: &Trust, silence: Duration) -> Result<Http> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(trust)?)
            .user_agent(concat!("brooklet/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT.min(silence))
            .pool_idle_timeout(Duration::from_secs(90))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Error::Io {
                object: "HTTP client".into(),
                source: std::io::Error::other(error),
            })?;
        Ok(Http { client, silence, pace: Arc::default() })
    }

    /// How long a server may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    /// Sends a request about `object`, and waits for the answer's head. Any status is an answer.
    pub(crate) async fn send(
        &self,
        object: &str,
        request: http::Request<impl Into<Content>>,
    ) -> Result<Answer> {
        let (parts, content) = request.into_parts();
        let (content, progress) = (content.into(), Arc::new(Progress::default()));
        let mut request = http::Request::from_parts(parts, reqwest::Body::from(Bytes::new()));
        let length = content.length();
        // Without a length, some servers take an empty body for a missing one.
        if length != Some(0) || matches!(*request.method(), Method::PUT | Method::POST) {
            if let Some(length) = length {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            let pieces = content.pieces(Arc::clone(&progress));
            *request.body_mut() = reqwest::Body::wrap_stream(pieces);
        }
        let request =
            reqwest::Request::try_from(request).map_err(|error| unreachable(object, &error))?;
        let response = self.client.execute(request);
        tokio::select! {
            response = response => match response {
                Ok(response) => {
                    self.pace.arrived(length, progress.quietest());
                    Ok(Answer { object: object.to_owned(), response, silence: self.silence })
                }
                Err(error) => Err(unreachable(object, &error)),
            },
            () = progress.stuck(self.silence + self.pace.time_of(length)) => {
                self.pace.given_up();
                Err(Error::Unreachable {
                    object: object.to_owned(),
                    reason: format!("the server did not answer for {:?}", self.silence),
                })
            }
        }
    }
}

/// Why there was no answer, without the URL, which may hold a signature.
fn unreachable(object: &str, error: &reqwest::Error) -> Error {
    let mut reason = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        source = error.source();
        if source.is_none() || !error.is::<reqwest::Error>() {
            let text = error.to_string();
            if !reason.ends_with(&text) {
                reason.push_str(if reason.is_empty() { "" } else { ": " });
                reason.push_str(&text);
            }
        }
    }
    Error::Unreachable { object: object.to_owned(), reason }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header's value as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The whole of a short body.
    pub(crate) async fn text(self) -> Result<String> {
        let bytes = self.body(0).collect().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the server says went wrong, as far as that is of use in a message.
    pub(crate) async fn message(self) -> String {
        let mut body = self.body(0);
        let mut text = Vec::new();
        while let (true, Ok(Some(bytes))) = (text.len() < LONGEST_MESSAGE, body.next().await) {
            text.extend_from_slice(&bytes);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// The body of an object that was asked for from `offset` on.
    pub(crate) fn body(self, offset: u64) -> Body {
        let (object, silence) = (self.object, self.silence);
        let headers = self.response.headers();
        let is_part = self.response.status() == StatusCode::PARTIAL_CONTENT;
        // Some servers say 200 to a part.
        let whole = !is_part && !headers.contains_key(CONTENT_RANGE);
        let size = match whole {
            true => self.response.content_length(),
            false => total(self.response.headers()),
        };
        let name = object.clone();
        let bytes = self.response.bytes_stream().map_err(move |error| unreachable(&name, &error));
        // A server that knows no ranges sends everything.
        match if whole { offset } else { 0 } {
            0 => Body::new(object, size, bytes),
            skipped => Body::new(object, size, without_first(skipped, bytes)),
        }
        .within(silence)
    }
}

/// `Content-Range: bytes 5-9/10`
fn total(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}

fn without_first(
    skipped: u64,
    bytes: impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static,
) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static {
    let mut left = skipped;
    bytes
        .map_ok(move |mut bytes| {
            let gone = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= gone as u64;
            bytes.split_off(gone)
        })
        .filter(|bytes| std::future::ready(bytes.as_ref().map_or(true, |bytes| !bytes.is_empty())))
}

/// The value of a `Range` header.
pub(crate) fn range(offset: u64, length: Option<u64>) -> Option<String> {
    match (offset, length) {
        (0, None) => None,
        (_, None) => Some(format!("bytes={offset}-")),
        (_, Some(length)) => Some(format!("bytes={offset}-{}", offset + length.max(1) - 1)),
    }
}

/// What a status means that is no success, where the server's own code says nothing better.
pub(crate) fn error(
    object: &str,
    status: StatusCode,
    headers: &HeaderMap,
    reason: String,
) -> Error {
    let object = object.to_owned();
    let reason = match reason.is_empty() {
        true => format!("HTTP {status}"),
        false => format!("HTTP {}: {reason}", status.as_u16()),
    };
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { object },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { object, reason },
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Error::Conflict { object },
        StatusCode::RANGE_NOT_SATISFIABLE => Error::Short { object, offset: 0, wanted: 0 },
        StatusCode::TOO_MANY_REQUESTS => {
            Error::Throttled { object, reason, after: retry_after(headers) }
        }
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => {
            Error::Throttled { object, reason, after: retry_after(headers) }
        }
        StatusCode::REQUEST_TIMEOUT => Error::Unreachable { object, reason },
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            Error::Unreachable { object, reason }
        }
        _ => Error::Io { object, source: std::io::Error::other(reason) },
    }
}

/// `Retry-After: 5`, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_meanings() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        let of = |status: u16, headers: &HeaderMap| {
            error("o", StatusCode::from_u16(status).expect("a status"), headers, String::new())
        };
        let none = HeaderMap::new();
        assert!(of(404, &none).is_not_found());
        assert!(matches!(of(403, &none), Error::Denied { .. }));
        assert!(matches!(of(401, &none), Error::Denied { .. }));
        assert!(matches!(of(412, &none), Error::Conflict { .. }));
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(of(status, &none).is_passing(), "{status}");
        }
        for status in [400, 405, 411, 501] {
            assert!(!of(status, &none).is_passing(), "{status}");
        }
        for status in [429, 503] {
            assert_eq!(of(status, &headers).retry_after(), Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn ranges_are_written_as_http_wants_them() {
        assert_eq!(range(0, None), None);
        assert_eq!(range(5, None).as_deref(), Some("bytes=5-"));
        assert_eq!(range(5, Some(5)).as_deref(), Some("bytes=5-9"));
    }
}
