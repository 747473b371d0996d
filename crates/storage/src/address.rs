//! The parts of a replica's URL on some server.

use std::fmt;
use std::path::Path;

use percent_encoding::percent_decode_str;

use crate::{Error, Options, Result};

/// The kind of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Amazon S3, and what speaks its language.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob storage.
    Abs,
    /// SFTP.
    Sftp,
    /// `WebDAV`.
    WebDav,
    /// NATS object store.
    Nats,
    /// Alibaba Cloud OSS.
    Oss,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] =
        [Kind::S3, Kind::Gs, Kind::Abs, Kind::Sftp, Kind::WebDav, Kind::Nats, Kind::Oss];

    /// Its name in a configuration (`type:`), and the usual scheme of its URLs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::S3 => "s3",
            Kind::Gs => "gs",
            Kind::Abs => "abs",
            Kind::Sftp => "sftp",
            Kind::WebDav => "webdav",
            Kind::Nats => "nats",
            Kind::Oss => "oss",
        }
    }

    /// The kind that a configuration's `type:` or a URL's scheme names.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        match name {
            "webdavs" => Some(Kind::WebDav),
            _ => Kind::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }
}

/// A replica's URL, taken apart: `scheme://user:password@host:port/path?query`.
///
/// The host is a bucket, a container or a server, as its kind will have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The kind of server.
    pub kind: Kind,
    /// Whether the scheme asks for TLS (`webdavs`).
    pub tls: bool,
    /// Before the `@`, percent-decoded.
    pub user: Option<String>,
    /// After the user and a colon, percent-decoded.
    pub password: Option<String>,
    /// Host name, with the port if there is one.
    pub host: String,
    /// What follows the host, as it stands: with its leading slash, or empty.
    pub path: String,
    /// The query, under the names that a configuration uses.
    pub query: Options,
}

impl Address {
    /// Takes what follows `scheme://` apart.
    pub fn parse(scheme: &str, rest: &str) -> Result<Address> {
        let kind = Kind::named(scheme).ok_or_else(|| Error::Unsupported {
            url: format!("{scheme}://"),
            reason: format!("unknown storage scheme {scheme:?}"),
        })?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = split_login(place);
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let (user, password) = match login.map(|login| login.split_once(':')) {
            None => (None, None),
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (login, None),
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(Address {
            kind,
            tls: scheme == "webdavs",
            user: user.map(decode),
            password: password.map(decode),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "true")))
                .map(|(name, value)| (kebab(&decode(name)), decode(value)))
                .collect(),
        })
    }

    /// The path below the host with neither its leading slash nor `.`, `..` and empty parts.
    #[must_use]
    pub fn clean_path(&self) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in self.path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// The replica of that name below this one.
    #[must_use]
    pub fn join(&self, name: &Path) -> Address {
        let path = format!("{}/{}", self.path.trim_end_matches('/'), name.display());
        Address { path, ..self.clone() }
    }
}

/// Splits `user:password@` off. People paste passwords as they are: the last `@` ends it. Only a
/// slash must be escaped.
fn split_login(place: &str) -> (Option<&str>, &str) {
    let authority_end = place.find('/').unwrap_or(place.len());
    match place[..authority_end].rfind('@') {
        Some(at) => (Some(&place[..at]), &place[at + 1..]),
        None => (None, place),
    }
}

/// `forcePathStyle` as a configuration writes it: `force-path-style`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    let mut before_upper = true;
    for char in name.chars() {
        if char.is_ascii_uppercase() && !before_upper {
            kebab.push('-');
        }
        before_upper = char.is_ascii_uppercase() || char == '-';
        kebab.push(char.to_ascii_lowercase());
    }
    kebab
}

/// Without secrets: neither a password nor a query is shown.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        write!(f, "{}{s}://", self.kind.name())?;
        // A name alone is a token there.
        let is_token = self.kind == Kind::Nats && self.password.is_none();
        if let Some(user) = self.user.as_ref().filter(|_| !is_token) {
            write!(f, "{user}@")?;
        }
        write!(f, "{}{}", self.host, self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        Address::parse(scheme, rest).expect("an address")
    }

    #[test]
    fn a_url_is_taken_apart() {
        let it = address("sftp://me:p%40ss%2F%23@host:2222/srv/backup");
        assert_eq!((it.kind, it.user.as_deref()), (Kind::Sftp, Some("me")));
        assert_eq!(it.password.as_deref(), Some("p@ss/#"));
        assert_eq!((it.host.as_str(), it.path.as_str()), ("host:2222", "/srv/backup"));
        let it = address("sftp://me:p@ss:word@host/x");
        assert_eq!((it.password.as_deref(), it.host.as_str()), (Some("p@ss:word"), "host"));
        let it = address("s3://bucket/a/../b//c/?endpoint=http://127.0.0.1:9000&forcePathStyle=1");
        assert_eq!(it.clean_path(), "b/c");
        assert_eq!(it.query.get("endpoint"), Some("http://127.0.0.1:9000"));
        assert_eq!(it.query.get("force-path-style"), Some("1"));
        assert!(address("webdavs://host/x").tls);
    }

    #[test]
    fn names_of_a_query_are_those_of_a_configuration() {
        for (camel, expected) in [
            ("sseKmsKeyId", "sse-kms-key-id"),
            ("requireContentMD5", "require-content-md5"),
            ("sseCustomerKeyMD5", "sse-customer-key-md5"),
            ("part-size", "part-size"),
        ] {
            assert_eq!(kebab(camel), expected);
        }
    }

    #[test]
    fn a_shown_address_holds_no_secret() {
        let it = address("sftp://me:hush@host/x?secret=hush");
        assert_eq!(it.to_string(), "sftp://me@host/x");
        assert!(!format!("{it:?}").contains("hush"));
        assert_eq!(address("nats://hush@host/bucket").to_string(), "nats://host/bucket");
        assert_eq!(address("nats://me:hush@host/bucket").to_string(), "nats://me@host/bucket");
    }
}
