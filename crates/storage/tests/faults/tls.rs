//! Servers that are not who they say they are.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use storage::Error;
use testkit::{Scratch, wait};

use crate::{environment, list, open};

/// A server that says nothing of use, over TLS.
struct Secure {
    process: Child,
    port: u16,
    certificate: PathBuf,
}

impl Secure {
    /// With a certificate for `name` that it signed itself. None where there is no `openssl`.
    fn start(scratch: &Scratch, name: &str) -> Option<Secure> {
        let (key, certificate) = (scratch.path("key.pem"), scratch.path("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=brooklet"])
            .args(["-addext", &format!("subjectAltName=DNS:{name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        let made = made.ok().or_else(|| {
            assert!(std::env::var_os("CI").is_none(), "no openssl");
            eprintln!("skipped: openssl is not there");
            None
        })?;
        assert!(made.success(), "no certificate");
        let port = free_port();
        let process = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")])
            .arg("-key")
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run openssl");
        wait::until("openssl to listen", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(Secure { process, port, certificate })
    }

    /// What a listing fails with.
    fn error(&self, options: &[(&str, &str)], authorities: Option<&Path>) -> Error {
        let keys = [("access-key-id", "k"), ("secret-access-key", "s"), ("timeout", "1s")];
        let variables = authorities.map(|path| ("AWS_CA_BUNDLE", path.to_str().expect("a path")));
        let url = format!("s3://b/p?endpoint=https://localhost:{}&region=r", self.port);
        let environment = environment(variables.as_slice(), None);
        list(&*open(&url, &[&keys[..], options].concat(), &environment)).expect_err("no S3 server")
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Whether a server's certificate was the reason.
fn is_about_trust(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. }) && error.to_string().contains("certificate")
}

#[test]
fn a_certificate_of_nobody_is_not_trusted() {
    let scratch = Scratch::new("tls");
    let Some(server) = Secure::start(&scratch, "localhost") else { return };
    let error = server.error(&[], None);
    assert!(is_about_trust(&error), "{error:?}");
    // Once it is trusted, the server turns out to speak another language.
    for error in [
        server.error(&[], Some(server.certificate.as_path())),
        server.error(&[("skip-verify", "true")], None),
    ] {
        assert!(!is_about_trust(&error), "{error:?}");
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_certificate_for_another_name_is_not_trusted() {
    let scratch = Scratch::new("tls");
    let Some(server) = Secure::start(&scratch, "elsewhere.example") else { return };
    let error = server.error(&[], Some(server.certificate.as_path()));
    assert!(is_about_trust(&error), "{error:?}");
}
