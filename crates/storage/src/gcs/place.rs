//! Which bucket a replica lies in, and at which server.

use crate::address::Address;
use crate::{Environment, Error, Options, Result, endpoint, wire};

const GOOGLE: &str = "https://storage.googleapis.com";

/// Where a replica lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Scheme and host, without a slash at its end.
    base: String,
    /// Before the names of all objects, with its slash; empty for the bucket's root.
    root: String,
    /// Whether the server is one for tests, which wants no credentials.
    pub(super) is_emulator: bool,
}

impl Place {
    /// Finds it by the URL, the options and the environment: `STORAGE_EMULATOR_HOST` stands for
    /// what Google's own libraries take it for.
    pub(super) fn find(
        address: &Address,
        options: &Options,
        environment: &Environment,
    ) -> Result<Place> {
        let emulator = environment.get("STORAGE_EMULATOR_HOST");
        let (base, is_emulator) = match (options.get("endpoint"), emulator) {
            (Some(text), _) => (endpoint::base("endpoint", text)?, false),
            (None, Some(text)) => {
                let text = if text.contains("://") { text } else { &format!("http://{text}") };
                (endpoint::base("STORAGE_EMULATOR_HOST", text)?, true)
            }
            (None, None) => (GOOGLE.to_owned(), false),
        };
        if !is_emulator && !endpoint::keeps_secrets(&base) {
            let reason = "credentials go over https alone".into();
            return Err(Error::Unsupported { url: "endpoint".into(), reason });
        }
        let path = address.clean_path();
        let root = if path.is_empty() { path } else { format!("{path}/") };
        Ok(Place { bucket: address.host.clone(), base, root, is_emulator })
    }

    /// Spelled one way.
    pub(super) fn spelled(&self) -> String {
        format!("{}/{}/{}", endpoint::spelled(&self.base), self.bucket, self.root)
    }

    /// The address of all objects.
    pub(super) fn objects_uri(&self) -> String {
        format!("{}/storage/v1/b/{}/o", self.base, wire::escaped(&self.bucket))
    }

    /// The address of an object.
    pub(super) fn object_uri(&self, key: &str) -> String {
        format!("{}/{}", self.objects_uri(), wire::escaped(&self.name(key)))
    }

    /// Where new objects are sent to.
    pub(super) fn upload_uri(&self) -> String {
        format!("{}/upload/storage/v1/b/{}/o", self.base, wire::escaped(&self.bucket))
    }

    /// The name of an object in the bucket.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// The name below the replica's root of an object of the bucket.
    pub(super) fn relative<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_its_address() {
        let address = Address::parse("gs", "box/db/a b").expect("an address");
        let find = |options: &[(&str, &str)], emulator: &str| {
            let variables = [("STORAGE_EMULATOR_HOST".to_owned(), emulator.to_owned())];
            let environment = Environment { variables: variables.into(), home: None };
            Place::find(&address, &options.iter().copied().collect(), &environment)
        };
        let place = find(&[], "").expect("Google's");
        let uri = "https://storage.googleapis.com/storage/v1/b/box/o/db%2Fa%20b%2Fltx%2F0%2Fx";
        assert_eq!(place.object_uri("ltx/0/x"), uri);
        assert_eq!(place.relative("db/a b/ltx/0/x"), Some("ltx/0/x"));
        assert!(!place.is_emulator);
        for host in ["127.0.0.1:4443", "http://127.0.0.1:4443/"] {
            let place = find(&[], host).expect(host);
            let uri = "http://127.0.0.1:4443/upload/storage/v1/b/box/o";
            assert_eq!((place.upload_uri().as_str(), place.is_emulator), (uri, true));
        }
        let place = find(&[("endpoint", "https://private.example")], "127.0.0.1:4443");
        assert_eq!(
            place.expect("ours").objects_uri(),
            "https://private.example/storage/v1/b/box/o"
        );
        assert!(find(&[("endpoint", "http://private.example")], "").is_err());
    }
}
