//! The JSON that Google speaks.

use std::collections::BTreeMap;

use ltx::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, moment, wire};

/// The name that a creation time is noted under.
const NOTED: &str = "litestream-timestamp";

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    pub(super) items: Vec<Object>,
    pub(super) next_page_token: Option<String>,
}

impl Listing {
    /// Reads a page: no other JSON passes for an empty one.
    pub(super) fn read(object: &str, text: &str) -> Result<Listing> {
        let listing: Listing = wire::from_json(object, text)?;
        match &*listing.kind {
            "storage#objects" => Ok(listing),
            kind => {
                let reason = format!("{kind:?} is no listing of objects");
                Err(Error::Corrupt { object: object.to_owned(), reason })
            }
        }
    }
}

/// An object, as far as we ask for it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    #[serde(default)]
    pub(super) name: String,
    /// Numbers of 64 bits are text.
    #[serde(default)]
    pub(super) size: String,
    #[serde(default)]
    pub(super) generation: String,
    #[serde(default)]
    pub(super) time_created: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Object {
    pub(super) fn noted(&self) -> Option<&str> {
        self.metadata.get(NOTED).map(String::as_str)
    }
}

/// What is noted with a new object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct New<'a> {
    name: &'a str,
    content_type: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'static str, String>,
}

/// The text that announces a new object.
pub(super) fn new(name: &str, created: Option<Timestamp>) -> String {
    let metadata = created.map(|it| (NOTED, moment::to_rfc3339(it))).into_iter().collect();
    let new = New { name, content_type: "application/octet-stream", metadata };
    serde_json::to_string(&new).unwrap_or_default()
}

/// Why something failed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) error: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) message: String,
    errors: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    reason: String,
}

impl Details {
    /// A word for it.
    pub(super) fn reason(&self) -> &str {
        self.errors.first().map_or("", |it| &it.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_and_an_object_announced() {
        let json = r#"{"kind":"storage#objects","nextPageToken":"t","items":[{"name":"a","size":"5",
            "timeCreated":"2026-11-22T21:16:11.409Z","generation":"7",
            "metadata":{"litestream-timestamp":"2026-11-22T21:16:11.4Z"}},
            {"name":"b","size":"0","timeCreated":"2026-11-22T21:16:11Z"}]}"#;
        let listing: Listing = serde_json::from_str(json).expect("a listing");
        let [a, b] = &listing.items[..] else { panic!("two objects") };
        assert_eq!((a.noted(), b.noted()), (Some("2026-11-22T21:16:11.4Z"), None));
        assert_eq!((a.generation.as_str(), listing.next_page_token.as_deref()), ("7", Some("t")));
        assert!(serde_json::from_str::<Listing>("{}").expect("an empty one").items.is_empty());
        let text = new("db/\"x\"", Some(Timestamp::from_millis(1_795_382_171_400)));
        assert_eq!(
            text,
            r#"{"name":"db/\"x\"","contentType":"application/octet-stream","metadata":{"litestream-timestamp":"2026-11-22T21:16:11.4Z"}}"#
        );
    }
}
