//! Whom we believe that they are who they say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Environment, Error, Options, Result};

/// Whose certificates are taken for good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Files of authorities that are trusted beside those of the system.
    pub(crate) authorities: Vec<PathBuf>,
    /// Whether anybody is (`skip-verify`).
    pub(crate) anybody: bool,
    /// Files of the certificate that we show, and of its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// What the options and the environment say: `skip-verify`, and `AWS_CA_BUNDLE` or
    /// `SSL_CERT_FILE`.
    pub(crate) fn of(options: &Options, environment: &Environment) -> Result<Trust> {
        let named = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
        let authorities = named.into_iter().filter_map(|name| environment.get(name));
        Ok(Trust {
            authorities: authorities.map(PathBuf::from).collect(),
            anybody: options.switch("skip-verify")?.unwrap_or(false),
            identity: None,
        })
    }
}

/// What TLS connections are made with.
pub(crate) fn config(trust: &Trust) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("TLS", error))?;
    let builder = match trust.anybody {
        true => {
            let anybody = Arc::new(Anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(anybody)
        }
        false => builder.with_root_certificates(roots(trust)?),
    };
    let Some((certificate, key)) = &trust.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let name = key.display().to_string();
    let file = std::fs::read(key).map_err(|error| Error::from_io(name.clone(), error))?;
    let key = PrivateKeyDer::from_pem_slice(&file).map_err(|error| failed(&name, error))?;
    builder
        .with_client_auth_cert(certificates(certificate)?, key)
        .map_err(|error| failed(&name, error))
}

/// The system's authorities and those that were named; where the system has none, as in an empty
/// container, those that browsers know.
pub(crate) fn roots(trust: &Trust) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    for path in &trust.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| failed(&path.display().to_string(), error))?;
        }
    }
    Ok(roots)
}

/// The certificates of a PEM file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let name = path.display().to_string();
    let file = std::fs::read(path).map_err(|error| Error::from_io(name.clone(), error))?;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(failed(&name, std::io::Error::other("no certificate in it")))
        }
        read => read.map_err(|error| failed(&name, error)),
    }
}

fn failed(object: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io { object: object.to_owned(), source: std::io::Error::other(error) }
}

/// Takes any certificate: whoever asks for `skip-verify` gets it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
