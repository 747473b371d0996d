//! Which directory of which server holds a replica.

use crate::address::Address;
use crate::{Environment, Error, Options, Result};

const PORT: u16 = 22;

/// A directory on a server, as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// Absolute, or relative to the directory that a login begins in; empty for that one.
    pub(super) root: String,
}

impl Place {
    /// Finds it by the URL, the options and the environment. The path of a URL is absolute; only
    /// the option `path` can be relative.
    pub(super) fn find(
        address: &Address,
        options: &Options,
        environment: &Environment,
    ) -> Result<Place> {
        let unusable = |reason: &str| Error::Unsupported {
            url: address.to_string(),
            reason: reason.to_owned(),
        };
        let host = match address.host.as_str() {
            "" => options.get("host").unwrap_or_default(),
            host => host,
        };
        let (host, port) = split_host(host).ok_or_else(|| unusable("the port is no number"))?;
        if host.is_empty() {
            return Err(unusable("it names no host"));
        }
        let user = address.user.as_deref().filter(|user| !user.is_empty());
        let user = user.or_else(|| options.get("user")).or_else(|| environment.get("USER"));
        let user = user.ok_or_else(|| unusable("it names no user: sftp://user@host/path"))?;
        Ok(Place {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            root: root(address, options),
        })
    }

    /// The path on the server of a name below the replica's root.
    pub(super) fn path(&self, key: &str) -> String {
        let key = key.trim_end_matches('/');
        match (self.root.as_str(), key) {
            ("", "") => ".".to_owned(),
            ("", key) => key.to_owned(),
            (root, "") => root.to_owned(),
            ("/", key) => format!("/{key}"),
            (root, key) => format!("{root}/{key}"),
        }
    }

    /// Spelled one way. Many servers show each user another root.
    pub(super) fn spelled(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        format!("{}@{host}:{}/{}", self.user, self.port, self.root)
    }

    /// As files of known hosts name the server.
    pub(super) fn known_as(&self) -> String {
        let host = self.host.to_lowercase();
        match self.port {
            PORT => host,
            port => format!("[{host}]:{port}"),
        }
    }
}

fn root(address: &Address, options: &Options) -> String {
    let path = format!("{}{}", options.get("path").unwrap_or_default(), address.path);
    let clean = Address { path: path.clone(), ..address.clone() }.clean_path();
    if path.starts_with('/') { format!("/{clean}") } else { clean }
}

/// Splits `host`, `host:port`, `[::1]` and `[::1]:port`.
fn split_host(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
        None if text.matches(':').count() > 1 => (text, ""),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    match port {
        "" => Some((host, PORT)),
        port => port.parse().ok().map(|port| (host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, options: &[(&str, &str)]) -> Place {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let address = Address::parse(scheme, rest).expect("an address");
        let options = options.iter().copied().collect();
        Place::find(&address, &options, &Environment::default()).expect(url)
    }

    #[test]
    fn the_path_of_a_url_is_absolute_and_that_of_an_option_as_it_says() {
        let root = |url: &str, options: &[(&str, &str)]| place(url, options).root;
        assert_eq!(root("sftp://me@host/srv//backup/", &[]), "/srv/backup");
        assert_eq!(root("sftp://me@host", &[]), "");
        assert_eq!(root("sftp://me@host/", &[]), "/");
        assert_eq!(root("sftp://me@host", &[("path", "backup/app")]), "backup/app");
        assert_eq!(root("sftp://me@host", &[("path", "/backup/../app")]), "/app");
        assert_eq!(root("sftp://me@host/shop.db", &[("path", "backup")]), "backup/shop.db");
        assert_eq!(place("sftp://me@host", &[]).path(""), ".");
        assert_eq!(place("sftp://me@host/", &[]).path("ltx/0/"), "/ltx/0");
        assert_eq!(place("sftp://me@host/a", &[]).path("ltx/0"), "/a/ltx/0");
        assert_eq!(place("sftp://me@host", &[("path", "a")]).path("ltx"), "a/ltx");
    }

    #[test]
    fn hosts_come_with_and_without_ports() {
        for (url, host, port, known_as) in [
            ("sftp://me@Host/x", "Host", 22, "host"),
            ("sftp://me@host:2222/x", "host", 2222, "[host]:2222"),
            ("sftp://me@[::1]:2222/x", "::1", 2222, "[::1]:2222"),
            ("sftp://me@[::1]/x", "::1", 22, "::1"),
        ] {
            let place = place(url, &[]);
            assert_eq!((place.host.as_str(), place.port), (host, port));
            assert_eq!(place.known_as(), known_as);
        }
        assert_eq!(split_host("host:ssh"), None);
    }
}
