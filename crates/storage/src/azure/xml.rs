//! The XML that Azure speaks.

use std::collections::BTreeMap;
use std::fmt::Write;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listing {
    #[serde(default)]
    pub(super) blobs: Blobs,
    pub(super) next_marker: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Blobs {
    #[serde(default)]
    pub(super) blob: Vec<Blob>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Blob {
    name: Name,
    pub(super) properties: Properties,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Option<String>>>,
}

/// One that XML cannot hold is percent-encoded.
#[derive(Debug, Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Properties {
    #[serde(rename = "Content-Length", default)]
    pub(super) size: u64,
    #[serde(rename = "Creation-Time")]
    pub(super) created: Option<String>,
    #[serde(rename = "Last-Modified")]
    pub(super) modified: String,
}

impl Blob {
    pub(super) fn name(&self) -> String {
        match self.name.encoded {
            true => percent_decode_str(&self.name.text).decode_utf8_lossy().into_owned(),
            false => self.name.text.clone(),
        }
    }

    /// What the uploader noted under a name; its case is not kept everywhere.
    pub(super) fn noted(&self, name: &str) -> Option<&str> {
        let mut all = self.metadata.iter().flatten();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_deref()
    }

    /// Whether it stands for a directory, as accounts with a hierarchy list them.
    pub(super) fn is_directory(&self) -> bool {
        self.noted("hdi_isfolder") == Some("true")
    }
}

/// Why something failed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) authentication_error_detail: String,
}

/// The blocks that make a blob, in order.
pub(super) fn blocks<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for id in ids {
        let _ = write!(xml, "<Latest>{id}</Latest>");
    }
    xml + "</BlockList>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let xml = "<?xml version=\"1.0\"?><EnumerationResults ServiceEndpoint=\"x\"><Prefix>p/</Prefix>\
            <Blobs><Blob><Name>p/a&amp;b</Name><Properties><Creation-Time>Sun, 22 Nov 2026 21:16:11 GMT\
            </Creation-Time><Last-Modified>Sun, 22 Nov 2026 21:16:12 GMT</Last-Modified><Etag>0x1</Etag>\
            <Content-Length>5</Content-Length><LeaseState>available</LeaseState></Properties>\
            <Metadata><Litestreamtimestamp>2026-11-22T21:16:11.4Z</Litestreamtimestamp><x/></Metadata>\
            </Blob><BlobPrefix><Name>q</Name></BlobPrefix><Blob><Name Encoded=\"true\">p/%EF%BF%BE%20c</Name>\
            <Properties><Last-Modified>Sun, 22 Nov 2026 21:16:12 GMT</Last-Modified></Properties><Metadata />\
            <OrMetadata /></Blob><Blob><Name>p</Name><Properties><Last-Modified>x</Last-Modified>\
            </Properties><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob></Blobs>\
            <NextMarker>2!1</NextMarker></EnumerationResults>";
        let listing: Listing = quick_xml::de::from_str(xml).expect("a listing");
        let blobs = &listing.blobs.blob;
        let names: Vec<_> = blobs.iter().map(Blob::name).collect();
        assert_eq!(names, ["p/a&b", "p/\u{fffe} c", "p"]);
        assert_eq!(blobs[0].noted("litestreamtimestamp"), Some("2026-11-22T21:16:11.4Z"));
        assert_eq!((blobs[0].properties.size, blobs[1].noted("litestreamtimestamp")), (5, None));
        assert_eq!(blobs.iter().map(Blob::is_directory).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(listing.next_marker.as_deref(), Some("2!1"));
        let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        let empty: Listing = quick_xml::de::from_str(empty).expect("a listing");
        assert!(empty.blobs.blob.is_empty());
        assert!(empty.next_marker.unwrap_or_default().is_empty());
    }
}
