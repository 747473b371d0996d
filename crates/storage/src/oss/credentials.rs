//! Who we are to OSS.

use reqsign_aliyun_oss::{
    Credential, DefaultCredentialProvider, RequestSigner, SigningVersion, StaticCredentialProvider,
};
use reqsign_core::Signer;

use super::place::Place;
use crate::http::Http;
use crate::signing::{Signing, context};
use crate::{Environment, Error, Options, Result};

/// A pair of keys, if one was given; a half of one is an error.
fn given(options: &Options, env: &Environment) -> Result<Option<StaticCredentialProvider>> {
    let from_options = (
        options.get("access-key-id"),
        options.get("secret-access-key"),
        options.get("session-token"),
    );
    let from_environment = (
        env.get("OSS_ACCESS_KEY_ID"),
        env.get("OSS_ACCESS_KEY_SECRET"),
        env.get("OSS_SESSION_TOKEN"),
    );
    for (id, secret, token) in [from_options, from_environment] {
        match (id, secret) {
            (Some(id), Some(secret)) => {
                let keys = StaticCredentialProvider::new(id, secret);
                return Ok(Some(
                    token.into_iter().fold(keys, |it, token| it.with_security_token(token)),
                ));
            }
            (None, None) => {}
            _ => {
                return Err(Error::Unsupported {
                    url: "access-key-id".into(),
                    reason: "an access key and its secret belong together; one is missing".into(),
                });
            }
        }
    }
    Ok(None)
}

/// Signs with the given keys, or with what the environment, profiles, a role or the machine itself
/// provide.
pub(super) fn signing(
    http: &Http,
    options: &Options,
    env: &Environment,
    place: &Place,
) -> Result<Signing<Credential>> {
    let (context, keys) = (context(http, env), given(options, env)?);
    let (bucket, region) = (place.bucket.clone(), place.region.clone());
    Ok(Signing::new(move || {
        let signer = RequestSigner::new(&bucket)
            .with_region(&region)
            .with_signing_version(SigningVersion::V4);
        match &keys {
            Some(keys) => Signer::new(context.clone(), keys.clone(), signer),
            None => Signer::new(context.clone(), DefaultCredentialProvider::new(), signer),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_secret_is_refused() {
        let half: Options = [("access-key-id", "ak")].into_iter().collect();
        assert!(given(&half, &Environment::default()).is_err());
        assert!(given(&Options::new(), &Environment::default()).expect("none").is_none());
        let pairs = [("OSS_ACCESS_KEY_ID", "ak"), ("OSS_ACCESS_KEY_SECRET", "sk")];
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let env = Environment { variables, home: None };
        assert!(given(&Options::new(), &env).expect("keys").is_some());
    }
}
