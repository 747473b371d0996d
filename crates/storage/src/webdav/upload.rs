//! An object on its way: to a name of its own first, and to where it belongs once it is whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, StatusCode};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::collection::Member;
use super::{Ask, WebDav, failure, method, place};
use crate::http::{Answer, Feeder, feed};
use crate::layout::TEMP_SUFFIX;
use crate::remote::insist;
use crate::{Error, Result};

const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");
const BYTES: &str = "application/octet-stream";
/// What was left by an upload that ended so long ago is nobody's any more.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);

/// An object that is being sent while it is being made.
#[derive(Debug)]
pub(crate) struct Session {
    key: String,
    temp: String,
    object: String,
    sending: Mutex<Option<Sending>>,
}

#[derive(Debug)]
struct Sending {
    feeder: Feeder,
    request: JoinHandle<Result<()>>,
}

impl Session {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn temp(&self) -> &str {
        &self.temp
    }

    /// Sends the next bytes.
    pub(super) async fn give(&self, bytes: Bytes) -> Result<()> {
        let mut sending = self.sending.lock().await;
        let Some(Sending { feeder, .. }) = &*sending else { return Err(self.ended()) };
        if feeder.give(bytes).await.is_ok() {
            return Ok(());
        }
        match sending.take() {
            Some(Sending { request, .. }) => self.outcome(request).await.and(Err(self.ended())),
            None => Err(self.ended()),
        }
    }

    /// Waits until the server has all of it.
    pub(super) async fn end(&self) -> Result<()> {
        let Some(Sending { feeder, request }) = self.sending.lock().await.take() else {
            return Err(self.ended());
        };
        let finished = feeder.finish().await;
        self.outcome(request).await?;
        finished.map_err(|_| self.ended())
    }

    /// Breaks off.
    pub(super) async fn stop(&self) {
        if let Some(Sending { request, .. }) = self.sending.lock().await.take() {
            request.abort();
            let _ = request.await;
        }
    }

    async fn outcome(&self, request: JoinHandle<Result<()>>) -> Result<()> {
        let joined = request.await.map_err(|error| Error::Io {
            object: self.object.clone(),
            source: std::io::Error::other(error),
        });
        joined?
    }

    fn ended(&self) -> Error {
        let reason = "the server ended the upload before all was sent".into();
        Error::Corrupt { object: self.object.clone(), reason }
    }
}

impl WebDav {
    /// Stores a small object.
    pub(super) async fn put_whole(&self, key: &str, body: Bytes) -> Result<()> {
        let (temp, size) = (temp(key), body.len() as u64);
        let mut stored = self.put_temp(&temp, body).await;
        if stored.is_ok() {
            stored = self.settle(&temp, key, size).await;
        }
        if stored.as_ref().is_err_and(|error| !matches!(error, Error::Unreachable { .. })) {
            // What stays harms nobody, and is swept up later.
            let _ = self.remove(&temp).await;
        }
        stored
    }

