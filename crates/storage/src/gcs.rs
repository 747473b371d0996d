//! Google Cloud Storage, by its JSON interface.
//!
//! Small objects go up whole, with what is noted of them in the same request; large ones piece
//! after piece. (`cloud.google.com/storage/docs/json_api/v1`)

mod credentials;
mod failure;
mod json;
mod place;
mod resumable;
mod token;

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ltx::Timestamp;
use reqsign_google::Credential;

use crate::address::{Address, Kind};
use crate::http::{self as web, Answer, Http};
use crate::layout::Layout;
use crate::remote::{Body, Client, Entry, Page, Part, Parts, Put};
use crate::signing::Signing;
use crate::{Condition, Environment, Error, Options, Result, Version, moment, wire};
use place::Place;
use resumable::{GRAIN, Session};

const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FIELDS: &str = "kind,nextPageToken,items(name,size,timeCreated,metadata)";
/// As many as there may be.
const PAGE_SIZE: &str = "1000";

/// The pieces of a session come in order, and their number has no end.
const PARTS: Parts =
    Parts { size: 32 * GRAIN, most: u32::MAX, at_once: 1, equal: false, repeatable: true };

/// A replica in a bucket.
#[derive(Debug)]
pub(crate) struct Gcs {
    http: Http,
    place: Place,
    address: Address,
    /// None where nobody asks who we are.
    signing: Option<Signing<Credential>>,
}

/// A request that is about to be made.
struct Ask<'a> {
    method: Method,
    uri: String,
    query: &'a [(&'a str, &'a str)],
    headers: HeaderMap,
    body: Bytes,
}

impl<'a> Ask<'a> {
    fn new(method: Method, uri: String, query: &'a [(&'a str, &'a str)]) -> Ask<'a> {
        Ask { method, uri, query, headers: HeaderMap::new(), body: Bytes::new() }
    }

    fn with(mut self, content_type: HeaderValue, body: Bytes) -> Ask<'a> {
        self.headers.insert(CONTENT_TYPE, content_type);
        Ask { body, ..self }
    }
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options, env: &Environment) -> Result<String> {
    Ok(Place::find(address, options, env)?.spelled())
}

impl Gcs {
    /// The bucket and the path of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<Gcs> {
        let place = Place::find(address, options, env)?;
        let http = Http::of(options, env)?;
        let signs = !place.is_emulator;
        let signing = signs.then(|| credentials::signing(&http, options, env));
        Ok(Gcs { http, place, address: address.clone(), signing })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.address.to_string().trim_end_matches('/'))
    }

    /// Asks, and takes a success. `in_bucket` tells whether it is about an object that may be
    /// missing.
    async fn ask(&self, object: &str, in_bucket: bool, ask: Ask<'_>) -> Result<Answer> {
        let answer = self.send(object, &ask).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(failure::read(object, in_bucket, answer).await),
        }
    }

    /// Asks, whatever the answer. Credentials that are not taken are looked up anew, once.
    async fn send(&self, object: &str, ask: &Ask<'_>) -> Result<Answer> {
        let answer = self.http.send(object, self.request(object, ask).await?).await?;
        match &self.signing {
            Some(signing) if answer.status() == StatusCode::UNAUTHORIZED => {
                signing.renew();
                self.http.send(object, self.request(object, ask).await?).await
            }
            _ => Ok(answer),
        }
    }

    async fn request(&self, object: &str, ask: &Ask<'_>) -> Result<http::Request<Bytes>> {
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(format!("{}{}", ask.uri, wire::query(ask.query)))
            .body(ask.body.clone())
            .map_err(|error| Error::Unsupported {
                url: object.into(),
                reason: error.to_string(),
            })?;
        request.headers_mut().extend(ask.headers.clone());
        if let Some(signing) = &self.signing {
            signing.sign(object, &mut request).await?;
        }
        Ok(request)
    }

    /// Reads what the server says of an object that it has stored: all of it must be there.
    async fn stored(&self, key: &str, size: Option<u64>, answer: Answer) -> Result<Version> {
        let object = self.object(key);
        let stored: json::Object = wire::from_json(&object, &answer.text().await?)?;
        match size {
            Some(size) if stored.size == size.to_string() => Ok(Version(stored.generation)),
            _ => {
                let reason = format!("it has stored {} bytes of {size:?}", stored.size);
                Err(Error::Corrupt { object, reason })
            }
        }
    }

    fn entry(&self, object: &str, item: &json::Object) -> Result<Option<Entry>> {
        let Some(name) = self.place.relative(&item.name) else { return Ok(None) };
        let noted = item.noted().and_then(|it| moment::from_rfc3339(object, it).ok());
        let created = match noted {
            Some(noted) => noted,
            None => moment::from_rfc3339(object, &item.time_created)?,
        };
        let size = item.size.parse().map_err(|_| Error::Corrupt {
            object: object.to_owned(),
            reason: format!("{} has the size {:?}", item.name, item.size),
        })?;
        Ok(Some(Entry { name: name.to_owned(), size, created }))
    }
}

