//! Alibaba Cloud OSS.
//!
//! Its requests are shaped like those of S3, with other names, its own signatures and one
//! condition: that an object is not there yet. (`alibabacloud.com/help/en/oss/developer-reference`)

mod credentials;
mod place;

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HOST, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ltx::Timestamp;
use reqsign_aliyun_oss::Credential;

use crate::address::{Address, Kind};
use crate::bucket::{self, Ask, CONTENT_MD5, Session, meaning, read_failure, xml};
use crate::http::{self as web, Answer, Http};
use crate::layout::Layout;
use crate::remote::{Body, Client, Page, Part, Parts, Put};
use crate::signing::Signing;
use crate::{Condition, Environment, Error, Options, Result, Version, moment, wire};
use place::Place;

const CREATED: HeaderName = HeaderName::from_static("x-oss-meta-litestream-timestamp");
const FORBID_OVERWRITE: HeaderName = HeaderName::from_static("x-oss-forbid-overwrite");
/// Without it, a range beyond an object's end brings the whole object.
const RANGE_BEHAVIOR: HeaderName = HeaderName::from_static("x-oss-range-behavior");

/// The least that OSS allows.
const SMALLEST_PART: usize = 100 << 10;
const USUAL_PART: usize = 5 << 20;

/// A replica in a bucket.
#[derive(Debug)]
pub(crate) struct Oss {
    http: Http,
    place: Place,
    address: Address,
    parts: Parts,
    signing: Signing<Credential>,
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options) -> Result<String> {
    Ok(Place::find(address, options)?.spelled())
}

