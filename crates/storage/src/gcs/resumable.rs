//! Large objects, which go up piece after piece into one session.
//! (`cloud.google.com/storage/docs/performing-resumable-uploads`)

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ltx::Timestamp;
use tokio::sync::Mutex;

use super::{Ask, Gcs, JSON, json};
use crate::http::Answer;
use crate::remote::Part;
use crate::{Error, Result};

/// A piece that is not the last has a multiple of so many bytes.
pub(super) const GRAIN: usize = 256 * 1024;
const CONTENT_TYPE_OF_OBJECT: HeaderName = HeaderName::from_static("x-upload-content-type");
/// How a session answers that was given up.
const CLOSED: u16 = 499;

/// An upload. Whoever has its address may write to it.
pub(crate) struct Session {
    key: String,
    uri: String,
    state: Mutex<State>,
}

/// What the server has.
#[derive(Default)]
struct State {
    stored: u64,
    /// Whether that is uncertain: an answer was lost.
    is_uncertain: bool,
    /// The last piece, which is sent at the end.
    tail: Option<Part>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) async fn begin(gcs: &Gcs, key: &str, created: Timestamp) -> Result<Session> {
        let object = gcs.object(key);
        let body = Bytes::from(json::new(&gcs.place.name(key), Some(created)));
        let query = [("uploadType", "resumable")];
        let mut ask = Ask::new(Method::POST, gcs.place.upload_uri(), &query).with(JSON, body);
        let octets = HeaderValue::from_static("application/octet-stream");
        ask.headers.insert(CONTENT_TYPE_OF_OBJECT, octets);
        let answer = gcs.ask(&object, false, ask).await?;
        let uri = answer.header(LOCATION).map(str::to_owned).ok_or_else(|| Error::Corrupt {
            object,
            reason: "the server does not say where an upload goes".into(),
        })?;
        Ok(Session { key: key.to_owned(), uri, state: Mutex::default() })
    }

    pub(super) async fn put(&self, gcs: &Gcs, part: Part) -> Result<()> {
        let mut state = self.state.lock().await;
        match part.body.len() % GRAIN {
            0 => self.send(gcs, &mut state, &part, None).await,
            _ => {
                state.tail = Some(part);
                Ok(())
            }
        }
    }

    pub(super) async fn finish(&self, gcs: &Gcs, size: u64) -> Result<()> {
        let mut state = self.state.lock().await;
        let nothing = Part { number: 0, offset: size, body: Bytes::new() };
        let tail = state.tail.clone().unwrap_or(nothing);
        self.send(gcs, &mut state, &tail, Some(size)).await
    }

    pub(super) async fn abort(&self, gcs: &Gcs) -> Result<()> {
        let object = gcs.object(&self.key);
        let answer = gcs.send(&object, &Ask::new(Method::DELETE, self.uri.clone(), &[])).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() || status.as_u16() == CLOSED => Ok(()),
            _ => Err(super::failure::read(&object, true, answer).await),
        }
    }

    /// Sends what the server does not have of a piece, until it has all of it. With the object's
    /// size, it is the last one.
    async fn send(
        &self,
        gcs: &Gcs,
        state: &mut State,
        part: &Part,
        size: Option<u64>,
    ) -> Result<()> {
        loop {
            if state.is_uncertain {
                let answer = self.ask(gcs, "bytes */*".to_owned(), Bytes::new()).await?;
                if answer.status().is_success() {
                    return gcs.stored(&self.key, size, answer).await.map(drop);
                }
                state.stored = stored(&answer);
                state.is_uncertain = false;
            }
            let skipped =
                state.stored.checked_sub(part.offset).ok_or_else(|| self.forgotten(gcs))?;
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(part.body.len());
            let rest = part.body.slice(skipped..);
            let range = match (rest.len() as u64, size) {
                (0, None) => return Ok(()),
                (0, Some(size)) => format!("bytes */{size}"),
                (length, size) => {
                    let size = size.map_or("*".to_owned(), |size| size.to_string());
                    format!("bytes {}-{}/{size}", state.stored, state.stored + length - 1)
                }
            };
            let before = state.stored;
            state.is_uncertain = true;
            let answer = self.ask(gcs, range, rest).await?;
            if answer.status().is_success() {
                return gcs.stored(&self.key, size, answer).await.map(drop);
            }
            state.stored = stored(&answer);
            state.is_uncertain = false;
            if state.stored <= before {
                let reason = "the server takes nothing more of an upload".into();
                return Err(Error::Unreachable { object: gcs.object(&self.key), reason });
            }
        }
    }

    /// Puts bytes into the session. An answer is that they are in, or which are.
    async fn ask(&self, gcs: &Gcs, range: String, body: Bytes) -> Result<Answer> {
        let object = gcs.object(&self.key);
        let mut ask = Ask::new(Method::PUT, self.uri.clone(), &[]);
        if let Ok(range) = HeaderValue::try_from(range) {
            ask.headers.insert(CONTENT_RANGE, range);
        }
        ask.body = body;
        let answer = gcs.send(&object, &ask).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(self.forgotten(gcs)),
            status if status.is_success() || status == StatusCode::PERMANENT_REDIRECT => Ok(answer),
            _ => Err(super::failure::read(&object, true, answer).await),
        }
    }

    /// Nothing helps but to begin anew.
    fn forgotten(&self, gcs: &Gcs) -> Error {
        let source = std::io::Error::other("the server has forgotten this upload");
        Error::Io { object: gcs.object(&self.key), source }
    }
}

/// `Range: bytes=0-<last>`; nothing is stored without.
fn stored(answer: &Answer) -> u64 {
    let last = answer.header(RANGE).and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
    last.map_or(0, |last| last + 1)
}
