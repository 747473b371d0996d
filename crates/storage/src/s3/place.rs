//! Which server holds a bucket, and what that server is particular about.

use crate::address::Address;
use crate::{Environment, Options, Result, endpoint};

const AWS_DOMAIN: &str = "amazonaws.com";
/// The region of servers that have none.
const ANY_REGION: &str = "us-east-1";

/// Where a replica lies, and how requests for it are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Host and port of the server, without the bucket.
    pub(super) host: String,
    /// The bucket, or the alias that stands for it.
    pub(super) bucket: String,
    /// Before the names of all objects, without a slash at its end; empty for the bucket's root.
    pub(super) root: String,
    /// None if it has to be asked for.
    pub(super) region: Option<String>,
    /// Whether the bucket is the first part of the path, rather than of the host.
    pub(super) path_style: bool,
    pub(super) quirks: Quirks,
}

/// What a server wants otherwise than Amazon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quirks {
    /// Tigris answers from the nearest region unless it is told to be consistent.
    pub(super) tigris: bool,
    /// Cloudflare R2: parts of one size, few at once.
    pub(super) r2: bool,
    /// Whether a deletion of several objects carries the `MD5` of its list.
    pub(super) delete_md5: bool,
    /// Google's S3 interface cannot delete several objects at once.
    pub(super) single_deletes: bool,
}

impl Place {
    /// Finds it by the URL, the options and the environment.
    pub(super) fn find(
        address: &Address,
        options: &Options,
        environment: &Environment,
    ) -> Result<Place> {
        let (host, root) = host_and_root(address);
        let found = by_host(&host);
        let endpoint =
            options.get("endpoint").or_else(|| environment.get("LITESTREAM_S3_ENDPOINT"));
        let endpoint = endpoint.or_else(|| environment.get("AWS_ENDPOINT_URL_S3"));
        let mut region = options.get("region").map(str::to_owned).or(found.region.clone());
        let (scheme, host) = match endpoint {
            Some(endpoint) => endpoint::split(endpoint)?,
            None => found.server.clone().unwrap_or_else(|| ("https", String::new())),
        };
        let is_aws = host.is_empty() || host.ends_with(AWS_DOMAIN);
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        if region.is_none() && is_aws {
            region = named.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        }
        if region.is_none() && !is_aws {
            region = Some(region_in(&host).unwrap_or(ANY_REGION).to_owned());
        }
        let path_style = match options.switch("force-path-style")? {
            Some(path_style) => path_style,
            // A dot in a bucket's name is more than one certificate can stand for.
            None => {
                !found.is_access_point
                    && (!is_aws || found.bucket.contains('.'))
                    && found.path_style
            }
        };
        let quirks = Quirks::of(&host, options)?;
        Ok(Place { scheme, host, bucket: found.bucket, root, region, path_style, quirks })
    }

    /// The server's host with the bucket where it belongs.
    pub(super) fn authority(&self, region: &str) -> String {
        let host = match self.host.is_empty() {
            true if region.starts_with("cn-") => format!("s3.{region}.{AWS_DOMAIN}.cn"),
            true => format!("s3.{region}.{AWS_DOMAIN}"),
            false => self.host.clone(),
        };
        match self.path_style || is_access_point_host(&host) {
            true => host,
            false => format!("{}.{host}", self.bucket),
        }
    }

    /// Spelled one way. The names of buckets at Amazon and at Tigris are one server's, whichever of
    /// its hosts is asked.
    pub(super) fn spelled(&self) -> String {
        let is_china = self.region.as_ref().is_some_and(|region| region.starts_with("cn-"));
        let name = self.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let server = match is_access_point_host(&name) {
            true => self.host.clone(),
            false if self.quirks.tigris => "tigris".to_owned(),
            false if name.ends_with(".amazonaws.com.cn") || name.is_empty() && is_china => {
                format!("{AWS_DOMAIN}.cn")
            }
            false if name.ends_with(".amazonaws.com") || name.is_empty() => AWS_DOMAIN.to_owned(),
            false => endpoint::spelled(&format!("{}://{}", self.scheme, self.host)),
        };
        format!("{server}/{}/{}", self.bucket, self.root)
    }

    /// What stands before the names of all objects in the path of a URL.
    pub(super) fn path(&self) -> String {
        match self.path_style && !is_access_point_host(&self.host) {
            true => format!("/{}/", self.bucket),
            false => "/".to_owned(),
        }
    }

    /// The name of an object in the bucket. In the root it begins with a slash, as Litestream
    /// names it.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.root)
    }

    /// The name below the replica's root of an object of the bucket.
    pub(super) fn relative<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.root)?.strip_prefix('/')
    }
}