impl Oss {
    /// The bucket and the path of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<Oss> {
        let place = Place::find(address, options)?;
        let http = Http::of(options, env)?;
        let signing = credentials::signing(&http, options, env, &place)?;
        Ok(Oss { http, place, address: address.clone(), parts: parts(options)?, signing })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url().trim_end_matches('/'))
    }

    /// Asks, and takes a success.
    async fn ask(&self, object: &str, ask: Ask<'_>) -> Result<Answer> {
        let request = self.request(object, ask).await?;
        let answer = self.http.send(object, request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let (failure, text) = read_failure(answer).await;
        let error = meaning(object, status, &headers, &failure, text);
        if matches!(error, Error::Denied { .. } | Error::Expired { .. }) {
            self.signing.renew();
        }
        Err(error)
    }

    async fn request(&self, object: &str, ask: Ask<'_>) -> Result<http::Request<Bytes>> {
        let (scheme, authority) = (self.place.scheme, self.place.authority());
        let path = format!("{}{}", self.place.path(), wire::path(ask.key));
        let uri = format!("{scheme}://{authority}{path}{}", wire::query(&ask.query));
        let unusable = |reason: String| Error::Unsupported { url: object.to_owned(), reason };
        let mut request = http::Request::builder()
            .method(ask.method)
            .uri(uri)
            .body(ask.body)
            .map_err(|error| unusable(error.to_string()))?;
        let host = HeaderValue::try_from(authority).map_err(|error| unusable(error.to_string()))?;
        let sum = bucket::sum(request.body());
        let has_body = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.extend(ask.headers);
        // The host is signed, too: a request is good for its bucket alone.
        headers.insert(HOST, host);
        // The signature does not cover the body.
        if has_body {
            headers.insert(CONTENT_MD5, sum);
        }
        self.signing.sign(object, &mut request).await?;
        Ok(request)
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

impl Client for Oss {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::Oss
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
        let mut query = vec![
            ("list-type", "2"),
            ("max-keys", "1000"),
            ("encoding-type", "url"),
            ("prefix", prefix.as_str()),
        ];
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
        let mut headers = HeaderMap::new();
        if let Some(Ok(range)) = web::range(offset, length).map(HeaderValue::try_from) {
            headers.insert(RANGE, range);
            headers.insert(RANGE_BEHAVIOR, HeaderValue::from_static("standard"));
        }
        let answer = self.ask(&object, Ask { key: &key, headers, ..Ask::of_bucket() }).await?;
        let version = answer.header(ETAG).map(|tag| Version(tag.to_owned()));
        Ok(answer.body(offset).with_version(version))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let (object, key) = (self.object(put.key), self.place.key(put.key));
        let mut headers = created(put.created);
        match put.condition {
            Some(Condition::Absent) => {
                headers.insert(FORBID_OVERWRITE, HeaderValue::from_static("true"));
            }
            Some(Condition::Unchanged(_)) => {
                return Err(Error::Unsupported {
                    url: self.url(),
                    reason: "OSS cannot replace an object on a condition".into(),
                });
            }
            None => {}
        }
        let ask =
            Ask { method: Method::PUT, key: &key, headers, body: put.body, ..Ask::of_bucket() };
        let answer = self.ask(&object, ask).await?;
        bucket::stored(&object, &answer).map(Some)
    }

    async fn begin(&self, key: &str, at: Timestamp) -> Result<Session> {
        let (object, key) = (self.object(key), self.place.key(key));
        let ask = Ask {
            method: Method::POST,
            key: &key,
            query: vec![("uploads", "")],
            headers: created(Some(at)),
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
            body: part.body,
            ..Ask::of_bucket()
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
        if let [key] = keys {
            return self.delete_one(key).await;
        }
        let object = self.object("");
        let names: Vec<String> = keys.iter().map(|key| self.place.key(key)).collect();
        let ask = Ask {
            method: Method::POST,
            query: vec![("delete", "")],
            body: Bytes::from(xml::deletion(names.iter().map(String::as_str), false)),
            ..Ask::of_bucket()
        };
        let answer = self.ask(&object, ask).await?;
        let deleted: xml::Deleted =
            wire::from_xml_of(&object, xml::DELETED, &answer.text().await?)?;
        let gone: HashSet<&str> = deleted.gone.iter().map(|it| it.key.as_str()).collect();
        // OSS does not say why it kept an object; asked about that one alone, it does.
        for (key, name) in keys.iter().zip(&names) {
            if !gone.contains(name.as_str()) {
                self.delete_one(key).await?;
            }
        }
        Ok(())
    }
}

fn created(created: Option<Timestamp>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(Ok(created)) = created.map(moment::to_rfc3339).map(HeaderValue::try_from) {
        headers.insert(CREATED, created);
    }
    headers
}

fn parts(options: &Options) -> Result<Parts> {
    let size = wire::byte_size(options, "part-size")?.unwrap_or(USUAL_PART);
    if size < SMALLEST_PART {
        return Err(Error::Unsupported {
            url: "part-size".into(),
            reason: "OSS wants parts of 100 KiB or more".into(),
        });
    }
    let at_once: Option<usize> = options.parse("concurrency", "is a number from 1 on")?;
    let at_once = at_once.unwrap_or(3).max(1);
    Ok(Parts { size, most: 10_000, at_once, equal: false, repeatable: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::block_on;

    fn oss(url: &str) -> Oss {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let address = Address::parse(scheme, rest).expect("an address");
        let options: Options =
            [("access-key-id", "ak"), ("secret-access-key", "sk"), ("session-token", "token")]
                .into_iter()
                .collect();
        Oss::new(&address, &options.or(&address.query), &Environment::default()).expect(url)
    }

    #[test]
    fn requests_go_to_the_host_of_the_bucket_and_are_signed() {
        let oss = oss("oss://bkt.oss-cn-beijing.aliyuncs.com/app");
        let body = Bytes::from_static(b"hello");
        let ask = Ask { method: Method::PUT, key: "app/x", body, ..Ask::of_bucket() };
        let request = block_on(oss.request("o", ask)).expect("a request");
        assert_eq!(request.uri(), "https://bkt.oss-cn-beijing.aliyuncs.com/app/x");
        let header = |name: &str| {
            let value = request.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
            value.to_str().expect(name).to_owned()
        };
        assert_eq!(header("content-md5"), "XUFAKrxLKna5cZ2REBfFkg==");
        assert_eq!(header("x-oss-content-sha256"), "UNSIGNED-PAYLOAD");
        assert_eq!(header("x-oss-security-token"), "token");
        let (date, signature) = (header("x-oss-date"), header("authorization"));
        let scope = format!("ak/{}/cn-beijing/oss/aliyun_v4_request", &date[..8]);
        let expected =
            format!("OSS4-HMAC-SHA256 Credential={scope}, AdditionalHeaders=host, Signature=");
        assert!(signature.starts_with(&expected), "{signature}");
        assert!(!format!("{oss:?}").contains("sk"), "{oss:?}");
    }

    #[test]
    fn parts_have_sizes_that_oss_takes() {
        let of = |size: &str| parts(&[("part-size", size)].into_iter().collect());
        assert_eq!(of("100KiB").expect("a size").size, 100 << 10);
        assert!(of("99KiB").is_err());
        assert_eq!(parts(&Options::new()).expect("a size").size, 5 << 20);
    }
}
