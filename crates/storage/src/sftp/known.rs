//! Which servers we believe to be who they say.

use std::path::{Path, PathBuf};

use ring::hmac;
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, PublicKey};

use crate::{Environment, Error, Options, Result};

/// What is known of a server's key before it shows one.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// One of these it must be, with where we have each from; empty if the server is not known.
    expected: Vec<(PublicKey, String)>,
    revoked: Vec<PublicKey>,
    /// Whether a server that is not known is refused.
    strict: bool,
}

/// What a key that a server shows is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the server's.
    Good,
    /// Nobody told us this server's key: it could be anybody's.
    Unknown,
    /// It must not be taken, for this reason.
    Refused(String),
}

impl Known {
    /// What the option `host-key` says (lines as in `authorized_keys`), or else the files of known
    /// hosts: the option `known-hosts`, or the user's and the system's.
    pub(super) fn of(
        known_as: &str,
        options: &Options,
        environment: &Environment,
    ) -> Result<Known> {
        let strict = options.switch("strict-host-key")?.unwrap_or(false);
        let mut known = Known { strict, expected: Known::given(options)?, ..Known::default() };
        if !known.expected.is_empty() {
            return Ok(known);
        }
        for (path, must_exist) in files(options, environment) {
            known.read(known_as, &path, must_exist)?;
        }
        Ok(known)
    }

    /// The keys of the option `host-key`, with that name for their source.
    pub(super) fn given(options: &Options) -> Result<Vec<(PublicKey, String)>> {
        let lines = options.get("host-key").unwrap_or_default().lines().map(str::trim);
        let read = |line: &str| match line.parse() {
            Ok(key) => Ok((key, "host-key".to_owned())),
            Err(_) => Err(Error::Unsupported {
                url: "host-key".into(),
                reason: "is a line as in authorized_keys: ssh-ed25519 AAAA...".into(),
            }),
        };
        lines.filter(|line| !line.is_empty()).map(read).collect()
    }

    fn read(&mut self, known_as: &str, path: &Path, must_exist: bool) -> Result<()> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                return Ok(());
            }
            read => read.map_err(|error| Error::from_io(path.display().to_string(), error))?,
        };
        self.take(known_as, &String::from_utf8_lossy(&text), &path.display().to_string());
        Ok(())
    }

    /// Lines that we do not understand are about keys that we could not use either.
    fn take(&mut self, known_as: &str, text: &str, name: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let Ok(entry) = line.parse::<Entry>() else { continue };
            if !is_about(entry.host_patterns(), known_as) {
                continue;
            }
            let key = entry.public_key().clone();
            match entry.marker() {
                None => self.expected.push((key, format!("{name}:{number}"))),
                Some(Marker::Revoked) => self.revoked.push(key),
                // Certificates of hosts are not asked for.
                Some(Marker::CertAuthority) => {}
            }
        }
    }

    /// The kinds of keys that the server should show: those that we could recognise come first.
    pub(super) fn preferred(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let is_known = |algorithm: &Algorithm| {
            self.expected.iter().any(|(key, _)| match (key.algorithm(), algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (known, algorithm) => known == *algorithm,
            })
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_known);
        first.extend(rest);
        first
    }

    /// Judges the key that a server shows.
    pub(super) fn judge(&self, shown: &PublicKey) -> Verdict {
        let is_shown = |key: &PublicKey| key.key_data() == shown.key_data();
        let fingerprint = fingerprint(shown);
        if self.revoked.iter().any(is_shown) {
            return Verdict::Refused(format!("the server's host key {fingerprint} is revoked"));
        }
        if self.expected.iter().any(|(key, _)| is_shown(key)) {
            return Verdict::Good;
        }
        let line = line(shown);
        let same_kind = |it: &&(PublicKey, String)| it.0.algorithm() == shown.algorithm();
        let expected = self.expected.iter().find(same_kind).or(self.expected.first());
        match expected {
            Some((key, source)) => Verdict::Refused(format!(
                "the server's host key is not the one that is known: it shows {fingerprint}, \
                 {source} has {}; somebody may be in between, or the server has a new key \
                 (then set host-key: {line})",
                self::fingerprint(key)
            )),
            None if self.strict => Verdict::Refused(format!(
                "the server's host key {fingerprint} is not known; if it is the right one, add it \
                 to known_hosts or set host-key: {line}"
            )),
            None => Verdict::Unknown,
        }
    }
}