impl Quirks {
    fn of(host: &str, options: &Options) -> Result<Quirks> {
        let name = host.split(':').next().unwrap_or(host);
        let tigris = matches!(name, "fly.storage.tigris.dev" | "t3.storage.dev");
        let google = name == "storage.googleapis.com" || name.ends_with(".storage.googleapis.com");
        Ok(Quirks {
            tigris,
            r2: name.ends_with(".r2.cloudflarestorage.com"),
            delete_md5: options.switch("require-content-md5")?.unwrap_or(!tigris),
            single_deletes: google,
        })
    }
}

/// What a URL's host says: a bucket, or the host name of a bucket at some provider.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    bucket: String,
    server: Option<(&'static str, String)>,
    region: Option<String>,
    path_style: bool,
    is_access_point: bool,
}

fn by_host(host: &str) -> Found {
    let plain = Found {
        bucket: host.to_owned(),
        server: None,
        region: None,
        path_style: true,
        is_access_point: false,
    };
    if let Some(found) = access_point(host) {
        return found;
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let at = |bucket: &str, server: &str, region: Option<&str>, path_style| Found {
        bucket: bucket.to_owned(),
        server: Some(("https", server.to_owned())),
        region: region.map(str::to_owned),
        path_style,
        is_access_point: false,
    };
    let providers = [
        ("s3.", ".amazonaws.com", false),
        ("", ".digitaloceanspaces.com", false),
        ("s3.", ".backblazeb2.com", true),
        ("s3.", ".scw.cloud", true),
    ];
    for (service, domain, path_style) in providers {
        let Some(rest) = name.strip_suffix(domain) else { continue };
        let split = match service {
            "" => rest.rsplit_once('.'),
            service => rest.split_once(&format!(".{service}")),
        };
        if let Some((bucket, region)) = split {
            let server = format!("{service}{region}{domain}");
            let aws = domain == ".amazonaws.com";
            let server = if aws { String::new() } else { server };
            return at(bucket, &server, Some(region), path_style || (aws && bucket.contains('.')));
        }
    }
    if let Some(bucket) = name.strip_suffix(".s3.amazonaws.com") {
        return at(bucket, "", None, bucket.contains('.'));
    }
    if let Some(bucket) = name.strip_suffix(".s3.filebase.com") {
        return at(bucket, "s3.filebase.com", None, true);
    }
    match (port, name.split_once('.')) {
        // A server of one's own: `bucket.host:port`.
        (Some(port), Some((bucket, server))) => Found {
            server: Some(("http", format!("{server}:{port}"))),
            ..at(bucket, "", Some(ANY_REGION), true)
        },
        _ => plain,
    }
}

/// The host and the path; the name of an access point belongs to the host.
fn host_and_root(address: &Address) -> (String, String) {
    let path = address.clean_path();
    if !address.host.starts_with("arn:") {
        return (address.host.clone(), path);
    }
    let (name, root) = path.split_once('/').unwrap_or((&path, ""));
    (format!("{}/{name}", address.host), root.to_owned())
}

/// `arn:aws:s3:<region>:<account>:accesspoint/<name>`
fn access_point(host: &str) -> Option<Found> {
    let mut parts = host.split(':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, kind) = (parts.next()?, parts.next()?, parts.next()?);
    if arn != "arn" || service != "s3" {
        return None;
    }
    let name = kind.strip_prefix("accesspoint/")?;
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { AWS_DOMAIN };
    Some(Found {
        bucket: name.to_owned(),
        server: Some(("https", format!("{name}-{account}.s3-accesspoint.{region}.{domain}"))),
        region: Some(region.to_owned()),
        path_style: false,
        is_access_point: true,
    })
}

fn is_access_point_host(host: &str) -> bool {
    host.contains(".s3-accesspoint.")
}

/// The region that a provider's host name holds.
fn region_in(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    if name.ends_with(".r2.cloudflarestorage.com") || name.ends_with("storage.dev") {
        return Some("auto");
    }
    let strip = |head: &str, domain: &str| name.strip_prefix(head)?.strip_suffix(domain);
    strip("s3.", ".backblazeb2.com")
        .or_else(|| strip("s3.", ".scw.cloud"))
        .or_else(|| strip("s3.", ".wasabisys.com"))
        .or_else(|| strip("", ".digitaloceanspaces.com"))
        .or_else(|| strip("", ".your-objectstorage.com"))
        .filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, options: &[(&str, &str)]) -> Place {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let address = Address::parse(scheme, rest).expect("an address");
        let options = options.iter().copied().collect::<Options>().or(&address.query);
        Place::find(&address, &options, &Environment::default()).expect(url)
    }

    /// URL, options, host with bucket, path, region ("-" if it is asked for).
    #[test]
    fn providers_are_known_by_their_hosts() {
        for (url, options, authority, path, region) in [
            ("s3://b/p", &[][..], "b.s3.us-east-1.amazonaws.com", "/", "-"),
            ("s3://b.with.dots/p", &[], "s3.us-east-1.amazonaws.com", "/b.with.dots/", "-"),
            ("s3://b/p?region=eu-west-1", &[], "b.s3.eu-west-1.amazonaws.com", "/", "eu-west-1"),
            (
                "s3://b/p?region=cn-north-1",
                &[],
                "b.s3.cn-north-1.amazonaws.com.cn",
                "/",
                "cn-north-1",
            ),
            (
                "s3://b.s3.eu-west-1.amazonaws.com/p",
                &[],
                "b.s3.eu-west-1.amazonaws.com",
                "/",
                "eu-west-1",
            ),
            ("s3://b.s3.amazonaws.com/p", &[], "b.s3.us-east-1.amazonaws.com", "/", "-"),
            (
                "s3://b.nyc3.digitaloceanspaces.com/p",
                &[],
                "b.nyc3.digitaloceanspaces.com",
                "/",
                "nyc3",
            ),
            (
                "s3://b.s3.us-west-002.backblazeb2.com/p",
                &[],
                "s3.us-west-002.backblazeb2.com",
                "/b/",
                "us-west-002",
            ),
            ("s3://b.s3.filebase.com/p", &[], "s3.filebase.com", "/b/", "us-east-1"),
            ("s3://b.s3.fr-par.scw.cloud/p", &[], "s3.fr-par.scw.cloud", "/b/", "fr-par"),
            ("s3://b.localhost:9000/p", &[], "localhost:9000", "/b/", "us-east-1"),
            ("s3://b/p?endpoint=127.0.0.1:9000", &[], "127.0.0.1:9000", "/b/", "us-east-1"),
            (
                "s3://b/p?endpoint=a.r2.cloudflarestorage.com",
                &[],
                "a.r2.cloudflarestorage.com",
                "/b/",
                "auto",
            ),
            (
                "s3://b/p?endpoint=https://x.example:1&forcePathStyle=false",
                &[],
                "b.x.example:1",
                "/",
                "us-east-1",
            ),
            (
                "s3://b/p",
                &[("endpoint", "https://fsn1.your-objectstorage.com")],
                "fsn1.your-objectstorage.com",
                "/b/",
                "fsn1",
            ),
            (
                "s3://b/p",
                &[("endpoint", "s3.eu-central-1.wasabisys.com")],
                "s3.eu-central-1.wasabisys.com",
                "/b/",
                "eu-central-1",
            ),
        ] {
            let place = place(url, options);
            assert_eq!(place.bucket.split_once('.').map_or(&*place.bucket, |it| it.0), "b");
            assert_eq!(place.root, "p", "{url}");
            let found = place.region.clone().unwrap_or("-".into());
            assert_eq!(found, region, "{url}");
            let region = place.region.as_deref().unwrap_or("us-east-1");
            assert_eq!(
                (place.authority(region).as_str(), place.path().as_str()),
                (authority, path),
                "{url}"
            );
        }
    }

    #[test]
    fn an_access_point_is_a_host_of_its_own() {
        let it = place("s3://arn:aws:s3:eu-west-1:123:accesspoint/mine/db/app", &[]);
        assert_eq!(it.authority("eu-west-1"), "mine-123.s3-accesspoint.eu-west-1.amazonaws.com");
        assert_eq!((it.path().as_str(), it.root.as_str()), ("/", "db/app"));
        assert_eq!(it.region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn quirks_follow_the_server() {
        let of = |endpoint: &str| place(&format!("s3://b/p?endpoint={endpoint}"), &[]).quirks;
        assert!(of("https://fly.storage.tigris.dev").tigris);
        assert!(!of("https://fly.storage.tigris.dev").delete_md5);
        assert!(of("https://a.r2.cloudflarestorage.com:443").r2);
        assert!(of("https://storage.googleapis.com").single_deletes);
        assert!(of("http://127.0.0.1:9000").delete_md5);
    }

    #[test]
    fn names_are_litestreams() {
        let it = place("s3://b/my/pfx/", &[]);
        assert_eq!(it.key("0000/x.ltx"), "my/pfx/0000/x.ltx");
        assert_eq!(it.relative("my/pfx/0000/x.ltx"), Some("0000/x.ltx"));
        assert_eq!(it.relative("my/pfxx/0000/x.ltx"), None);
        assert_eq!(place("s3://b/", &[]).key("0000/x.ltx"), "/0000/x.ltx");
    }
}
