//! Which servers, which bucket, and how to get in.

use std::time::Duration;

use async_nats::ConnectOptions;

use crate::address::Address;
use crate::tls::{self, Trust};
use crate::{Environment, Error, Options, Result, wire};

const PORT: u16 = 4222;
/// As Litestream waits.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A silent connection is taken for lost after three of these.
const PING: Duration = Duration::from_secs(8);

/// What a URL and its options say.
#[derive(Debug)]
pub(super) struct Settings {
    /// `host:port`, of one or more servers of a cluster.
    pub(super) servers: Vec<String>,
    pub(super) bucket: String,
    /// Before the names of all objects, with a slash at its end; empty as Litestream has it.
    pub(super) base: String,
    login: Login,
    trust: Trust,
    /// Whether the connection must be encrypted, rather than may.
    tls: bool,
    timeout: Duration,
    /// How often in a row the client tries to come back; for ever if none.
    reconnects: Option<usize>,
    wait: Option<Duration>,
}

/// How to get in. Values are secrets.
enum Login {
    Nobody,
    /// A token of a user and the key that proves it, as text.
    Credentials(String),
    /// The same in a file.
    File(String),
    /// A key alone.
    Seed(String),
    Password(String, String),
    Token(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl Settings {
    pub(super) fn of(
        address: &Address,
        options: &Options,
        environment: &Environment,
    ) -> Result<Settings> {
        let path = address.clean_path();
        let (first, rest) = path.split_once('/').unwrap_or((path.as_str(), ""));
        let bucket = if first.is_empty() { options.get("bucket").unwrap_or("") } else { first };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(Error::Unsupported {
                url: address.to_string(),
                reason: "names no bucket; hint: nats://host/bucket, of letters, digits, - and _"
                    .into(),
            });
        }
        let identity = match (options.get("client-cert"), options.get("client-key")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => return Err(unusable("client-cert", "needs client-key, and the other way round")),
        };
        let mut trust = Trust { identity, ..Trust::of(options, environment)? };
        let authorities =
            options.get("root-cas").unwrap_or_default().split([',', '\n']).map(str::trim);
        trust.authorities.extend(authorities.filter(|it| !it.is_empty()).map(Into::into));
        let given = ["root-cas", "client-cert"].iter().any(|name| options.get(name).is_some());
        let reconnects: Option<i64> = options.parse("max-reconnects", "is a number")?;
        let port = |host: &str| match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:{PORT}"),
        };
        Ok(Settings {
            servers: address.host.split(',').map(port).collect(),
            bucket: bucket.to_owned(),
            base: if rest.is_empty() { String::new() } else { format!("{rest}/") },
            login: login(address, options)?,
            trust,
            tls: options.switch("tls")?.unwrap_or(given),
            timeout: wire::duration(options, "timeout")?
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(TIMEOUT),
            reconnects: reconnects.and_then(|it| usize::try_from(it).ok()),
            wait: wire::duration(options, "reconnect-wait")?,
        })
    }

    /// The place, spelled one way.
    pub(super) fn spelled(&self) -> String {
        let mut servers: Vec<String> =
            self.servers.iter().map(|server| server.to_ascii_lowercase()).collect();
        servers.sort_unstable();
        servers.dedup();
        format!("{}/{}/{}", servers.join(","), self.bucket, self.base)
    }

    /// What to connect with, files read anew each time.
    pub(super) async fn connect_options(&self, object: &str) -> Result<ConnectOptions> {
        let mut options = ConnectOptions::new()
            .name("brooklet")
            .connection_timeout(self.timeout)
            .ping_interval(PING)
            .tls_client_config(tls::config(&self.trust)?)
            .require_tls(self.tls)
            .max_reconnects(self.reconnects);
        if let Some(wait) = self.wait {
            options = options.reconnect_delay_callback(move |_| wait);
        }
        let unusable = |error| Error::Denied {
            object: object.to_owned(),
            reason: format!("the credentials cannot be used: {error}"),
        };
        match &self.login {
            Login::Nobody => Ok(options),
            Login::Credentials(text) => options.credentials(text).map_err(unusable),
            Login::File(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|error| Error::from_io(path.clone(), error))?;
                options.credentials(&text).map_err(unusable)
            }
            Login::Seed(seed) => Ok(options.nkey(seed.clone())),
            Login::Password(user, password) => {
                Ok(options.user_and_password(user.clone(), password.clone()))
            }
            Login::Token(token) => Ok(options.token(token.clone())),
        }
    }
}

