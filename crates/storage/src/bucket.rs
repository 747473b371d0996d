//! Objects in a bucket, as Amazon's S3 has them and those who came after it: the shape of
//! requests, uploads in parts, pages of a listing, and what failures mean.

mod failure;
pub(crate) mod xml;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use crate::http::Answer;
use crate::remote::{Entry, Page};
use crate::{Error, Result, Version, moment, wire};
pub(crate) use failure::{finished, meaning, meaning_of_code, read_failure};

pub(crate) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// A request that is about to be made.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// The name in the bucket; empty for the bucket itself.
    pub(crate) key: &'a str,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask<'_> {
    /// About the bucket itself, with nothing else said yet.
    pub(crate) fn of_bucket() -> Self {
        let (query, headers, body) = (Vec::new(), HeaderMap::new(), Bytes::new());
        Ask { method: Method::GET, key: "", query, headers, body }
    }
}

/// An upload in parts, and the tags of those that have arrived.
#[derive(Debug)]
pub(crate) struct Session {
    /// For messages.
    pub(crate) object: String,
    pub(crate) key: String,
    pub(crate) upload: String,
    tags: Mutex<BTreeMap<u32, String>>,
}

impl Session {
    /// What the server said about its beginning.
    pub(crate) async fn begun(object: &str, key: String, answer: Answer) -> Result<Session> {
        let begun: xml::Begun = wire::from_xml(object, &answer.text().await?)?;
        Ok(Session {
            object: object.to_owned(),
            key,
            upload: begun.upload_id,
            tags: Mutex::default(),
        })
    }

    /// Notes what the server said about the part of a number from 1 on.
    pub(crate) fn note(&self, number: u32, answer: &Answer) -> Result<()> {
        let Version(tag) = stored(&self.object, answer)?;
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).insert(number, tag);
        Ok(())
    }

    /// What makes an object of so many parts.
    ///
    /// Fails if one of them has not arrived: the server would make an object without it.
    pub(crate) fn completion(&self, parts: u32) -> Result<Bytes> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() != parts as usize {
            let reason = format!("{} of its {parts} parts have arrived", tags.len());
            let source = std::io::Error::other(reason);
            return Err(Error::Io { object: self.object.clone(), source });
        }
        let tags = tags.iter().map(|(number, tag)| (*number, tag.as_str()));
        Ok(Bytes::from(xml::completion(tags)))
    }
}

/// A page of a listing about `object`; `relative` is the name below the replica's root of a name
/// in the bucket, if it is below it.
pub(crate) fn page(
    object: &str,
    text: &str,
    relative: impl Fn(&str) -> Option<&str>,
) -> Result<Page> {
    let listing: xml::Listing = wire::from_xml_of(object, xml::LISTING, text)?;
    let is_escaped = listing.encoding_type.as_deref() == Some("url");
    let plain = |text: String| match is_escaped {
        true => percent_decode_str(&text).decode_utf8_lossy().into_owned(),
        false => text,
    };
    let mut entries = Vec::with_capacity(listing.contents.len());
    for content in listing.contents {
        let key = plain(content.key);
        let Some(name) = relative(&key) else { continue };
        let created = moment::from_rfc3339(object, &content.last_modified)?;
        entries.push(Entry { name: name.to_owned(), size: content.size, created });
    }
    let next = listing.next_continuation_token.filter(|_| listing.is_truncated).map(plain);
    if listing.is_truncated && next.is_none() {
        let reason = "a listing goes on, but the server does not say where".into();
        return Err(Error::Corrupt { object: object.to_owned(), reason });
    }
    Ok(Page { entries, next })
}

/// The version of what was stored: who gives none has stored nothing, whatever he says.
pub(crate) fn stored(object: &str, answer: &Answer) -> Result<Version> {
    let tag = answer.header(ETAG).map(|tag| Version(tag.to_owned()));
    tag.ok_or_else(|| Error::Corrupt {
        object: object.to_owned(),
        reason: "the server gave what it stored no ETag".into(),
    })
}

/// A bucket that cannot be listed since it is not there is no empty one.
pub(crate) fn no_bucket(error: Error) -> Error {
    match error {
        Error::NotFound { object } => {
            Error::NoBucket { object, reason: "there is no such bucket".into() }
        }
        error => error,
    }
}

/// The value of a `Content-MD5` header.
pub(crate) fn sum(body: &[u8]) -> HeaderValue {
    let sum = BASE64.encode(Md5::digest(body));
    HeaderValue::try_from(sum).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_escaped_are_read_plain() {
        let xml = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true\
            </IsTruncated><NextContinuationToken>a%2Fb</NextContinuationToken><Contents>\
            <Key>p/a%20b%2B</Key><LastModified>2026-11-22T21:16:11.000Z</LastModified>\
            <Size>5</Size></Contents></ListBucketResult>";
        let found = page("o", xml, |key| key.strip_prefix("p/")).expect("a page");
        assert_eq!((found.entries[0].name.as_str(), found.entries[0].size), ("a b+", 5));
        assert_eq!(found.next.as_deref(), Some("a/b"));
        let plain = xml.replace("<EncodingType>url</EncodingType>", "");
        let found = page("o", &plain, |key| key.strip_prefix("p/")).expect("a page");
        assert_eq!(found.entries[0].name, "a%20b%2B");
        let endless = xml.replace("NextContinuationToken", "Nothing");
        assert!(page("o", &endless, |key| key.strip_prefix("p/")).is_err());
    }
}
