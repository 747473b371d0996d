//! Amazon S3, and the many that speak its language.
//!
//! Plain signed requests with no header that is not needed, since each provider refuses others:
//! no checksum trailers, no chunked signatures, no conditions on LTX files.
//! (`docs.aws.amazon.com/AmazonS3/latest/API`)

mod credentials;
mod encryption;
mod place;
mod roles;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ltx::Timestamp;
use reqsign_aws_v4::Credential;
use sha2::{Digest, Sha256};

use crate::address::{Address, Kind};
use crate::bucket::{self, Ask, CONTENT_MD5, Session, meaning, read_failure, xml};
use crate::http::{self as web, Answer, Http};
use crate::layout::Layout;
use crate::remote::{Body, Client, Page, Part, Parts, Put};
use crate::signing::Signing;
use crate::{Condition, Environment, Error, Options, Result, Version, moment, wire};
use encryption::Encryption;
use place::Place;

const SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const CREATED: HeaderName = HeaderName::from_static("x-amz-meta-litestream-timestamp");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const CONSISTENT: HeaderName = HeaderName::from_static("x-tigris-consistent");
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// The least that S3 allows.
const SMALLEST_PART: usize = 5 << 20;
/// R2 wants all parts alike, so that they must be large enough for the largest object.
const R2_PART: usize = 16 << 20;

/// A replica in a bucket.
#[derive(Debug)]
pub(crate) struct S3 {
    http: Http,
    place: Place,
    address: Address,
    options: Options,
    environment: Environment,
    encryption: Encryption,
    storage_class: Option<HeaderValue>,
    signs_payload: bool,
    parts: Parts,
    /// The region, once known, and who signs for it.
    signer: Mutex<Option<(String, Arc<Signing<Credential>>)>>,
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options, env: &Environment) -> Result<String> {
    Ok(Place::find(address, options, env)?.spelled())
}

