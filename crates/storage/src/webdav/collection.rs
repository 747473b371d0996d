//! What a server tells of a collection. (RFC 4918, 9.1 and 13)

use ltx::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::place;
use crate::{Error, Result, moment, wire};

/// What we want to know of each resource.
pub(super) const WANTED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/><D:getcontentlength/>\
    <D:getlastmodified/></D:prop></D:propfind>";

/// Something in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Collection { name: String },
    File { name: String, size: u64, modified: Timestamp },
}

#[derive(Debug, Deserialize)]
struct Multistatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Response {
    href: String,
    #[serde(default)]
    propstat: Vec<Properties>,
}

/// Properties that have one status.
#[derive(Debug, Deserialize)]
struct Properties {
    prop: Known,
    #[serde(default)]
    status: String,
}

#[derive(Debug, Default, Deserialize)]
struct Known {
    resourcetype: Option<ResourceType>,
    getcontentlength: Option<String>,
    getlastmodified: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct ResourceType {
    collection: Option<IgnoredAny>,
}

/// The members of the collection at `path`, about which a server told this.
pub(super) fn members(object: &str, path: &str, xml: &str) -> Result<Vec<Member>> {
    let told: Multistatus = wire::from_xml(object, xml)?;
    let mut found: Vec<(Vec<String>, Known)> = told
        .response
        .into_iter()
        .map(|it| (place::segments(it.href.trim()).collect(), known(it.propstat)))
        .collect();
    let own = own_depth(&found, path).ok_or_else(|| Error::Corrupt {
        object: object.to_owned(),
        reason: "a listing does not show the collection itself".into(),
    })?;
    found.retain(|(segments, _)| segments.len() == own + 1);
    found
        .into_iter()
        .filter_map(|(mut it, known)| Some((it.pop()?, known)))
        .map(|(name, known)| member(object, name, known))
        .collect()
}

/// The size of the file about which a server told this.
pub(super) fn size(object: &str, xml: &str) -> Result<u64> {
    let told: Multistatus = wire::from_xml(object, xml)?;
    let known = told.response.into_iter().next().map(|it| known(it.propstat)).unwrap_or_default();
    length(object, &known)
}

/// How deep the collection lies by the server's own reckoning: behind a proxy its paths may be
/// others than ours, but then it is the one thing above all others.
fn own_depth(found: &[(Vec<String>, Known)], path: &str) -> Option<usize> {
    let ours: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if found.iter().any(|(segments, _)| *segments == ours) {
        return Some(ours.len());
    }
    let least = found.iter().map(|(segments, _)| segments.len()).min()?;
    let at_top = found.iter().filter(|(segments, _)| segments.len() == least).count();
    (at_top == 1).then_some(least)
}

fn known(properties: Vec<Properties>) -> Known {
    properties.into_iter().filter(|it| it.status.contains(" 200")).fold(
        Known::default(),
        |known, Properties { prop, .. }| Known {
            resourcetype: known.resourcetype.or(prop.resourcetype),
            getcontentlength: known.getcontentlength.or(prop.getcontentlength),
            getlastmodified: known.getlastmodified.or(prop.getlastmodified),
        },
    )
}

fn member(object: &str, name: String, known: Known) -> Result<Member> {
    if known.resourcetype.as_ref().is_some_and(|it| it.collection.is_some()) {
        return Ok(Member::Collection { name });
    }
    let object = format!("{}/{name}", object.trim_end_matches('/'));
    let size = length(&object, &known)?;
    let modified = moment::from_http(&object, known.getlastmodified.as_deref().unwrap_or(""))?;
    Ok(Member::File { name, size, modified })
}

fn length(object: &str, known: &Known) -> Result<u64> {
    let length = known.getcontentlength.as_deref().unwrap_or_default().trim();
    length.parse().map_err(|_| Error::Corrupt {
        object: object.to_owned(),
        reason: "the server does not tell its size".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const APACHE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/a%20b/ltx/0/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Sun, 22 Nov 2026 21:16:11 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response>
<D:response><D:href>/a%20b/ltx/0/x%20&amp;y.ltx</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>5</lp1:getcontentlength>
<lp1:getlastmodified>Sun, 22 Nov 2026 21:16:11 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/a%20b/ltx/0/more/</D:href><D:propstat><D:prop>
<lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>"#;

    fn names(path: &str, xml: &str) -> Vec<String> {
        let name = |it| match it {
            Member::Collection { name } => format!("{name}/"),
            Member::File { name, size, modified } => {
                assert_eq!((size, modified.as_millis()), (5, 1_795_382_171_000));
                name
            }
        };
        members("o", path, xml).expect("members").into_iter().map(name).collect()
    }

    #[test]
    fn members_are_read_whatever_the_prefixes() {
        assert_eq!(names("a b/ltx/0", APACHE), ["x &y.ltx", "more/"]);
        let other = APACHE
            .replace("lp1:", "")
            .replace("D:", "d:")
            .replace("<d:href>/a%20b", "<d:href>http://127.0.0.1:8080/behind/a%20b");
        assert_eq!(names("a b/ltx/0", &other), ["x &y.ltx", "more/"], "behind a proxy");
    }

    #[test]
    fn what_makes_no_sense_is_not_an_empty_collection() {
        for xml in ["", "<html/>", "<D:multistatus xmlns:D=\"DAV:\"/>"] {
            members("o", "a", xml).expect_err(xml);
        }
        let headless =
            APACHE.replace("<D:href>/a%20b/ltx/0/</D:href>", "<D:href>/a%20b/ltx/0/z</D:href>");
        assert!(members("o", "a b/ltx/0", &headless).is_err());
        let unsized_file = APACHE.replace("<lp1:getcontentlength>5</lp1:getcontentlength>", "");
        let error = members("o", "a b/ltx/0", &unsized_file).expect_err("no size").to_string();
        assert!(error.contains("o/x &y.ltx"), "{error}");
    }
}