/// The first that is given, in Litestream's order. `nkey` is the key's seed, or its public half
/// with the seed in `seed`.
fn login(address: &Address, options: &Options) -> Result<Login> {
    let get = |name: &str| options.get(name).map(str::to_owned);
    let seed = get("seed").or_else(|| get("nkey").filter(|key| key.starts_with("SU")));
    match (get("jwt"), seed) {
        (Some(jwt), Some(seed)) => {
            return Ok(Login::Credentials(format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            )));
        }
        (Some(_), None) => return Err(unusable("jwt", "needs the seed of its key in seed")),
        (None, _) if options.get("creds").is_some() => {}
        (None, Some(seed)) => return Ok(Login::Seed(seed)),
        (None, None) if options.get("nkey").is_some() => {
            return Err(unusable("nkey", "is the seed of the key, or needs it in seed"));
        }
        (None, None) => {}
    }
    let user = get("username").or_else(|| address.user.clone());
    let password = get("password").or_else(|| address.password.clone());
    Ok(match (get("creds"), user, password, get("token")) {
        (Some(path), ..) => Login::File(path),
        (None, Some(user), Some(password), _) => Login::Password(user, password),
        (None, _, _, Some(token)) | (None, Some(token), None, None) => Login::Token(token),
        _ => Login::Nobody,
    })
}

fn unusable(name: &str, reason: &str) -> Error {
    Error::Unsupported { url: name.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rest: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let address = Address::parse("nats", rest).expect("an address");
        Settings::of(&address, &options.iter().copied().collect(), &Environment::default())
    }

    #[test]
    fn a_url_names_servers_bucket_and_what_stands_before_names() {
        let it = settings("me:hush@one,two:4333/backups", &[]).expect("settings");
        assert_eq!(it.servers, ["one:4222", "two:4333"]);
        assert_eq!((it.bucket.as_str(), it.base.as_str()), ("backups", ""));
        assert!(matches!(&it.login, Login::Password(user, _) if user == "me"));
        assert!(!format!("{it:?}").contains("hush"));
        let it = settings("one/backups/eu//shop/", &[]).expect("settings");
        assert_eq!((it.bucket.as_str(), it.base.as_str()), ("backups", "eu/shop/"));
        let it = settings("one", &[("bucket", "b")]).expect("settings");
        assert_eq!(it.bucket, "b");
        settings("one", &[]).expect_err("no bucket");
        settings("one/a.b", &[]).expect_err("no name for a bucket");
    }

    #[test]
    fn the_first_login_that_is_given_counts() {
        let kind = |rest: &str, options: &[(&str, &str)]| {
            settings(rest, options).map(|it| match it.login {
                Login::Nobody => "nobody",
                Login::Credentials(_) => "credentials",
                Login::File(_) => "file",
                Login::Seed(_) => "seed",
                Login::Password(..) => "password",
                Login::Token(_) => "token",
            })
        };
        let all =
            [("jwt", "j"), ("seed", "SU"), ("creds", "f"), ("username", "u"), ("password", "p")];
        assert_eq!(kind("h/b", &all).expect("a login"), "credentials");
        assert_eq!(kind("h/b", &all[2..]).expect("a login"), "file");
        assert_eq!(kind("h/b", &all[3..]).expect("a login"), "password");
        assert_eq!(kind("h/b", &[("nkey", "SUx")]).expect("a login"), "seed");
        assert_eq!(kind("h/b", &[("nkey", "UAx"), ("seed", "SUx")]).expect("a login"), "seed");
        assert_eq!(kind("h/b", &[("token", "t")]).expect("a login"), "token");
        assert_eq!(kind("t@h/b", &[]).expect("a login"), "token");
        assert_eq!(kind("h/b", &[]).expect("a login"), "nobody");
        kind("h/b", &[("jwt", "j")]).expect_err("no seed");
        kind("h/b", &[("nkey", "UAx")]).expect_err("no seed");
        settings("h/b", &[("client-cert", "c")]).expect_err("no key");
    }
}
