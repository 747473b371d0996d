//! How an object store is laid out in a stream: what is said of an object is the last message of a
//! subject, its bytes are the messages of another. (NATS ADR-20)

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE as BASE64;
use ltx::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Result, moment, wire};

/// Where Litestream notes when a file was created.
const CREATED: &str = "Litestream-Timestamp";

/// What is said of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) bucket: String,
    /// Names the subject of its bytes.
    pub(super) nuid: String,
    pub(super) size: u64,
    /// How many messages they are.
    pub(super) chunks: u64,
    pub(super) digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Shape>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Shape {
    max_chunk_size: u64,
}

/// What has been sent of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    pub(super) size: u64,
    pub(super) chunks: u64,
    digest: Sha256,
}

impl Sum {
    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        self.chunks += 1;
        self.digest.update(chunk);
    }
}

impl Meta {
    pub(super) fn new(bucket: &str, name: &str, nuid: &str, sum: Sum, most: usize) -> Meta {
        let now = jiff::Timestamp::now().to_string();
        Meta {
            name: name.to_owned(),
            bucket: bucket.to_owned(),
            nuid: nuid.to_owned(),
            size: sum.size,
            chunks: sum.chunks,
            digest: format!("SHA-256={}", BASE64.encode(sum.digest.finalize())),
            mtime: Some(now),
            headers: None,
            options: Some(Shape { max_chunk_size: most as u64 }),
            deleted: false,
        }
    }

    /// The same with a time of creation.
    pub(super) fn created(mut self, created: Option<Timestamp>) -> Meta {
        self.headers =
            created.map(|it| BTreeMap::from([(CREATED.to_owned(), vec![moment::to_rfc3339(it)])]));
        self
    }

    pub(super) fn read(object: &str, json: &[u8]) -> Result<Meta> {
        wire::from_json(object, &String::from_utf8_lossy(json))
    }

    /// When the object was created, if its uploader said so.
    pub(super) fn when(&self, object: &str) -> Result<Option<Timestamp>> {
        let said = self.headers.as_ref().and_then(|headers| headers.get(CREATED)?.first());
        said.map(|said| moment::from_rfc3339(object, said)).transpose()
    }
}

/// The subjects of a bucket.
pub(super) fn all_metas(bucket: &str) -> String {
    format!("$O.{bucket}.M.>")
}

/// Where it is said what an object of this name is.
pub(super) fn meta_subject(bucket: &str, name: &str) -> String {
    format!("$O.{bucket}.M.{}", BASE64.encode(name))
}

/// Where the bytes of an object are.
pub(super) fn chunk_subject(bucket: &str, nuid: &str) -> String {
    format!("$O.{bucket}.C.{nuid}")
}

/// A name for the bytes of a new object, that no other has.
pub(super) fn nuid() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(22).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the Go client writes it.
    const GO: &str = r#"{"name":"ltx/0/x","headers":{"Litestream-Timestamp":["2026-11-22T21:16:11.409Z"]},
        "options":{"max_chunk_size":131072},"bucket":"b","nuid":"N","size":5,
        "mtime":"0001-01-01T00:00:00Z","chunks":1,"digest":"SHA-256=x"}"#;

    #[test]
    fn what_others_write_is_read() {
        let it = Meta::read("o", GO.as_bytes()).expect("a meta");
        assert_eq!((it.name.as_str(), it.size, it.chunks, it.deleted), ("ltx/0/x", 5, 1, false));
        let created = it.when("o").expect("a time").map(Timestamp::as_millis);
        assert_eq!(created, Some(1_795_382_171_409));
        let gone = Meta::read("o", br#"{"name":"x","headers":null,"deleted":true}"#);
        let gone = gone.expect("a meta");
        assert!(gone.deleted && gone.when("o").expect("no time").is_none());
        Meta::read("o", b"{").expect_err("no meta");
    }

    #[test]
    fn what_we_write_is_what_others_would() {
        let mut sum = Sum::default();
        sum.add(b"hel");
        sum.add(b"lo");
        let created = Timestamp::from_millis(1_795_382_171_400);
        let it = Meta::new("b", "ltx/0/x", "N", sum, 1024).created(Some(created));
        let json: serde_json::Value = serde_json::to_value(&it).expect("JSON");
        assert_eq!(json["digest"], "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
        assert_eq!(json["headers"]["Litestream-Timestamp"][0], "2026-11-22T21:16:11.4Z");
        assert_eq!((&json["size"], &json["chunks"]), (&5.into(), &2.into()));
        assert_eq!(json["options"]["max_chunk_size"], 1024);
        assert_eq!(meta_subject("b", "ltx/0/x"), "$O.b.M.bHR4LzAveA==");
        assert_ne!(nuid(), nuid());
    }
}
