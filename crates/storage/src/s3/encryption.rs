//! Encryption by the server, with its keys or with ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};

use super::place::Place;
use crate::endpoint::is_near;
use crate::{Error, Options, Result};

const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const KMS_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const OUR_ALGORITHM: HeaderName =
    HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
const OUR_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key");
const OUR_KEY_SUM: HeaderName =
    HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5");

/// The headers that ask for it.
#[derive(Debug, Default)]
pub(super) struct Encryption {
    /// When an object is begun.
    pub(super) on_create: HeaderMap,
    /// When its bytes are read or written: our key, which the server does not keep.
    pub(super) on_access: HeaderMap,
}

impl Encryption {
    /// What the options ask for.
    pub(super) fn of(options: &Options, place: &Place) -> Result<Encryption> {
        let mut encryption = Encryption::default();
        let ours = our_key(options)?;
        let kms = options.get("sse-kms-key-id");
        match (ours, kms, options.get("sse")) {
            (None, None, None) => {}
            (Some(key), None, None) => encryption.use_our(&key, options, place)?,
            (None, kms, algorithm) => {
                let algorithm = algorithm.unwrap_or("aws:kms");
                encryption.on_create.insert(ALGORITHM, value("sse", algorithm)?);
                if let Some(kms) = kms {
                    encryption.on_create.insert(KMS_KEY, value("sse-kms-key-id", kms)?);
                }
            }
            _ => {
                return Err(unusable(
                    "sse-customer-key",
                    "an object is encrypted with the server's keys or with ours, not with both",
                ));
            }
        }
        Ok(encryption)
    }

    fn use_our(&mut self, key: &str, options: &Options, place: &Place) -> Result<()> {
        let algorithm = options.get("sse-customer-algorithm").unwrap_or("AES256");
        if algorithm != "AES256" {
            return Err(unusable("sse-customer-algorithm", "AES256 is the only one"));
        }
        if place.scheme != "https" && !is_near(&place.host) {
            return Err(unusable("sse-customer-key", "the key may go over https alone"));
        }
        let bytes = BASE64.decode(key).ok().filter(|bytes| bytes.len() == 32);
        let bytes =
            bytes.ok_or_else(|| unusable("sse-customer-key", "32 bytes in Base64 are wanted"))?;
        let sum = BASE64.encode(Md5::digest(&bytes));
        self.on_access.insert(OUR_ALGORITHM, HeaderValue::from_static("AES256"));
        self.on_access.insert(OUR_KEY, value("sse-customer-key", key)?);
        self.on_access.insert(OUR_KEY_SUM, value("sse-customer-key", &sum)?);
        Ok(())
    }
}

fn our_key(options: &Options) -> Result<Option<String>> {
    let Some(path) = options.get("sse-customer-key-path") else {
        return Ok(options.get("sse-customer-key").map(str::to_owned));
    };
    let key = std::fs::read_to_string(path).map_err(|error| Error::from_io(path, error))?;
    Ok(Some(key.trim().to_owned()))
}

fn value(option: &str, text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| unusable(option, "holds a character that no header may hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(option: &str, reason: &str) -> Error {
    Error::Unsupported { url: option.to_owned(), reason: reason.to_owned() }
}
