//! Replica URLs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, Kind};
use crate::azure::{self, Azure};
use crate::gcs::{self, Gcs};
use crate::nats::{self, Nats};
use crate::oss::{self, Oss};
use crate::remote::{Client, Remote};
use crate::s3::{self, S3};
use crate::sftp::{self, Sftp};
use crate::webdav::{self, WebDav};
use crate::{Environment, Error, FileStorage, Options, Result, Storage};

/// Where a replica lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// `file:///absolute/path`, or a plain path.
    File(PathBuf),
    /// Somewhere on a server.
    Remote(Address),
}

impl Url {
    /// Whether an argument is a URL rather than a path: it begins with `word://`.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        scheme(text).is_some()
    }

    /// A text that is a URL without user information and query, where passwords and keys stand; any
    /// other as it is.
    #[must_use]
    pub fn without_secrets(text: &str) -> String {
        let Some((scheme, rest)) = scheme(text) else { return text.to_owned() };
        let rest = rest.split('?').next().unwrap_or(rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit('@').next().unwrap_or(host);
        format!("{scheme}://{host}{path}")
    }

    /// The replica of that name below this place.
    #[must_use]
    pub fn join(&self, name: &Path) -> Url {
        match self {
            Url::File(path) => Url::File(path.join(name)),
            Url::Remote(address) => Url::Remote(address.join(name)),
        }
    }

    /// Its kind, as a configuration's `type:` names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Url::File(_) => "file",
            Url::Remote(address) => address.kind.name(),
        }
    }

    /// The [`Storage::place`] that this URL means with these options. Touches nothing but, for a
    /// directory, symbolic links.
    pub fn place(&self, options: &Options, environment: &Environment) -> Result<String> {
        let address = match self {
            Url::File(path) => return Ok(FileStorage::new(path).place()),
            Url::Remote(address) => address,
        };
        let options = address.query.clone().or(options);
        let place = match address.kind {
            Kind::S3 => s3::place(address, &options, environment)?,
            Kind::Sftp => sftp::place(address, &options, environment)?,
            Kind::Oss => oss::place(address, &options)?,
            Kind::Abs => azure::place(address, &options, environment)?,
            Kind::Gs => gcs::place(address, &options, environment)?,
            Kind::Nats => nats::place(address, &options, environment)?,
            Kind::WebDav => webdav::place(address, &options),
        };
        Ok(format!("{}://{}", address.kind.name(), place.trim_end_matches('/')))
    }

    /// The backend for this URL. Options that the URL's query does not set are taken from
    /// `options`. Touches nothing yet.
    pub fn storage(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<Arc<dyn Storage>> {
        let address = match self {
            Url::File(path) => return Ok(Arc::new(FileStorage::new(path))),
            Url::Remote(address) => address,
        };
        let place = self.place(options, environment)?;
        let options = address.query.clone().or(options);
        Ok(match address.kind {
            Kind::S3 => remote(S3::new(address, &options, environment)?, place),
            Kind::Sftp => remote(Sftp::new(address, &options, environment)?, place),
            Kind::Oss => remote(Oss::new(address, &options, environment)?, place),
            Kind::Abs => remote(Azure::new(address, &options, environment)?, place),
            Kind::Gs => remote(Gcs::new(address, &options, environment)?, place),
            Kind::Nats => remote(Nats::new(address, &options, environment)?, place),
            Kind::WebDav => remote(WebDav::new(address, &options, environment)?, place),
        })
    }
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Url> {
        let unsupported =
            |reason: String| Err(Error::Unsupported { url: Url::without_secrets(text), reason });
        if text.is_empty() {
            return unsupported("the replica's URL is empty".into());
        }
        let Some((scheme, rest)) = scheme(text) else {
            return Ok(Url::File(PathBuf::from(text)));
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Url::File(PathBuf::from(rest))),
            "file" => unsupported(format!(
                "a file URL needs an absolute path and no host: file:///{}",
                rest.trim_start_matches('/')
            )),
            "gcs" => unsupported("Google Cloud Storage is gs://bucket/path".into()),
            _ if Kind::named(scheme).is_none() => {
                unsupported(format!("unknown storage scheme {scheme:?}"))
            }
            _ => match Address::parse(scheme, rest)? {
                address if address.host.is_empty() => {
                    unsupported("it names no host or bucket".into())
                }
                address => Ok(Url::Remote(address)),
            },
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::File(path) => write!(f, "file://{}", path.display()),
            Url::Remote(address) => address.fmt(f),
        }
    }
}

fn remote<C: Client>(client: C, place: String) -> Arc<dyn Storage> {
    Arc::new(Remote::new(client, place))
}

fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.then_some((scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(text: &str) -> String {
        text.parse::<Url>().expect_err(text).to_string()
    }

    #[test]
    fn files_come_as_urls_and_as_paths() {
        let here = Url::File(PathBuf::from("/mnt/backup/shop db"));
        assert_eq!("file:///mnt/backup/shop db".parse::<Url>().expect("url"), here);
        assert_eq!("/mnt/backup/shop db".parse::<Url>().expect("path"), here);
        assert_eq!("backup".parse::<Url>().expect("path"), Url::File(PathBuf::from("backup")));
        assert_eq!(here.to_string(), "file:///mnt/backup/shop db");
    }

    #[test]
    fn what_we_cannot_open_is_named_with_the_reason() {
        assert!(parse_error("s3:///a").contains("no host or bucket"));
        assert!(parse_error("ftp://host/a").contains("unknown storage scheme \"ftp\""));
        assert!(parse_error("file://backup/a").contains("file:///backup/a"));
        assert!(parse_error("").contains("empty"));
    }

    #[test]
    fn messages_show_no_secrets() {
        let message = parse_error("ftps://me:hush@host:22/path?key=hush");
        assert!(message.starts_with("ftps://host:22/path:"), "{message}");
        assert!(!message.contains("hush"));
    }

    fn place(url: &str, options: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
        let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        let environment =
            Environment { variables: variables.iter().map(owned).collect(), home: None };
        let options = options.iter().copied().collect();
        let url: Url = url.parse().expect(url);
        let place = url.place(&options, &environment).expect("a place");
        let storage = url.storage(&options, &environment).expect("a storage");
        assert_eq!(storage.place(), place, "{url}");
        assert!(!place.contains("hush"), "{place}");
        place
    }

    #[test]
    fn an_s3_bucket_is_one_place() {
        let near = [("endpoint", "http://127.0.0.1:9000")];
        for (expected, url, options) in [
            ("s3://127.0.0.1:9000/b/p", "s3://b/p", &near[..]),
            ("s3://127.0.0.1:9000/b/p", "s3://b//x/../p/?endpoint=127.0.0.1:9000", &[]),
            ("s3://127.0.0.1:9000/b", "s3://b", &near),
            ("s3://localhost:9000/b/p", "s3://b.localhost:9000/p", &[]),
            ("s3://localhost:9000/b/p", "s3://b/p?endpoint=LocalHost:9000", &[]),
            ("s3://x.example:443/b/p", "s3://b/p?endpoint=https://X.example/", &[]),
            ("s3://x.example:443/b/p", "s3://b/p?endpoint=x.example:443", &[]),
            ("s3://amazonaws.com/b/p", "s3://b/p", &[]),
            ("s3://amazonaws.com/b/p", "s3://b.s3.eu-west-1.amazonaws.com/p", &[]),
            ("s3://amazonaws.com/b/p", "s3://b/p?endpoint=s3.eu-west-1.amazonaws.com", &[]),
            ("s3://amazonaws.com/b/p", "s3://b/p?region=eu-west-1", &[]),
            ("s3://amazonaws.com.cn/b/p", "s3://b/p?region=cn-north-1", &[]),
            ("s3://tigris/b/p", "s3://b/p?endpoint=https://fly.storage.tigris.dev", &[]),
            ("s3://tigris/b/p", "s3://b/p?endpoint=t3.storage.dev", &[]),
        ] {
            assert_eq!(place(url, options, &[]), expected, "{url}");
        }
        let named = [("LITESTREAM_S3_ENDPOINT", "127.0.0.1:9000")];
        assert_eq!(place("s3://b/p", &[], &named), "s3://127.0.0.1:9000/b/p");
    }

    #[test]
    fn buckets_of_others_are_one_place_each() {
        let azurite = [("endpoint", "http://127.0.0.1:10000/acct/")];
        for (expected, url, options) in [
            ("abs://acct.blob.core.windows.net:443/box/db", "abs://acct@box/db", &[][..]),
            (
                "abs://acct.blob.core.windows.net:443/box/db",
                "abs://box//db/",
                &[("account-name", "acct")],
            ),
            (
                "abs://acct.blob.core.windows.net:443/box/db",
                "abs://acct.blob.core.windows.net/box/db",
                &[],
            ),
            ("abs://127.0.0.1:10000/acct/box/db", "abs://acct@box/db", &azurite),
            ("abs://127.0.0.1:10000/acct/box/db", "abs://other@box/x/../db", &azurite),
            ("gs://storage.googleapis.com:443/box/db", "gs://box/db/", &[]),
            (
                "gs://storage.googleapis.com:443/box/db",
                "gs://box/db",
                &[("endpoint", "Storage.googleapis.com")],
            ),
            ("oss://aliyuncs.com/box/db", "oss://box/db", &[]),
            (
                "oss://aliyuncs.com/box/db",
                "oss://box.oss-cn-beijing-internal.aliyuncs.com/db/",
                &[],
            ),
            ("oss://127.0.0.1:9200/box/db", "oss://box/db", &[("endpoint", "127.0.0.1:9200")]),
            ("nats://one:4222,two:4222/box/db", "nats://two,One/box/db/", &[]),
            ("nats://one:4222,two:4222/box/db", "nats://me:hush@one:4222,two/box//db", &[]),
            ("nats://one:4222/box", "nats://one", &[("bucket", "box")]),
        ] {
            let secret: Vec<_> = options.iter().copied().chain([("secret", "hush")]).collect();
            assert_eq!(place(url, &secret, &[]), expected, "{url}");
        }
    }

    #[test]
    fn directories_on_servers_are_one_place_each() {
        for (expected, url, options) in [
            ("sftp://me@host:22//srv/db", "sftp://me:hush@Host/srv//x/../db/", &[][..]),
            ("sftp://you@host:22//srv/db", "sftp://you@host:22/srv/db", &[]),
            ("sftp://you@host:22//srv/db", "sftp://you@host", &[("path", "/srv/db")]),
            ("sftp://me@host:22/srv/db", "sftp://me@host", &[("path", "srv/db")]),
            ("sftp://me@host:2222", "sftp://me@host:2222/", &[]),
            ("webdav://me@host:443/my dav/db", "webdavs://me:hush@Host/my%20dav//db/", &[]),
            (
                "webdav://you@host:443/my dav/db",
                "webdavs://host/my dav/db",
                &[("webdav-username", "you")],
            ),
            ("webdav://host:80/db", "webdav://host/db", &[]),
        ] {
            assert_eq!(place(url, options, &[]), expected, "{url}");
        }
    }
}