impl Client for Gcs {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::Gs
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
        PARTS
    }

    fn most_deletes(&self) -> usize {
        1
    }

    async fn list(&self, prefix: &str, from: Option<&str>, page: Option<&str>) -> Result<Page> {
        let object = self.object(prefix);
        let (prefix, from) = (self.place.name(prefix), from.map(|from| self.place.name(from)));
        let mut query = vec![("prefix", prefix.as_str()), ("maxResults", PAGE_SIZE)];
        query.push(("fields", FIELDS));
        query.extend(from.as_deref().map(|from| ("startOffset", from)));
        query.extend(page.map(|page| ("pageToken", page)));
        let ask = Ask::new(Method::GET, self.place.objects_uri(), &query);
        let text = self.ask(&object, false, ask).await?.text().await?;
        let listing = json::Listing::read(&object, &text)?;
        let mut entries = Vec::with_capacity(listing.items.len());
        for item in &listing.items {
            entries.extend(self.entry(&object, item)?);
        }
        Ok(Page { entries, next: listing.next_page_token.filter(|token| !token.is_empty()) })
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let mut ask = Ask::new(Method::GET, self.place.object_uri(key), &[("alt", "media")]);
        if let Some(Ok(range)) = web::range(offset, length).map(HeaderValue::try_from) {
            ask.headers.insert(RANGE, range);
        }
        let answer = self.ask(&self.object(key), true, ask).await?;
        let version = answer.header(GENERATION).map(|it| Version(it.to_owned()));
        Ok(answer.body(offset).with_version(version))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let mut query = vec![("uploadType", "multipart")];
        match put.condition {
            Some(Condition::Absent) => query.push(("ifGenerationMatch", "0")),
            Some(Condition::Unchanged(Version(it))) => query.push(("ifGenerationMatch", it)),
            None => {}
        }
        let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let noted = json::new(&self.place.name(put.key), put.created);
        let body = in_two_parts(&boundary, &noted, &put.body);
        let related = HeaderValue::try_from(format!("multipart/related; boundary={boundary}"))
            .unwrap_or(JSON);
        let ask = Ask::new(Method::POST, self.place.upload_uri(), &query).with(related, body);
        let answer = self.ask(&self.object(put.key), false, ask).await?;
        self.stored(put.key, Some(put.body.len() as u64), answer).await.map(Some)
    }

    async fn begin(&self, key: &str, created: Timestamp) -> Result<Session> {
        Session::begin(self, key, created).await
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        session.put(self, part).await
    }

    async fn finish(&self, session: &Session, _parts: u32, size: u64) -> Result<()> {
        session.finish(self, size).await
    }

    async fn abort(&self, session: &Session) -> Result<()> {
        session.abort(self).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            let ask = Ask::new(Method::DELETE, self.place.object_uri(key), &[]);
            match self.ask(&self.object(key), true, ask).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is noted of an object, and its bytes. (RFC 2387)
fn in_two_parts(boundary: &str, noted: &str, bytes: &[u8]) -> Bytes {
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{noted}\r\n\
         --{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    Bytes::from([head.as_bytes(), bytes, tail.as_bytes()].concat())
}