fn files(options: &Options, environment: &Environment) -> Vec<(PathBuf, bool)> {
    if let Some(path) = options.get("known-hosts") {
        return vec![(environment.expand(path), true)];
    }
    let own = environment.home.as_ref().map(|home| home.join(".ssh/known_hosts"));
    let system = PathBuf::from("/etc/ssh/ssh_known_hosts");
    own.into_iter().chain([system]).map(|path| (path, false)).collect()
}

/// `SHA256:...`, as `ssh-keygen -l` shows it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// As `authorized_keys` has it, without a comment.
pub(super) fn line(key: &PublicKey) -> String {
    PublicKey::from(key.key_data().clone()).to_openssh().unwrap_or_default()
}

fn is_about(patterns: &HostPatterns, known_as: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, known_as.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let matches = |pattern: &str| is_like(known_as.as_bytes(), &pattern.to_lowercase());
            let denies = |pattern: &String| pattern.strip_prefix('!').is_some_and(matches);
            patterns.iter().any(|pattern| matches(pattern)) && !patterns.iter().any(denies)
        }
    }
}

/// Whether a name is as a pattern with `*` and `?` says.
fn is_like(name: &[u8], pattern: &str) -> bool {
    let pattern = pattern.as_bytes();
    let (mut at, mut in_pattern, mut retry) = (0, 0, None);
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                retry = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match &mut retry {
                Some((from, star)) => {
                    *from += 1;
                    (at, in_pattern) = (*from, *star + 1);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu540tu9N1OkQ4znY3LYuEm5zCF";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn key(line: &str) -> PublicKey {
        line.parse().expect("a key")
    }

    fn known(text: &str, strict: bool) -> Known {
        let mut known = Known { strict, ..Known::default() };
        known.take("[host.example]:2222", text, "known_hosts");
        known
    }

    #[test]
    fn a_known_key_is_good_and_any_other_refused() {
        let known = known(&format!("# hosts\n[host.example]:2222 {ONE} a comment\n"), false);
        assert_eq!(known.judge(&key(ONE)), Verdict::Good);
        let Verdict::Refused(reason) = known.judge(&key(OTHER)) else { panic!("not refused") };
        for part in [&fingerprint(&key(ONE)), &fingerprint(&key(OTHER)), OTHER, "known_hosts:2"] {
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn lines_for_other_hosts_say_nothing() {
        let other = format!("host.example {ONE}\n[other]:2222 {ONE}\nbroken line\n");
        assert_eq!(known(&other, false).judge(&key(ONE)), Verdict::Unknown);
        assert!(matches!(known(&other, true).judge(&key(ONE)), Verdict::Refused(_)));
    }

    #[test]
    fn patterns_negations_and_marks_count() {
        let good = |line: String| known(&line, false).judge(&key(ONE)) == Verdict::Good;
        assert!(good(format!("a,[*.example]:2222 {ONE}")));
        assert!(good(format!("[HOST.exampl?]:2222 {ONE}")));
        assert!(!good(format!("[*.example]:2222,![host*]:2222 {ONE}")));
        assert!(!good(format!("@cert-authority * {ONE}")));
        let revoked = known(&format!("* {ONE}\n@revoked * {ONE}"), false);
        assert!(matches!(revoked.judge(&key(ONE)), Verdict::Refused(_)));
    }

    #[test]
    fn a_hashed_name_is_found() {
        let salt = b"twenty bytes of salt";
        let key_of_salt = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
        let hash = hmac::sign(&key_of_salt, b"[host.example]:2222");
        let hashed = HostPatterns::HashedName {
            salt: salt.to_vec(),
            hash: hash.as_ref().try_into().expect("20 bytes"),
        };
        let line = format!("{} {ONE}", hashed.to_string());
        assert_eq!(known(&line, false).judge(&key(ONE)), Verdict::Good);
    }

    #[test]
    fn kinds_of_known_keys_are_asked_for_first() {
        let rsa = Algorithm::Rsa { hash: Some(HashAlg::Sha512) };
        let all = [rsa.clone(), Algorithm::Ed25519];
        let known = known(&format!("* {ONE}"), false);
        assert_eq!(known.preferred(&all), [Algorithm::Ed25519, rsa]);
    }
}
