//! Azure Blob storage.
//!
//! Block blobs: small ones whole, large ones as blocks that are listed at the end.
//! (`learn.microsoft.com/rest/api/storageservices/blob-service-rest-api`)

mod connection;
mod credentials;
mod failure;
mod identity;
mod place;
mod xml;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ltx::Timestamp;
use reqsign_azure_storage::Credential;

use crate::address::{Address, Kind};
use crate::http::{self as web, Answer, Http};
use crate::layout::Layout;
use crate::remote::{Body, Client, Entry, Page, Part, Parts, Put};
use crate::signing::Signing;
use crate::{Condition, Environment, Error, Options, Result, Version, moment, wire};
use connection::Connection;
use credentials::Source;
use place::Place;

/// With names in listings that XML cannot hold, and blocks of 4000 MiB.
const API: HeaderValue = HeaderValue::from_static("2021-12-02");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");
const BLOB_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-content-type");
const ACCESS_TIER: HeaderName = HeaderName::from_static("x-ms-access-tier");
const CREATED: HeaderName = HeaderName::from_static("x-ms-meta-litestreamtimestamp");
const NOTED: &str = "litestreamtimestamp";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

const PARTS: Parts =
    Parts { size: 5 << 20, most: 50_000, at_once: 5, equal: false, repeatable: true };

/// A replica in a container.
#[derive(Debug)]
pub(crate) struct Azure {
    http: Http,
    place: Place,
    address: Address,
    signing: Signing<Credential>,
    is_renewable: bool,
    /// When a signature that we were given ends.
    ends: Option<jiff::Timestamp>,
    /// Names on a page of a listing; as many as the server likes if none.
    page_size: Option<u32>,
}

/// An upload in blocks.
#[derive(Debug)]
pub(crate) struct Session {
    key: String,
    created: Timestamp,
    /// Tells the blocks of this upload from those that an earlier one has left.
    number: u64,
}

/// A request that is about to be made.
struct Ask<'a> {
    method: Method,
    uri: String,
    query: &'a [(&'a str, &'a str)],
    headers: HeaderMap,
    body: Bytes,
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options, env: &Environment) -> Result<String> {
    Ok(find(address, options, env)?.0.spelled())
}

fn find(address: &Address, options: &Options, env: &Environment) -> Result<(Place, Connection)> {
    let string =
        options.get("connection-string").or_else(|| env.get("AZURE_STORAGE_CONNECTION_STRING"));
    let connection = string.map(Connection::parse).transpose()?.unwrap_or_default();
    let named = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
    let account = named.iter().find_map(|name| env.get(name));
    Ok((Place::find(address, options, &connection, account)?, connection))
}

impl Azure {
    /// The container and the path of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<Azure> {
        let (place, connection) = find(address, options, env)?;
        let source = Source::find(options, env, &connection)?;
        let http = Http::of(options, env)?;
        let signing = credentials::signing(&http, env, &source, place.account.as_deref())?;
        Ok(Azure {
            http,
            place,
            address: address.clone(),
            signing,
            is_renewable: source.is_renewable(),
            ends: source.ends(),
            page_size: None,
        })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.address.to_string().trim_end_matches('/'))
    }

    fn blob(&self, key: &str) -> String {
        self.place.blob_uri(&self.place.name(key))
    }

    /// Asks, and takes a success. Credentials that are not taken are looked up anew, once.
    async fn ask(&self, object: &str, ask: Ask<'_>) -> Result<Answer> {
        let mut answer = self.http.send(object, self.request(object, &ask).await?).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.is_renewable {
            self.signing.renew();
            answer = self.http.send(object, self.request(object, &ask).await?).await?;
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(match failure::read(object, answer).await {
            Error::Denied { object, reason } if self.is_over() => Error::Expired { object, reason },
            error => error,
        })
    }

    fn is_over(&self) -> bool {
        self.ends.is_some_and(|end| end <= jiff::Timestamp::now())
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
        let headers = request.headers_mut();
        headers.extend(ask.headers.clone());
        headers.insert(VERSION, API);
        // It is signed, too.
        if ask.method == Method::PUT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(ask.body.len()));
        }
        self.signing.sign(object, &mut request).await?;
        Ok(request)
    }

    /// The headers of a new blob. Most live for minutes, which is dear where it is not hot.
    fn created(created: Option<Timestamp>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_TIER, HeaderValue::from_static("Hot"));
        let created = created.map(moment::to_rfc3339).map(HeaderValue::try_from);
        if let Some(Ok(created)) = created {
            headers.insert(CREATED, created);
        }
        headers
    }

    fn entry(&self, object: &str, blob: &xml::Blob) -> Result<Option<Entry>> {
        let name = blob.name();
        let Some(name) = self.place.relative(&name).filter(|_| !blob.is_directory()) else {
            return Ok(None);
        };
        let noted = blob.noted(NOTED).and_then(|it| moment::from_rfc3339(object, it).ok());
        let properties = &blob.properties;
        let created = match noted {
            Some(noted) => noted,
            None => {
                let arrived = properties.created.as_ref().unwrap_or(&properties.modified);
                moment::from_http(object, arrived)?
            }
        };
        Ok(Some(Entry { name: name.to_owned(), size: properties.size, created }))
    }
}

