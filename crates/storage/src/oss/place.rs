//! Which server holds a bucket.

use crate::address::Address;
use crate::{Options, Result, endpoint};

const DOMAIN: &str = ".aliyuncs.com";
const USUAL_REGION: &str = "cn-hangzhou";

/// Where a replica lies, and how requests for it are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Host and port of the server, without the bucket.
    host: String,
    pub(super) bucket: String,
    /// Before the names of all objects, without a slash at its end; empty for the bucket's root.
    root: String,
    pub(super) region: String,
}

impl Place {
    /// Finds it by the URL and the options.
    pub(super) fn find(address: &Address, options: &Options) -> Result<Place> {
        let (bucket, server) = match address.host.split_once('.') {
            Some((bucket, server)) if server.ends_with(DOMAIN) => (bucket, Some(server)),
            _ => (address.host.as_str(), None),
        };
        let given = match (options.get("endpoint"), server) {
            (Some(endpoint), _) => Some(endpoint::split(endpoint)?),
            (None, Some(server)) => Some(("https", server.to_owned())),
            (None, None) => None,
        };
        let named = given.as_ref().and_then(|(_, host)| region_in(host));
        let region = options.get("region").or(named).or(server.and_then(region_in));
        let region = region.unwrap_or(USUAL_REGION).to_owned();
        let (scheme, host) = given.unwrap_or_else(|| ("https", format!("oss-{region}{DOMAIN}")));
        let (bucket, root) = (bucket.to_owned(), address.clean_path());
        Ok(Place { scheme, host, bucket, root, region })
    }

    /// The server's host with the bucket before it, where a host can have something before it: OSS
    /// itself takes nothing else.
    pub(super) fn authority(&self) -> String {
        match self.path_style() {
            true => self.host.clone(),
            false => format!("{}.{}", self.bucket, self.host),
        }
    }

    /// Spelled one way. The names of buckets at Alibaba are one server's, whichever of its hosts is
    /// asked.
    pub(super) fn spelled(&self) -> String {
        let host = endpoint::spelled(&format!("{}://{}", self.scheme, self.host));
        let is_alibaba = host.split(':').next().is_some_and(|name| name.ends_with(DOMAIN));
        let server = if is_alibaba { DOMAIN.trim_start_matches('.') } else { &host };
        format!("{server}/{}/{}", self.bucket, self.root)
    }

    /// What stands before the names of all objects in the path of a URL.
    pub(super) fn path(&self) -> String {
        match self.path_style() {
            true => format!("/{}/", self.bucket),
            false => "/".to_owned(),
        }
    }

    /// A server that stands in for OSS nearby.
    fn path_style(&self) -> bool {
        endpoint::is_number(&self.host) || endpoint::is_near(&self.host)
    }

    /// The name of an object in the bucket. Unlike on S3, it may not begin with a slash.
    pub(super) fn key(&self, key: &str) -> String {
        match self.root.as_str() {
            "" => key.to_owned(),
            root => format!("{root}/{key}"),
        }
    }

    /// The name below the replica's root of an object of the bucket.
    pub(super) fn relative<'a>(&self, key: &'a str) -> Option<&'a str> {
        match self.root.as_str() {
            "" => Some(key),
            root => key.strip_prefix(root)?.strip_prefix('/'),
        }
    }
}

/// The region in `oss-<region>[-internal].aliyuncs.com`.
fn region_in(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    let region = name.strip_prefix("oss-")?.strip_suffix(DOMAIN)?;
    let region = region.strip_suffix("-internal").unwrap_or(region);
    // Hosts that are near everybody.
    (!region.starts_with("accelerate")).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let address = Address::parse(scheme, rest).expect("an address");
        Place::find(&address, &address.query).expect(url)
    }

    #[test]
    fn buckets_are_found_by_their_hosts() {
        for (url, authority, path, region) in [
            ("oss://bkt/p", "bkt.oss-cn-hangzhou.aliyuncs.com", "/", "cn-hangzhou"),
            (
                "oss://bkt/p?region=eu-central-1",
                "bkt.oss-eu-central-1.aliyuncs.com",
                "/",
                "eu-central-1",
            ),
            (
                "oss://bkt.oss-cn-beijing.aliyuncs.com/p",
                "bkt.oss-cn-beijing.aliyuncs.com",
                "/",
                "cn-beijing",
            ),
            (
                "oss://bkt.oss-us-west-1-internal.aliyuncs.com/p",
                "bkt.oss-us-west-1-internal.aliyuncs.com",
                "/",
                "us-west-1",
            ),
            (
                "oss://bkt/p?endpoint=oss-ap-southeast-1-internal.aliyuncs.com",
                "bkt.oss-ap-southeast-1-internal.aliyuncs.com",
                "/",
                "ap-southeast-1",
            ),
            (
                "oss://bkt.oss-cn-beijing.aliyuncs.com/p?endpoint=oss-accelerate.aliyuncs.com",
                "bkt.oss-accelerate.aliyuncs.com",
                "/",
                "cn-beijing",
            ),
            (
                "oss://bkt/p?endpoint=http://127.0.0.1:9200&region=cn-test",
                "127.0.0.1:9200",
                "/bkt/",
                "cn-test",
            ),
        ] {
            let place = place(url);
            assert_eq!((place.bucket.as_str(), place.root.as_str()), ("bkt", "p"), "{url}");
            assert_eq!((place.authority(), place.path()), (authority.into(), path.into()), "{url}");
            assert_eq!(place.region, region, "{url}");
        }
        assert_eq!(place("oss://bkt/p").scheme, "https");
        assert_eq!(place("oss://bkt/p?endpoint=127.0.0.1:9200").scheme, "http");
    }

    #[test]
    fn names_never_begin_with_a_slash() {
        let it = place("oss://bkt/my/pfx/");
        assert_eq!(it.key("0000/x.ltx"), "my/pfx/0000/x.ltx");
        assert_eq!(it.relative("my/pfx/0000/x.ltx"), Some("0000/x.ltx"));
        assert_eq!(it.relative("my/pfxx/0000/x.ltx"), None);
        let it = place("oss://bkt");
        assert_eq!(it.key("0000/x.ltx"), "0000/x.ltx");
        assert_eq!(it.relative("0000/x.ltx"), Some("0000/x.ltx"));
    }
}