impl S3 {
    /// The bucket and the path of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<S3> {
        let place = Place::find(address, options, env)?;
        credentials::given(options, env)?;
        let encryption = Encryption::of(options, &place)?;
        let class = options.get("storage-class").map(HeaderValue::from_str).transpose();
        let storage_class = class.map_err(|_| Error::Unsupported {
            url: "storage-class".into(),
            reason: "holds a character that no header may hold".into(),
        })?;
        Ok(S3 {
            http: Http::of(options, env)?,
            parts: parts(options, &place)?,
            signs_payload: options.switch("sign-payload")?.unwrap_or(true),
            place,
            address: address.clone(),
            options: options.clone(),
            environment: env.clone(),
            encryption,
            storage_class,
            signer: Mutex::new(None),
        })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url().trim_end_matches('/'))
    }

    /// Asks, and takes a success. A region that turns out to be another is asked in once.
    async fn ask(&self, object: &str, ask: Ask<'_>) -> Result<Answer> {
        let (region, signing) = self.signer(object).await?;
        let answer =
            self.http.send(object, self.request(object, &ask, &region, &signing).await?).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let (failure, text) = read_failure(answer).await;
        let other = header(&headers, &BUCKET_REGION).map(str::to_owned).or(failure.region.clone());
        if let Some(other) = other.filter(|other| *other != region)
            && (status.is_redirection() || failure.code == "AuthorizationHeaderMalformed")
        {
            let signing = self.sign_in(&other)?;
            let again = self.request(object, &ask, &other, &signing).await?;
            let answer = self.http.send(object, again).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let (status, headers) = (answer.status(), answer.headers().clone());
            let (failure, text) = read_failure(answer).await;
            return Err(meaning(object, status, &headers, &failure, text));
        }
        let error = meaning(object, status, &headers, &failure, text);
        if matches!(error, Error::Denied { .. } | Error::Expired { .. }) {
            signing.renew();
        }
        Err(error)
    }

    async fn request(
        &self,
        object: &str,
        ask: &Ask<'_>,
        region: &str,
        signing: &Signing<Credential>,
    ) -> Result<http::Request<Bytes>> {
        let (scheme, authority) = (self.place.scheme, self.place.authority(region));
        let path = format!("{}{}", self.place.path(), wire::path(ask.key));
        let uri = format!("{scheme}://{authority}{path}{}", wire::query(&ask.query));
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(uri)
            .body(ask.body.clone())
            .map_err(|error| Error::Unsupported {
                url: object.into(),
                reason: error.to_string(),
            })?;
        let headers = request.headers_mut();
        headers.extend(ask.headers.clone());
        let hash = match self.signs_payload {
            true => hex(&Sha256::digest(&ask.body)),
            false => "UNSIGNED-PAYLOAD".to_owned(),
        };
        headers.insert(SHA256, HeaderValue::try_from(hash).unwrap_or(HeaderValue::from_static("")));
        if self.place.quirks.tigris {
            headers.insert(CONSISTENT, HeaderValue::from_static("true"));
        }
        signing.sign(object, &mut request).await?;
        Ok(request)
    }

    async fn signer(&self, object: &str) -> Result<(String, Arc<Signing<Credential>>)> {
        let known = self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let region = match &self.place.region {
            Some(region) => region.clone(),
            None => self.find_region(object).await?,
        };
        let signing = self.sign_in(&region)?;
        Ok((region, signing))
    }

    /// Signs for a region from now on.
    fn sign_in(&self, region: &str) -> Result<Arc<Signing<Credential>>> {
        let signing = credentials::signing(&self.http, &self.options, &self.environment, region)?;
        let signing = Arc::new(signing);
        let mut signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        *signer = Some((region.to_owned(), Arc::clone(&signing)));
        Ok(signing)
    }

    /// Amazon tells anybody where a bucket is.
    async fn find_region(&self, object: &str) -> Result<String> {
        let uri = format!("https://s3.amazonaws.com/{}", self.place.bucket);
        let request = http::Request::head(uri).body(Bytes::new()).map_err(|error| {
            Error::Unsupported { url: object.into(), reason: error.to_string() }
        })?;
        let answer = self.http.send(object, request).await?;
        match answer.header(&BUCKET_REGION) {
            Some(region) => Ok(region.to_owned()),
            None if answer.status() == StatusCode::NOT_FOUND => Err(Error::NoBucket {
                object: object.to_owned(),
                reason: format!("there is no bucket {}", self.place.bucket),
            }),
            None => Ok("us-east-1".to_owned()),
        }
    }

    fn created(&self, created: Option<Timestamp>) -> HeaderMap {
        let mut headers = self.encryption.on_create.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let created = created.map(moment::to_rfc3339).map(HeaderValue::try_from);
        if let Some(Ok(created)) = created {
            headers.insert(CREATED, created);
        }
        if let Some(class) = &self.storage_class {
            headers.insert(STORAGE_CLASS, class.clone());
        }
        headers.extend(self.encryption.on_access.clone());
        headers
    }

    async fn delete_one(&self, key: &str) -> Result<()> {
        let (object, key) = (self.object(key), self.place.key(key));
        let ask = Ask { method: Method::DELETE, key: &key, ..Ask::of_bucket() };
        match self.ask(&object, ask).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Client for S3 {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::S3
    }

    fn url(&self) -> String {
        self.address.to_string()
    }

    fn layout(&self) -> Layout {
        Layout::Hex
    }

    fn parts(&self) -> Parts {
        self.parts
    }

    fn silence(&self) -> Duration {
        self.http.silence()
    }

    async fn list(&self, prefix: &str, from: Option<&str>, page: Option<&str>) -> Result<Page> {
        let object = self.object(prefix);
        let prefix = self.place.key(prefix);
        let from = from.map(|from| self.place.key(from));
        let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
        match (page, &from) {
            (Some(page), _) => query.push(("continuation-token", page)),
            (None, Some(from)) => query.push(("start-after", from)),
            (None, None) => {}
        }
        let ask = Ask { query, ..Ask::of_bucket() };
        let answer = self.ask(&object, ask).await.map_err(bucket::no_bucket)?;
        bucket::page(&object, &answer.text().await?, |key| self.place.relative(key))
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let (object, key) = (self.object(key), self.place.key(key));
        let mut headers = self.encryption.on_access.clone();
        if let Some(Ok(range)) = web::range(offset, length).map(HeaderValue::try_from) {
            headers.insert(RANGE, range);
        }
        let answer = self.ask(&object, Ask { key: &key, headers, ..Ask::of_bucket() }).await?;
        let version = answer.header(ETAG).map(|tag| Version(tag.to_owned()));
        Ok(answer.body(offset).with_version(version))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let (object, key) = (self.object(put.key), self.place.key(put.key));
        let mut headers = self.created(put.created);
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
        let ask =
            Ask { method: Method::PUT, key: &key, headers, body: put.body, ..Ask::of_bucket() };
        let answer = self.ask(&object, ask).await?;
        bucket::stored(&object, &answer).map(Some)
    }

    async fn begin(&self, key: &str, created: Timestamp) -> Result<Session> {
        let (object, key) = (self.object(key), self.place.key(key));
        let ask = Ask {
            method: Method::POST,
            key: &key,
            query: vec![("uploads", "")],
            headers: self.created(Some(created)),
            ..Ask::of_bucket()
        };
        let answer = self.ask(&object, ask).await?;
        Session::begun(&object, key, answer).await
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        let number = (part.number + 1).to_string();
        let ask = Ask {
            method: Method::PUT,
            key: &session.key,
            query: vec![("partNumber", &number), ("uploadId", &session.upload)],
            headers: self.encryption.on_access.clone(),
            body: part.body,
        };
        let answer = self.ask(&session.object, ask).await?;
        session.note(part.number + 1, &answer)
    }

    async fn finish(&self, session: &Session, parts: u32, _size: u64) -> Result<()> {
        let ask = Ask {
            method: Method::POST,
            key: &session.key,
            query: vec![("uploadId", &session.upload)],
            body: session.completion(parts)?,
            ..Ask::of_bucket()
        };
        bucket::finished(&session.object, self.ask(&session.object, ask).await?).await
    }

    async fn abort(&self, session: &Session) -> Result<()> {
        let query = vec![("uploadId", session.upload.as_str())];
        let ask = Ask { method: Method::DELETE, key: &session.key, query, ..Ask::of_bucket() };
        self.ask(&session.object, ask).await.map(|_| ())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        if self.place.quirks.single_deletes || keys.len() == 1 {
            for key in keys {
                self.delete_one(key).await?;
            }
            return Ok(());
        }
        let object = self.object("");
        let names: Vec<String> = keys.iter().map(|key| self.place.key(key)).collect();
        let body = Bytes::from(xml::deletion(names.iter().map(String::as_str), true));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if self.place.quirks.delete_md5 {
            headers.insert(CONTENT_MD5, bucket::sum(&body));
        }
        let (method, query) = (Method::POST, vec![("delete", "")]);
        let answer = self.ask(&object, Ask { method, key: "", query, headers, body }).await?;
        let deleted: xml::Deleted =
            wire::from_xml_of(&object, xml::DELETED, &answer.text().await?)?;
        let is_there = |it: &&xml::NotDeleted| it.code != "NoSuchKey";
        let Some(left) = deleted.errors.iter().find(is_there) else { return Ok(()) };
        let key = self.place.relative(&left.key).unwrap_or(&left.key);
        Err(bucket::meaning_of_code(&self.object(key), &left.code, &left.message))
    }
}

fn parts(options: &Options, place: &Place) -> Result<Parts> {
    let quirks = place.quirks;
    let size = wire::byte_size(options, "part-size")?;
    let size = size.unwrap_or(if quirks.r2 { R2_PART } else { SMALLEST_PART });
    if size < SMALLEST_PART {
        return Err(Error::Unsupported {
            url: "part-size".into(),
            reason: "S3 wants parts of 5 MiB or more".into(),
        });
    }
    let at_once: Option<usize> = options.parse("concurrency", "is a number from 1 on")?;
    let at_once = at_once.unwrap_or(if quirks.r2 { 2 } else { 5 }).max(1);
    Ok(Parts { size, most: 10_000, at_once, equal: quirks.r2, repeatable: true })
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
