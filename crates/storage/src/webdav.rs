//! `WebDAV`: Apache, nginx, Nextcloud, storage boxes. (RFC 4918)
//!
//! A connection that is cut leaves a partial object on some servers, so an object goes to a name
//! of its own, its size there is checked, and it is moved to where it belongs. Times of creation
//! are not kept.

mod collection;
mod login;
mod place;
mod upload;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ltx::Timestamp;
use tokio::time::sleep;

use crate::address::{Address, Kind};
use crate::http::{self as web, Answer, Content, Http};
use crate::layout::{self, Layout};
use crate::remote::{Body, Client, Entry, Page, Part, Parts, Put};
use crate::{Environment, Error, Options, Result, Version, wire};
use collection::Member;
use login::Login;
use place::Place;
use upload::Session;

const DEPTH: HeaderName = HeaderName::from_static("depth");
/// How often a request is answered with another challenge before the password counts as wrong.
const LOGINS: usize = 3;
/// No backup lies deeper; a link may lead a server round in circles.
const DEEPEST: usize = 12;
/// How long a server may take to notice that an upload was broken off.
const AFTERMATH: Duration = Duration::from_millis(500);
/// Larger objects are sent while they are being made.
const PART: usize = 4 << 20;

/// A replica in a collection.
#[derive(Debug)]
pub(crate) struct WebDav {
    http: Http,
    place: Place,
    address: Address,
    login: Option<Login>,
    /// Collections that are known to be there.
    made: Mutex<HashSet<String>>,
    /// Whether the server refused to move, so that it has to copy.
    copies: AtomicBool,
}

/// A request that is about to be made.
struct Ask {
    method: Method,
    /// What it asks for, as it stands in the request.
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    fn new(method: Method, target: String) -> Ask {
        Ask { method, target, headers: HeaderMap::new(), body: Bytes::new() }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Ask {
        self.headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        self
    }
}

/// Where an address leads to, spelled one way. Many servers show each user another root.
pub(crate) fn place(address: &Address, options: &Options) -> String {
    let user = options.get("webdav-username").or(address.user.as_deref());
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    user + &Place::of(address).spelled()
}

impl WebDav {
    /// The collection of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<WebDav> {
        let of_options = |name: &str| options.get(name).map(str::to_owned);
        let name = of_options("webdav-username").or_else(|| address.user.clone());
        let password = of_options("webdav-password").or_else(|| address.password.clone());
        Ok(WebDav {
            http: Http::of(options, env)?,
            place: Place::of(address),
            address: address.clone(),
            login: name.map(|name| Login::new(name, password.unwrap_or_default())),
            made: Mutex::default(),
            copies: AtomicBool::new(false),
        })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url().trim_end_matches('/'))
    }

    /// What a request for a file asks for.
    fn file(&self, key: &str) -> String {
        self.place.target(&self.place.path(key))
    }

    /// The same for a collection. Servers want its slash.
    fn collection(&self, path: &str) -> String {
        format!("{}/", self.place.target(path).trim_end_matches('/'))
    }

    /// Asks, and says who we are if the server wants to know. Any other status is an answer.
    async fn ask(&self, object: &str, ask: Ask) -> Result<Answer> {
        let mut tries = 0;
        loop {
            let request = self.request(object, &ask, ask.body.clone())?;
            let said = request.headers().get(AUTHORIZATION).cloned();
            let answer = self.http.send(object, request).await?;
            tries += 1;
            let is_refused = answer.status() == StatusCode::UNAUTHORIZED;
            if !is_refused || tries > LOGINS || !self.is_asked(&answer, said.as_ref()) {
                return Ok(answer);
            }
            // Read to its end, the connection can be used again.
            answer.message().await;
        }
    }

    fn is_asked(&self, refusal: &Answer, said: Option<&HeaderValue>) -> bool {
        self.login.as_ref().is_some_and(|login| login.is_asked(refusal.headers(), said))
    }

    fn request<C>(&self, object: &str, ask: &Ask, content: C) -> Result<http::Request<Content>>
    where
        Content: From<C>,
    {
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(self.place.uri(&ask.target))
            .body(Content::from(content))
            .map_err(|error| Error::Unsupported {
                url: object.into(),
                reason: error.to_string(),
            })?;
        request.headers_mut().extend(ask.headers.clone());
        let login = self.login.as_ref();
        let said = login.and_then(|login| login.authorization(&ask.method, &ask.target));
        request.headers_mut().extend(said.map(|said| (AUTHORIZATION, said)));
        Ok(request)
    }

    /// What is known of a path, and with depth 1 of its members; none if it is not there.
    async fn find(&self, object: &str, target: String, depth: &str) -> Result<Option<String>> {
        let mut ask = Ask::new(method("PROPFIND"), target)
            .with(DEPTH, depth)
            .with(CONTENT_TYPE, "application/xml; charset=utf-8");
        ask.body = Bytes::from_static(collection::WANTED.as_bytes());
        let answer = self.ask(object, ask).await?;
        match answer.status() {
            StatusCode::MULTI_STATUS => answer.text().await.map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(Error::Unsupported {
                    url: object.to_owned(),
                    reason: "the server speaks no WebDAV here; hint: check host and path".into(),
                })
            }
            _ => Err(failure(object, answer).await),
        }
    }

    /// The members of a collection of the replica; none if it is not there.
    async fn members(&self, name: &str) -> Result<Vec<Member>> {
        let (object, path) = (self.object(name), self.place.path(name));
        match self.find(&object, self.collection(&path), "1").await? {
            Some(told) => collection::members(&object, &path, &told),
            None => Ok(Vec::new()),
        }
    }

    /// The size of a file; none if it is not there.
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        let object = self.object(key);
        let answer = self.ask(&object, Ask::new(Method::HEAD, self.file(key))).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status if !status.is_success() => return Err(failure(&object, answer).await),
            _ => {}
        }
        let length = answer.header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if length.is_some() {
            return Ok(length);
        }
        match self.find(&object, self.file(key), "0").await? {
            Some(told) => collection::size(&object, &told).map(Some),
            None => Ok(None),
        }
    }

    /// Makes the collection at `path` and those above it, unless they are known to be there.
    async fn make(&self, object: &str, path: &str) -> Result<()> {
        if self.is_made(path) {
            return Ok(());
        }
        let mut answer = self.make_one(object, path).await?;
        if matches!(answer.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND)
            && let Some(parent) = place::parent(path)
        {
            Box::pin(self.make(object, parent)).await?;
            answer = self.make_one(object, path).await?;
        }
        let is_there = answer.status().is_success()
            || answer.status() == StatusCode::METHOD_NOT_ALLOWED
            || self.find(object, self.collection(path), "0").await?.is_some();
        if !is_there {
            return Err(failure(object, answer).await);
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Ok(())
    }

    fn is_made(&self, path: &str) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    fn forget_made(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn make_one(&self, object: &str, path: &str) -> Result<Answer> {
        self.ask(object, Ask::new(method("MKCOL"), self.collection(path))).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let object = self.object(key);
        let answer = self.ask(&object, Ask::new(Method::DELETE, self.file(key))).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() && status != StatusCode::MULTI_STATUS => Ok(()),
            _ => Err(failure(&object, answer).await),
        }
    }
}

