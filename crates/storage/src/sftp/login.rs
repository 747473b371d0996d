//! Who we are to a server: passwords, keys, certificates, an agent.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Prompted};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use russh::{AgentAuthError, MethodKind, MethodSet};

use super::connection::Guard;
use super::failure;
use crate::{Address, Environment, Error, Options, Result};

/// Rounds of questions that are answered before we believe that there is no end to them.
const MOST_ROUNDS: usize = 8;

/// A user, and what proves that it is us.
pub(super) struct Login {
    user: String,
    password: Option<String>,
    key: Option<PathBuf>,
    passphrase: Option<String>,
    agent: Option<PathBuf>,
}

/// One way to log in.
enum Way {
    Certificate(Arc<PrivateKey>, Box<Certificate>),
    Key(Arc<PrivateKey>),
    Password(String),
    /// Questions that the server asks, all answered with the password.
    Prompts(String),
    Agent(PathBuf),
    /// For a server that lets anybody in.
    Nothing,
}

impl Login {
    pub(super) fn of(
        user: &str,
        address: &Address,
        options: &Options,
        environment: &Environment,
    ) -> Login {
        let option = |name: &str| options.get(name).map(str::to_owned);
        Login {
            user: user.to_owned(),
            password: address.password.clone().or_else(|| option("password")),
            key: options.get("key-path").map(|path| environment.expand(path)),
            passphrase: option("key-passphrase"),
            agent: environment.get("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    /// Logs in by the first way that the server takes; by several where it wants several.
    pub(super) async fn log_in(&self, object: &str, ssh: &mut Handle<Guard>) -> Result<()> {
        let (mut ways, mut at, mut tried) = (self.ways()?, 0, Vec::new());
        let mut taken: Option<MethodSet> = None;
        while let Some(way) = ways.get(at) {
            if taken.as_ref().is_some_and(|taken| !way.is_among(taken)) {
                at += 1;
                continue;
            }
            let result = self.attempt(object, way, ssh).await?;
            let unusable = if result.is_none() { " (none can be used)" } else { "" };
            tried.push(format!("{way}{unusable}"));
            match result {
                None => at += 1,
                Some(AuthResult::Success) => return Ok(()),
                Some(AuthResult::Failure { remaining_methods, partial_success }) => {
                    if remaining_methods.is_empty() {
                        tried.push("then the server hung up".into());
                        break;
                    }
                    taken = Some(remaining_methods);
                    match partial_success {
                        true => (_, at) = (ways.remove(at), 0),
                        false => at += 1,
                    }
                }
            }
        }
        Err(self.failed(object, &tried, taken.as_ref()))
    }

    fn ways(&self) -> Result<Vec<Way>> {
        let mut ways = Vec::new();
        if let Some(path) = &self.key {
            let key = Arc::new(self.read_key(path)?);
            if let Some(certificate) = certificate_beside(path)? {
                ways.push(Way::Certificate(Arc::clone(&key), Box::new(certificate)));
            }
            ways.push(Way::Key(key));
        }
        if let Some(password) = &self.password {
            ways.push(Way::Password(password.clone()));
            ways.push(Way::Prompts(password.clone()));
        }
        ways.extend(self.agent.clone().map(Way::Agent));
        if ways.is_empty() {
            ways.push(Way::Nothing);
        }
        Ok(ways)
    }

    fn read_key(&self, path: &Path) -> Result<PrivateKey> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::from_io(format!("key-path {name}"), error))?;
        decode_secret_key(&text, self.passphrase.as_deref()).map_err(|error| {
            let reason = match (&self.passphrase, error) {
                (None, russh::keys::Error::KeyIsEncrypted) => {
                    "the key is encrypted; set key-passphrase, or give it to an ssh-agent".into()
                }
                (Some(_), error) => format!("no key can be read with this passphrase: {error}"),
                (None, error) => format!("no key can be read from it: {error}"),
            };
            Error::Denied { object: format!("key-path {name}"), reason }
        })
    }

    /// What the server says to one way; none if there was nothing to say it to.
    async fn attempt(
        &self,
        object: &str,
        way: &Way,
        ssh: &mut Handle<Guard>,
    ) -> Result<Option<AuthResult>> {
        let user = self.user.as_str();
        let result = match way {
            Way::Certificate(key, certificate) => {
                let hash = signature_hash(ssh, key.public_key()).await;
                let certificate = certificate.as_ref().clone();
                let mut signer = Signer(Arc::clone(key));
                let signed =
                    ssh.authenticate_certificate_with(user, certificate, hash, &mut signer).await;
                signed.map_err(|error| match error {
                    AgentAuthError::Send(_) => russh::Error::SendError,
                    AgentAuthError::Key(error) => russh::Error::Keys(error),
                })
            }
            Way::Key(key) => {
                let hash = signature_hash(ssh, key.public_key()).await;
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
                ssh.authenticate_publickey(user, key).await
            }
            Way::Password(password) => ssh.authenticate_password(user, password).await,
            Way::Prompts(password) => answer(user, password, ssh).await,
            Way::Agent(path) => return Ok(self.ask_agent(path, ssh).await),
            Way::Nothing => ssh.authenticate_none(user).await,
        };
        result.map(Some).map_err(|error| failure::lost(object, error))
    }

    /// Tries one key after the other that an agent holds.
    async fn ask_agent(&self, path: &Path, ssh: &mut Handle<Guard>) -> Option<AuthResult> {
        let mut agent = AgentClient::connect_uds(path).await.ok()?;
        if let Some(binding) = ssh.agent_session_binding() {
            // Agents that know nothing of it need not.
            let _ = agent.bind_session(binding, false).await;
        }
        let mut last = None;
        for identity in agent.request_identities().await.ok()? {
            let user = self.user.as_str();
            let signed = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let hash = signature_hash(ssh, &key).await;
                    ssh.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let key = certificate.public_key().clone().into();
                    let hash = signature_hash(ssh, &key).await;
                    ssh.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                }
            };
            // One that the agent will not sign with is passed over.
            let Ok(result) = signed else { continue };
            let goes_on = matches!(
                &result,
                AuthResult::Failure { remaining_methods, partial_success: false }
                    if remaining_methods.contains(&MethodKind::PublicKey)
            );
            last = Some(result);
            if !goes_on {
                break;
            }
        }
        last
    }

    fn failed(&self, object: &str, tried: &[String], taken: Option<&MethodSet>) -> Error {
        let mut reason = format!("the server refuses to log {} in; tried ", self.user);
        reason.push_str(&tried.join(", "));
        if let Some(taken) = taken {
            let names: Vec<&str> = taken.iter().map(<&str>::from).collect();
            reason.push_str("; it takes ");
            reason.push_str(&names.join(", "));
        }
        if self.password.is_none() && self.key.is_none() {
            reason.push_str(" (set password or key-path, or run an ssh-agent)");
        }
        Error::Denied { object: object.to_owned(), reason }
    }
}

