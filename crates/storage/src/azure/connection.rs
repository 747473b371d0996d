//! Connection strings, as the portal of Azure shows them.

use std::collections::BTreeMap;

use crate::endpoint;
use crate::{Error, Result};

/// What one says. (`learn.microsoft.com/azure/storage/common/storage-configure-connection-string`)
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) account: Option<String>,
    pub(super) key: Option<String>,
    pub(super) sas: Option<String>,
    /// The address of the blobs.
    pub(super) base: Option<String>,
}

impl Connection {
    /// Reads `Name=value;Name=value`.
    pub(super) fn parse(text: &str) -> Result<Connection> {
        let mut values = BTreeMap::new();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(unreadable)?;
            values.insert(name.trim().to_ascii_lowercase(), value.trim());
        }
        let value = |name: &str| values.get(name).copied().filter(|value| !value.is_empty());
        let account = value("accountname");
        let base = match (value("blobendpoint"), account) {
            (Some(address), _) => Some(endpoint::base("BlobEndpoint", address)?),
            (None, Some(account)) => {
                let scheme = value("defaultendpointsprotocol").unwrap_or("https");
                let suffix = value("endpointsuffix").unwrap_or("core.windows.net");
                Some(endpoint::base(
                    "EndpointSuffix",
                    &format!("{scheme}://{account}.blob.{suffix}"),
                )?)
            }
            (None, None) => return Err(unreadable()),
        };
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let (key, sas) = (owned(value("accountkey")), owned(value("sharedaccesssignature")));
        Ok(Connection { account: owned(account), key, sas, base })
    }
}

/// Says nothing of the text, which holds secrets.
fn unreadable() -> Error {
    Error::Unsupported {
        url: "connection-string".into(),
        reason: "is not of the form AccountName=...;AccountKey=...".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_taken_apart() {
        let it = Connection::parse(
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5PT0=;\
             EndpointSuffix=core.chinacloudapi.cn",
        )
        .expect("by account");
        assert_eq!((it.account.as_deref(), it.key.as_deref()), (Some("acct"), Some("a2V5PT0=")));
        assert_eq!(it.base.as_deref(), Some("https://acct.blob.core.chinacloudapi.cn"));
        let it = Connection::parse(
            "BlobEndpoint=http://127.0.0.1:10000/acct/;SharedAccessSignature=sv=1&sig=a%3D;",
        )
        .expect("by endpoint");
        assert_eq!(it.base.as_deref(), Some("http://127.0.0.1:10000/acct"));
        assert_eq!((it.account, it.sas.as_deref()), (None, Some("sv=1&sig=a%3D")));
        for text in ["hush", "AccountKey=hush", "AccountName=a;hush"] {
            let error = Connection::parse(text).err().expect(text).to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
