//! The XML that they speak.

use std::fmt::Write;

use quick_xml::escape::escape;
use serde::Deserialize;

pub(crate) const LISTING: &str = "ListBucketResult";
pub(crate) const COMPLETED: &str = "CompleteMultipartUploadResult";
pub(crate) const DELETED: &str = "DeleteResult";

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listing {
    #[serde(default)]
    pub(crate) is_truncated: bool,
    pub(crate) next_continuation_token: Option<String>,
    /// `url` if names are escaped.
    pub(crate) encoding_type: Option<String>,
    #[serde(default)]
    pub(crate) contents: Vec<Content>,
}

/// An object in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Content {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) last_modified: String,
}

/// Why something failed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    /// Where the bucket really is.
    pub(crate) region: Option<String>,
}

/// What became of a deletion of several objects.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Deleted {
    /// Those that are gone, unless the server was asked to be quiet about them.
    #[serde(rename = "Deleted", default)]
    pub(crate) gone: Vec<Gone>,
    #[serde(rename = "Error", default)]
    pub(crate) errors: Vec<NotDeleted>,
}

/// An object that is gone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Gone {
    pub(crate) key: String,
}

/// An object that is still there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NotDeleted {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// An upload in parts that was begun.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Begun {
    pub(crate) upload_id: String,
}

/// An upload in parts that was completed.
#[derive(Debug, Deserialize)]
pub(crate) struct Completed {}

/// The names of objects to delete. A quiet server names only those that stay.
pub(crate) fn deletion<'a>(keys: impl Iterator<Item = &'a str>, quiet: bool) -> String {
    let mut xml = format!("<Delete><Quiet>{quiet}</Quiet>");
    for key in keys {
        let _ = write!(xml, "<Object><Key>{}</Key></Object>", escape(key));
    }
    xml + "</Delete>"
}

/// The parts that make an object, by number from 1.
pub(crate) fn completion<'a>(tags: impl Iterator<Item = (u32, &'a str)>) -> String {
    let mut xml = String::from("<CompleteMultipartUpload>");
    for (number, tag) in tags {
        let tag = escape(tag);
        let _ = write!(xml, "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    xml + "</CompleteMultipartUpload>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let xml = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><Name>b</Name>\
            <IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>\
            <Contents><Key>a</Key><LastModified>2026-11-22T21:16:11.409Z</LastModified>\
            <ETag>e</ETag><Size>5</Size></Contents><CommonPrefixes><Prefix>p</Prefix>\
            </CommonPrefixes><Contents><Key>b</Key><LastModified>2026-11-22T21:16:11Z\
            </LastModified><Size>6</Size></Contents></ListBucketResult>";
        let listing: Listing = quick_xml::de::from_str(xml).expect("a listing");
        assert!(listing.is_truncated);
        assert_eq!(listing.next_continuation_token.as_deref(), Some("t&1"));
        let sizes: Vec<_> = listing.contents.iter().map(|it| (it.key.as_str(), it.size)).collect();
        assert_eq!(sizes, [("a", 5), ("b", 6)]);
        let empty: Listing = quick_xml::de::from_str("<ListBucketResult/>").expect("a listing");
        assert!(empty.contents.is_empty() && !empty.is_truncated);
    }

    #[test]
    fn names_are_escaped() {
        let xml = deletion(["a&b", "c"].into_iter(), true);
        assert!(xml.contains("<Key>a&amp;b</Key></Object><Object><Key>c</Key>"), "{xml}");
        assert!(completion([(1, "\"e\"")].into_iter()).contains("&quot;e&quot;"));
    }
}