impl Way {
    fn is_among(&self, taken: &MethodSet) -> bool {
        taken.contains(&match self {
            Way::Certificate(..) | Way::Key(_) | Way::Agent(_) => MethodKind::PublicKey,
            Way::Password(_) => MethodKind::Password,
            Way::Prompts(_) => MethodKind::KeyboardInteractive,
            Way::Nothing => MethodKind::None,
        })
    }
}

/// Its name, for messages.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Certificate(..) => "a certificate",
            Way::Key(_) => "a key",
            Way::Password(_) => "a password",
            Way::Prompts(_) => "a password when asked (keyboard-interactive)",
            Way::Agent(_) => "the keys of an ssh-agent",
            Way::Nothing => "nothing",
        })
    }
}

/// Without secrets.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Signs with a key for its certificate. What `russh` has for that knows only the hash of RSA that
/// servers refuse by now.
struct Signer(Arc<PrivateKey>);

impl russh::Signer for Signer {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut text: Vec<u8>,
    ) -> std::result::Result<Vec<u8>, AgentAuthError> {
        let signed: std::result::Result<Signature, _> = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&text),
            pair => pair.try_sign(&text),
        };
        let signature = signed.map_err(|_| russh::keys::Error::InvalidSignature)?;
        let mut encoded = Vec::new();
        signature.encode(&mut encoded).map_err(russh::keys::Error::from)?;
        encoded.encode(&mut text).map_err(russh::keys::Error::from)?;
        Ok(text)
    }
}

/// Answers all hidden questions with the password, and others with nothing.
async fn answer(
    user: &str,
    password: &str,
    ssh: &mut Handle<Guard>,
) -> std::result::Result<AuthResult, russh::Error> {
    let mut asked = ssh.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..MOST_ROUNDS {
        match asked {
            Prompted::Success => return Ok(AuthResult::Success),
            Prompted::Failure { remaining_methods, partial_success } => {
                return Ok(AuthResult::Failure { remaining_methods, partial_success });
            }
            Prompted::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|prompt| match prompt.echo {
                    true => String::new(),
                    false => password.to_owned(),
                });
                let answers = answers.collect();
                asked = ssh.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Err(russh::Error::Inconsistent)
}

/// The best hash for signatures of RSA that the server knows; other keys have but one.
async fn signature_hash(ssh: &Handle<Guard>, key: &russh::keys::PublicKey) -> Option<HashAlg> {
    match key.algorithm().is_rsa() {
        true => ssh.best_supported_rsa_hash().await.ok().flatten().flatten(),
        false => None,
    }
}

/// The certificate of a key, where `ssh` looks for it: `<key>-cert.pub`.
fn certificate_beside(key: &Path) -> Result<Option<Certificate>> {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    let (path, shown) = (PathBuf::from(&name), name.display().to_string());
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| Error::from_io(shown.clone(), error))?,
    };
    let certificate = Certificate::from_openssh(text.trim()).map_err(|error| Error::Denied {
        object: shown,
        reason: format!("it is no certificate: {error}"),
    })?;
    Ok(Some(certificate))
}