    /// Begins an object of which only the first part is known. That cannot be sent twice, so all
    /// that a server may object to is tried with an empty object before.
    pub(super) async fn begin_stream(&self, key: &str) -> Result<Session> {
        let (temp, object) = (temp(key), self.object(key));
        self.put_temp(&temp, Bytes::new()).await?;
        let ask = Ask::new(Method::PUT, self.file(&temp)).with(CONTENT_TYPE, BYTES);
        let (feeder, content) = feed();
        let request = self.request(&object, &ask, content)?;
        let (http, name) = (self.http.clone(), object.clone());
        let request = tokio::spawn(async move {
            let answer = http.send(&name, request).await?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                StatusCode::LENGTH_REQUIRED => Err(Error::Unsupported {
                    url: name,
                    reason: "the server takes no objects of unknown length; \
                             hint: allow chunked uploads (Transfer-Encoding: chunked)"
                        .into(),
                }),
                _ => Err(failure(&name, answer).await),
            }
        });
        let sending = Mutex::new(Some(Sending { feeder, request }));
        Ok(Session { key: key.to_owned(), temp, object, sending })
    }

    /// Stores something under a temporary name, in a collection that is made if it has to be.
    async fn put_temp(&self, temp: &str, body: Bytes) -> Result<()> {
        let (object, path) = (self.object(temp), self.place.path(temp));
        let collection = place::parent(&path).unwrap_or_default();
        let is_first = !self.is_made(collection);
        self.make(&object, collection).await?;
        if is_first {
            self.sweep(temp).await;
        }
        let mut ask = Ask::new(Method::PUT, self.file(temp)).with(CONTENT_TYPE, BYTES);
        ask.body = body;
        let answer = self.ask(&object, ask).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
                // Somebody has removed the collection.
                self.forget_made();
                let reason = format!("HTTP {}: there is no collection for it", answer.status());
                Err(Error::Unreachable { object, reason })
            }
            _ => Err(failure(&object, answer).await),
        }
    }

    /// Moves a whole object of this size to where it belongs.
    pub(super) async fn settle(&self, temp: &str, key: &str, size: u64) -> Result<()> {
        let may_be_moved = AtomicBool::new(false);
        insist(|| self.try_settle(temp, key, size, &may_be_moved)).await
    }

    async fn try_settle(
        &self,
        temp: &str,
        key: &str,
        size: u64,
        may_be_moved: &AtomicBool,
    ) -> Result<()> {
        match self.size(temp).await? {
            Some(stored) if stored == size => {
                may_be_moved.store(true, Ordering::Relaxed);
                self.rename(temp, key, size).await
            }
            // Nobody else knows that name: it was moved, and only the answer was lost.
            None if may_be_moved.load(Ordering::Relaxed) && self.size(key).await? == Some(size) => {
                Ok(())
            }
            stored => Err(Error::Corrupt {
                object: self.object(key),
                reason: format!("{size} bytes were sent, {} are there", stored.unwrap_or(0)),
            }),
        }
    }

    async fn rename(&self, temp: &str, key: &str, size: u64) -> Result<()> {
        if self.copies.load(Ordering::Relaxed) {
            return self.copy(temp, key, size).await;
        }
        let answer = self.relocate("MOVE", temp, key).await?;
        match answer.status() {
            StatusCode::MULTI_STATUS => Err(failure(&self.object(key), answer).await),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.copies.store(true, Ordering::Relaxed);
                self.copy(temp, key, size).await
            }
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Err(Error::Corrupt {
                object: self.object(key),
                reason: format!("HTTP {}: what was sent cannot be moved", answer.status()),
            }),
            _ => Err(failure(&self.object(key), answer).await),
        }
    }

    /// The next best to a move: within the server no connection can be cut. To send the object to
    /// its own name instead might leave half of it there for good, so we rather refuse.
    async fn copy(&self, temp: &str, key: &str, size: u64) -> Result<()> {
        let answer = self.relocate("COPY", temp, key).await?;
        match answer.status() {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                return Err(Error::Unsupported {
                    url: self.object(key),
                    reason:
                        "the server can neither MOVE nor COPY, so a cut connection would leave \
                             half an object; hint: allow MOVE there"
                            .into(),
                });
            }
            status if status.is_success() && status != StatusCode::MULTI_STATUS => {}
            _ => return Err(failure(&self.object(key), answer).await),
        }
        match self.size(key).await? {
            Some(stored) if stored == size => self.remove(temp).await,
            stored => Err(Error::Corrupt {
                object: self.object(key),
                reason: format!("{} of {size} bytes were copied", stored.unwrap_or(0)),
            }),
        }
    }

    /// Asks to move or copy a file over another. A server behind a proxy may not know itself by
    /// the URL that we know, but then by the path alone.
    async fn relocate(&self, verb: &'static str, from: &str, to: &str) -> Result<Answer> {
        let (object, target) = (self.object(to), self.file(to));
        let ask = |destination: &str| {
            Ask::new(method(verb), self.file(from))
                .with(DESTINATION, destination)
                .with(OVERWRITE, "T")
        };
        let answer = self.ask(&object, ask(&self.place.uri(&target))).await?;
        match answer.status() {
            StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY => {
                self.ask(&object, ask(&target)).await
            }
            _ => Ok(answer),
        }
    }

    /// Removes what uploads have left beside `temp` that ended long ago, as far as that works.
    async fn sweep(&self, temp: &str) {
        let Some((directory, _)) = temp.rsplit_once('/') else { return };
        let directory = format!("{directory}/");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for member in self.members(&directory).await.unwrap_or_default() {
            let Member::File { name, modified, .. } = member else { continue };
            let modified = Duration::from_millis(u64::try_from(modified.as_millis()).unwrap_or(0));
            if is_temp(&name) && now.saturating_sub(modified) > LEFT {
                let _ = self.remove(&format!("{directory}{name}")).await;
            }
        }
    }
}

/// A name that no other upload has, by this process or another.
fn temp(key: &str) -> String {
    format!("{key}.{:016x}{TEMP_SUFFIX}", fastrand::u64(..))
}

fn is_temp(name: &str) -> bool {
    let Some((file, unique)) = name.strip_suffix(TEMP_SUFFIX).and_then(|it| it.rsplit_once('.'))
    else {
        return false;
    };
    let is_unique = unique.len() == 16 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_unique && ltx::TxidRange::parse_file_name(file).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_temporary_names_are_swept_up() {
        let name = "0000000000000002-000000000000000a.ltx";
        assert_ne!(temp(name), temp(name));
        assert!(is_temp(&temp(name)));
        for other in [name, "a.ltx.0123456789abcdef.tmp", &format!("{name}.tmp"), "x.tmp"] {
            assert!(!is_temp(other), "{other}");
        }
    }
}
