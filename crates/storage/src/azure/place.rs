//! Which container a replica lies in, and at which server.

use super::connection::Connection;
use crate::address::Address;
use crate::{Error, Options, Result, endpoint, wire};

/// Where a replica lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The storage account, where it is known: keys are one account's.
    pub(super) account: Option<String>,
    pub(super) container: String,
    /// Scheme, host and perhaps a path, without a slash at its end.
    pub(super) base: String,
    /// Before the names of all blobs, with its slash; empty for the container's root.
    root: String,
}

impl Place {
    /// Finds it by the URL, the options and what a connection string says.
    pub(super) fn find(
        address: &Address,
        options: &Options,
        connection: &Connection,
        account: Option<&str>,
    ) -> Result<Place> {
        let path = address.clean_path();
        // No container has a dot in its name: this is the account's own host name.
        let of_host = address.host.split_once('.').map(|(account, _)| account);
        let (container, root) = match of_host {
            Some(_) => path.split_once('/').unwrap_or((&path, "")),
            None => (address.host.as_str(), path.as_str()),
        };
        let account = address
            .user
            .as_deref()
            .or(options.get("account-name"))
            .or(of_host)
            .or(connection.account.as_deref())
            .or(account);
        let base = match (options.get("endpoint"), of_host, &connection.base, account) {
            (Some(text), ..) => endpoint::base("endpoint", text)?,
            (_, Some(_), ..) => format!("https://{}", address.host),
            (_, _, Some(base), _) => base.clone(),
            (_, _, _, Some(account)) => format!("https://{account}.blob.core.windows.net"),
            _ => {
                return Err(Error::Unsupported {
                    url: address.to_string(),
                    reason: "it names no storage account: abs://account@container/path, or set \
                             account-name"
                        .into(),
                });
            }
        };
        if container.is_empty() {
            let reason = "it names no container: abs://account@container/path".into();
            return Err(Error::Unsupported { url: address.to_string(), reason });
        }
        if !endpoint::keeps_secrets(&base) {
            let reason = "credentials go over https alone".into();
            return Err(Error::Unsupported { url: "endpoint".into(), reason });
        }
        let root = if root.is_empty() { String::new() } else { format!("{root}/") };
        let (account, container) = (account.map(str::to_owned), container.to_owned());
        Ok(Place { account, container, base, root })
    }

    /// Spelled one way.
    pub(super) fn spelled(&self) -> String {
        format!("{}/{}/{}", endpoint::spelled(&self.base), self.container, self.root)
    }

    /// The address of the container.
    pub(super) fn container_uri(&self) -> String {
        format!("{}/{}", self.base, self.container)
    }

    /// The address of a blob.
    pub(super) fn blob_uri(&self, name: &str) -> String {
        format!("{}/{}", self.container_uri(), wire::path(name))
    }

    /// The name of a blob in the container.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// The name below the replica's root of a blob in the container.
    pub(super) fn relative<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(url: &str, options: &[(&str, &str)], connection: &str) -> Result<Place> {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let address = Address::parse(scheme, rest).expect("an address");
        let options: Options = options.iter().copied().collect();
        let connection = match connection {
            "" => Connection::default(),
            text => Connection::parse(text).expect("a connection string"),
        };
        Place::find(&address, &options, &connection, None)
    }

    #[test]
    fn a_blob_has_its_address() {
        let local = "http://127.0.0.1:10000/acct";
        let string = "AccountName=acct;AccountKey=aw==;BlobEndpoint=http://127.0.0.1:10000/acct";
        for (url, options, connection, expected) in [
            ("abs://acct@box/db", &[][..], "", "https://acct.blob.core.windows.net/box/db/x"),
            ("abs://acct@box", &[], "", "https://acct.blob.core.windows.net/box/x"),
            (
                "abs://box//a/../db/",
                &[("account-name", "acct")],
                "",
                "https://acct.blob.core.windows.net/box/db/x",
            ),
            (
                "abs://acct.blob.core.usgovcloudapi.net/box/db",
                &[],
                "",
                "https://acct.blob.core.usgovcloudapi.net/box/db/x",
            ),
            (
                "abs://acct@box/db",
                &[("endpoint", local)],
                "",
                "http://127.0.0.1:10000/acct/box/db/x",
            ),
            ("abs://box/db", &[], string, "http://127.0.0.1:10000/acct/box/db/x"),
        ] {
            let place = find(url, options, connection).expect(url);
            assert_eq!(place.blob_uri(&place.name("x")), expected, "{url}");
            assert_eq!(place.account.as_deref(), Some("acct"), "{url}");
            assert_eq!(place.relative(&place.name("x")), Some("x"), "{url}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = |url, options| find(url, options, "").expect_err("no place").to_string();
        assert!(error("abs://box/db", &[]).contains("no storage account"));
        assert!(error("abs://acct.blob.core.windows.net", &[]).contains("no container"));
        let plain = [("endpoint", "http://blobs.example.com")];
        assert!(error("abs://acct@box/db", &plain).contains("https alone"));
    }
}