impl Client for WebDav {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::WebDav
    }

    fn url(&self) -> String {
        self.address.to_string()
    }

    fn layout(&self) -> Layout {
        Layout::Ltx
    }

    fn silence(&self) -> Duration {
        self.http.silence()
    }

    fn parts(&self) -> Parts {
        Parts { size: PART, most: u32::MAX, at_once: 1, equal: true, repeatable: false }
    }

    fn most_deletes(&self) -> usize {
        1
    }

    /// A page is a collection; what is left are those still to be looked into. Few servers list
    /// them all at once (`Depth: infinity`), and none should be asked to.
    async fn list(&self, prefix: &str, _from: Option<&str>, page: Option<&str>) -> Result<Page> {
        let mut left: Vec<&str> = page.unwrap_or(prefix).split('\n').collect();
        let here = left.pop().unwrap_or_default();
        let mut left: Vec<String> = left.into_iter().map(str::to_owned).collect();
        let mut entries = Vec::new();
        for member in self.members(here).await? {
            match member {
                Member::Collection { name } if !is_nothing(&name) && depth(here) < DEEPEST => {
                    left.push(format!("{here}{name}/"));
                }
                Member::File { name, size, modified } if !is_nothing(&name) => {
                    let name = format!("{here}{name}");
                    entries.push(Entry { name, size, created: modified });
                }
                _ => {}
            }
        }
        let next = (!left.is_empty()).then(|| left.join("\n"));
        Ok(Page { entries, next })
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let object = self.object(key);
        let mut ask = Ask::new(Method::GET, self.file(key));
        if let Some(range) = web::range(offset, length) {
            ask = ask.with(RANGE, &range);
        }
        let answer = self.ask(&object, ask).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer.body(offset)),
            _ => Err(failure(&object, answer).await),
        }
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        match put.condition {
            Some(_) => Err(Error::Unsupported {
                url: self.url(),
                reason: "WebDAV servers do not keep to conditions".into(),
            }),
            None => self.put_whole(put.key, put.body).await.map(|()| None),
        }
    }

    async fn begin(&self, key: &str, _created: Timestamp) -> Result<Session> {
        self.begin_stream(key).await
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        session.give(part.body).await
    }

    async fn finish(&self, session: &Session, _parts: u32, size: u64) -> Result<()> {
        session.end().await?;
        self.settle(session.temp(), session.key(), size).await
    }

    async fn abort(&self, session: &Session) -> Result<()> {
        session.stop().await;
        self.remove(session.temp()).await?;
        // Some servers store what came so far once they notice that no more will come.
        sleep(AFTERMATH).await;
        self.remove(session.temp()).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            self.remove(key).await?;
        }
        Ok(())
    }
}

/// Methods that HTTP itself does not have.
fn method(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or_default()
}

fn depth(path: &str) -> usize {
    path.matches('/').count()
}

/// What servers and desktops leave about, and what is still being written.
fn is_nothing(name: &str) -> bool {
    name.starts_with('.') || name == "lost+found" || name.ends_with(layout::TEMP_SUFFIX)
}

/// What a refusal means.
async fn failure(object: &str, answer: Answer) -> Error {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.message().await;
    // Pages for people tell no more than the status does.
    let text = if text.starts_with('<') { String::new() } else { wire::shortened(text) };
    match web::error(object, status, &headers, text) {
        Error::Io { object, source } if status == StatusCode::LOCKED => {
            Error::Throttled { object, reason: source.to_string(), after: None }
        }
        Error::Conflict { object } => {
            let source = std::io::Error::other(format!("HTTP {status}"));
            Error::Io { object, source }
        }
        error => error,
    }
}
