//! Who we are to S3.

use reqsign_aws_v4::{
    Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::Signer;

use super::roles::Roles;
use crate::http::Http;
use crate::signing::{Signing, context};
use crate::{Environment, Error, Options, Result};

/// A pair of keys, if one was given; a half of one is an error.
pub(super) fn given(
    options: &Options,
    environment: &Environment,
) -> Result<Option<StaticCredentialProvider>> {
    let from_options = (options.get("access-key-id"), options.get("secret-access-key"));
    let variable = |name: &str| environment.get(name);
    let from_environment =
        (variable("LITESTREAM_ACCESS_KEY_ID"), variable("LITESTREAM_SECRET_ACCESS_KEY"));
    let token = options.get("session-token");
    for pair in [from_options, from_environment] {
        match pair {
            (Some(id), Some(secret)) => {
                let keys = StaticCredentialProvider::new(id, secret);
                return Ok(Some(
                    token.into_iter().fold(keys, |it, token| it.with_session_token(token)),
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

/// Signs with the given keys, or with what the environment, profiles, web identity, a container or
/// the machine itself provide.
pub(super) fn signing(
    http: &Http,
    options: &Options,
    environment: &Environment,
    region: &str,
) -> Result<Signing<Credential>> {
    let (context, region) = (context(http, environment), region.to_owned());
    given(options, environment)?;
    let (options, environment) = (options.clone(), environment.clone());
    Ok(Signing::new(move || {
        let signer = RequestSigner::new("s3", &region);
        match given(&options, &environment) {
            Ok(Some(keys)) => Signer::new(context.clone(), keys, signer),
            _ => {
                let mut builder = DefaultCredentialProvider::builder();
                let profile = options.get("profile").map(str::to_owned);
                if let Some(profile) = &profile {
                    builder = builder.with_profile(profile);
                }
                let all = builder.build().push_front(Roles { profile });
                Signer::new(context.clone(), all, signer)
            }
        }
    }))
}