impl Session {
    /// All names of blocks of a blob must have the same length.
    fn block(&self, part: u32) -> String {
        BASE64.encode(format!("{:016x}-{part:06}", self.number))
    }
}

impl Ask<'_> {
    fn get(uri: String) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Ask { method: Method::GET, uri, query: &[], headers, body }
    }
}

/// Whoever answers in Azure's place may call anything a success.
fn created(object: &str, answer: &Answer) -> Result<()> {
    match answer.status() {
        StatusCode::CREATED => Ok(()),
        other => {
            let reason = format!("{other} is no answer to an upload");
            Err(Error::Corrupt { object: object.to_owned(), reason })
        }
    }
}

/// The version of what was stored.
fn stored(object: &str, answer: &Answer) -> Result<Version> {
    created(object, answer)?;
    let version = answer.header(ETAG).map(|tag| Version(tag.to_owned()));
    let reason = "the answer to an upload has no ETag".to_owned();
    version.ok_or_else(|| Error::Corrupt { object: object.to_owned(), reason })
}

impl Client for Azure {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::Abs
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

    /// Begins at the first name: the server cannot seek.
    async fn list(&self, prefix: &str, _from: Option<&str>, page: Option<&str>) -> Result<Page> {
        let object = self.object(prefix);
        let (prefix, size) = (self.place.name(prefix), self.page_size.map(|it| it.to_string()));
        let mut query = vec![("restype", "container"), ("comp", "list"), ("include", "metadata")];
        query.push(("prefix", &prefix));
        query.extend(size.as_deref().map(|size| ("maxresults", size)));
        query.extend(page.map(|page| ("marker", page)));
        let ask = Ask { query: &query, ..Ask::get(self.place.container_uri()) };
        let text = self.ask(&object, ask).await?.text().await?;
        let text = text.trim_start_matches('\u{feff}');
        let listing: xml::Listing = wire::from_xml_of(&object, "EnumerationResults", text)?;
        let mut entries = Vec::with_capacity(listing.blobs.blob.len());
        for blob in &listing.blobs.blob {
            entries.extend(self.entry(&object, blob)?);
        }
        Ok(Page { entries, next: listing.next_marker.filter(|marker| !marker.is_empty()) })
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let object = self.object(key);
        let mut headers = HeaderMap::new();
        if let Some(Ok(range)) = web::range(offset, length).map(HeaderValue::try_from) {
            headers.insert(RANGE, range);
        }
        let answer = self.ask(&object, Ask { headers, ..Ask::get(self.blob(key)) }).await?;
        let version = answer.header(ETAG).map(|tag| Version(tag.to_owned()));
        Ok(answer.body(offset).with_version(version))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let object = self.object(put.key);
        let mut headers = Azure::created(put.created);
        headers.insert(BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
        headers.insert(CONTENT_TYPE, OCTETS);
        match put.condition {
            Some(Condition::Absent) => {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            Some(Condition::Unchanged(Version(tag))) => {
                if let Ok(tag) = HeaderValue::try_from(tag) {
                    headers.insert(IF_MATCH, tag);
                }
            }
            None => {}
        }
        let (method, body) = (Method::PUT, put.body);
        let ask = Ask { method, headers, body, ..Ask::get(self.blob(put.key)) };
        let answer = self.ask(&object, ask).await?;
        stored(&object, &answer).map(Some)
    }

    /// There is nothing to announce.
    async fn begin(&self, key: &str, created: Timestamp) -> Result<Session> {
        Ok(Session { key: key.to_owned(), created, number: fastrand::u64(..) })
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        let id = session.block(part.number);
        let query = [("comp", "block"), ("blockid", id.as_str())];
        let uri = self.blob(&session.key);
        let ask = Ask { method: Method::PUT, query: &query, body: part.body, ..Ask::get(uri) };
        let object = self.object(&session.key);
        created(&object, &self.ask(&object, ask).await?)
    }

    async fn finish(&self, session: &Session, parts: u32, _size: u64) -> Result<()> {
        let ids: Vec<String> = (0..parts).map(|part| session.block(part)).collect();
        let body = Bytes::from(xml::blocks(ids.iter().map(String::as_str)));
        let mut headers = Azure::created(Some(session.created));
        headers.insert(BLOB_CONTENT_TYPE, OCTETS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let (method, query) = (Method::PUT, &[("comp", "blocklist")]);
        let ask = Ask { method, query, headers, body, ..Ask::get(self.blob(&session.key)) };
        let object = self.object(&session.key);
        stored(&object, &self.ask(&object, ask).await?).map(drop)
    }

    /// The server forgets blocks that are in no list after a week; nobody can do so earlier.
    async fn abort(&self, _session: &Session) -> Result<()> {
        Ok(())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            let ask = Ask { method: Method::DELETE, ..Ask::get(self.blob(key)) };
            match self.ask(&self.object(key), ask).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
