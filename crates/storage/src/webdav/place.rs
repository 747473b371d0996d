//! Where on a server a replica lies, and how its names are written in requests and answers.

use percent_encoding::percent_decode_str;

use crate::address::Address;
use crate::{endpoint, wire};

/// A collection of a server. Paths in it are percent-decoded, without slashes at their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `http://host:port`
    origin: String,
    root: String,
}

impl Place {
    pub(super) fn of(address: &Address) -> Place {
        let scheme = if address.tls { "https" } else { "http" };
        let root = joined(segments(&address.clean_path()));
        Place { origin: format!("{scheme}://{}", address.host), root }
    }

    /// Spelled one way.
    pub(super) fn spelled(&self) -> String {
        format!("{}/{}", endpoint::spelled(&self.origin), self.root)
    }

    /// The path of a name of the replica; of the replica itself if the name is empty.
    pub(super) fn path(&self, name: &str) -> String {
        joined([self.root.as_str(), name.trim_end_matches('/')].map(str::to_owned))
    }

    /// What a request for a path asks for.
    pub(super) fn target(&self, path: &str) -> String {
        format!("/{}", wire::path(path))
    }

    /// A request's whole URL.
    pub(super) fn uri(&self, target: &str) -> String {
        format!("{}{target}", self.origin)
    }
}

/// The collection that holds a path; none for the server's root.
pub(super) fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None if path.is_empty() => None,
        None => Some(""),
    }
}

/// The parts of the path of a URL, or of what a server calls `href`: a URL, or its path.
pub(super) fn segments(href: &str) -> impl Iterator<Item = String> {
    let path = match href.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => href,
    };
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
}

fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(scheme: &str, rest: &str) -> Place {
        Place::of(&Address::parse(scheme, rest).expect("an address"))
    }

    #[test]
    fn names_are_found_below_the_url() {
        let it = place("webdavs", "me:hush@host:8443//my%20backups/100%25/");
        let path = it.path("ltx/0/");
        assert_eq!(path, "my backups/100%/ltx/0");
        assert_eq!(it.uri(&it.target(&path)), "https://host:8443/my%20backups/100%25/ltx/0");
        let root = place("webdav", "host");
        assert_eq!((root.path(""), root.target("")), (String::new(), "/".to_owned()));
    }

    #[test]
    fn an_href_is_a_url_or_a_path() {
        for href in ["http://host/a%20b/c/", "/a%20b//c", "/a b/c/"] {
            assert_eq!(segments(href).collect::<Vec<_>>(), ["a b", "c"], "{href}");
        }
        assert_eq!(parent("a/b"), Some("a"));
        assert_eq!(parent("a"), Some(""));
        assert_eq!(parent(""), None);
    }
}
