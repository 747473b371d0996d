//! Replica URLs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, FileStorage, Result, Storage};

/// Schemes that Litestream knows and that we do not serve yet.
const NOT_YET: [&str; 8] = ["s3", "gs", "abs", "sftp", "webdav", "webdavs", "nats", "oss"];

/// Where a replica lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// `file:///absolute/path`, or a plain path.
    File(PathBuf),
}

impl Url {
    /// Whether an argument is a URL rather than a path: it begins with `word://`.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        scheme(text).is_some()
    }

    /// The backend for this URL.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        match self {
            Url::File(path) => Arc::new(FileStorage::new(path)),
        }
    }
}

/// Opens the storage that a URL, or a plain path, names. Touches nothing yet.
pub fn open(url: &str) -> Result<Arc<dyn Storage>> {
    url.parse::<Url>().map(|url| url.storage())
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Url> {
        let unsupported =
            |reason: String| Err(Error::Unsupported { url: without_secrets(text), reason });
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
            _ if NOT_YET.contains(&scheme) => {
                unsupported(format!("{scheme} storage is not yet supported"))
            }
            _ => unsupported(format!("unknown storage scheme {scheme:?}")),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.then_some((scheme, rest))
}

/// The URL without user information and query, where passwords and keys stand.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = scheme(text) else { return text.to_owned() };
    let rest = rest.split('?').next().unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}{path}")
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
        assert_eq!(parse_error("s3://bucket/a"), "s3://bucket/a: s3 storage is not yet supported");
        assert!(parse_error("ftp://host/a").contains("unknown storage scheme \"ftp\""));
        assert!(parse_error("file://backup/a").contains("file:///backup/a"));
        assert!(parse_error("").contains("empty"));
    }

    #[test]
    fn messages_show_no_secrets() {
        let message = parse_error("sftp://me:hush@host:22/path?key=hush");
        assert!(message.starts_with("sftp://host:22/path:"), "{message}");
        assert!(!message.contains("hush"));
    }
}
