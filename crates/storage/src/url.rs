//! Replica URLs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, Kind};
use crate::azure::Azure;
use crate::gcs::Gcs;
use crate::nats::Nats;
use crate::oss::Oss;
use crate::remote::Remote;
use crate::s3::S3;
use crate::sftp::Sftp;
use crate::webdav::WebDav;
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
        let options = address.query.clone().or(options);
        Ok(match address.kind {
            Kind::S3 => Arc::new(Remote::new(S3::new(address, &options, environment)?)),
            Kind::Sftp => Arc::new(Remote::new(Sftp::new(address, &options, environment)?)),
            Kind::Oss => Arc::new(Remote::new(Oss::new(address, &options, environment)?)),
            Kind::Abs => Arc::new(Remote::new(Azure::new(address, &options, environment)?)),
            Kind::Gs => Arc::new(Remote::new(Gcs::new(address, &options, environment)?)),
            Kind::Nats => Arc::new(Remote::new(Nats::new(address, &options, environment)?)),
            Kind::WebDav => Arc::new(Remote::new(WebDav::new(address, &options, environment)?)),
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
}
