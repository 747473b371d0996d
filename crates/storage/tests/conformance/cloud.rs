//! A stand-in for a cloud that wants tokens, and for whoever hands them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ltx::{Level, Txid};
use storage::{Environment, Options, Storage, Url};
use testkit::wait;

use crate::stub::{Asked, Said, Stub};

/// Tokens are `token-1`, `token-2` and so on.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    granted: AtomicU64,
    /// Tokens up to this one are not taken any more.
    revoked: AtomicU64,
    lifetime: AtomicU64,
}

/// A token that is about to be handed out.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: String,
    /// Seconds from now.
    pub(crate) lifetime: u64,
}

#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) host: String,
    tokens: Arc<Tokens>,
}

/// Where requests for tokens go; all others are for the storage.
pub(crate) const TOKENS: &str = "/tokens";

impl Cloud {
    /// Whoever asks for a token gets what `grant` says, or nothing, for the reason it gives; whoever
    /// shows one gets `listing`.
    pub(crate) fn start(
        listing: &'static str,
        grant: impl Fn(&Asked, Grant) -> Result<String, String> + Send + Sync + 'static,
    ) -> Cloud {
        let tokens = Arc::new(Tokens { lifetime: 3600.into(), ..Tokens::default() });
        let ours = Arc::clone(&tokens);
        let stub = Stub::start(move |asked| {
            if asked.target.starts_with(TOKENS) {
                return ours.grant(asked, &grant);
            }
            match ours.takes(asked.header("authorization").unwrap_or_default()) {
                true => Said::new(200, listing),
                false => Said::new(401, "a good token is wanted"),
            }
        });
        Cloud { host: stub.host, tokens }
    }

    /// The address of whatever hands out tokens.
    pub(crate) fn token_uri(&self) -> String {
        format!("http://{}{TOKENS}", self.host)
    }

    /// One token is enough for many requests; another is had when it is not taken any more, and
    /// when it is about to expire, which a token of `short` seconds soon is.
    pub(crate) fn renews_tokens(&self, storage: &dyn Storage, short: u64) {
        let list = || storage.list(Level::L0, Txid::FIRST).expect("list");
        let granted = || self.tokens.granted.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(list(), []);
        }
        assert_eq!(granted(), 1, "a token is kept");
        self.tokens.lifetime.store(short, Ordering::SeqCst);
        self.tokens.revoked.store(1, Ordering::SeqCst);
        list();
        assert_eq!(granted(), 2, "another one for that which was refused");
        self.tokens.lifetime.store(3600, Ordering::SeqCst);
        wait::until("another token before it expires", Duration::from_secs(20), || {
            list();
            (granted() == 3).then_some(())
        });
        list();
        assert_eq!(granted(), 3);
    }
}

impl Tokens {
    fn grant(
        &self,
        asked: &Asked,
        grant: &(impl Fn(&Asked, Grant) -> Result<String, String> + ?Sized),
    ) -> Said {
        let number = self.granted.load(Ordering::SeqCst) + 1;
        let lifetime = self.lifetime.load(Ordering::SeqCst);
        match grant(asked, Grant { token: format!("token-{number}"), lifetime }) {
            Ok(answer) => {
                self.granted.store(number, Ordering::SeqCst);
                Said::new(200, answer)
            }
            Err(reason) => Said::new(400, reason),
        }
    }

    fn takes(&self, authorization: &str) -> bool {
        let number = authorization.strip_prefix("Bearer token-").and_then(|it| it.parse().ok());
        number.is_some_and(|number: u64| {
            number > self.revoked.load(Ordering::SeqCst)
                && number <= self.granted.load(Ordering::SeqCst)
        })
    }
}

/// The storage of a URL in such an environment.
pub(crate) fn open_in(
    variables: &[(&str, &str)],
    url: &str,
    options: &[(&str, &str)],
) -> Arc<dyn Storage> {
    let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
    let environment = Environment { variables: variables.iter().map(owned).collect(), home: None };
    let options: Options = options.iter().copied().collect();
    let url: Url = url.parse().expect("a URL");
    url.storage(&options, &environment).expect("a storage")
}

/// Whether a value is the one that is wanted, for answers that say what was wrong.
pub(crate) fn wants(what: &str, found: Option<&str>, wanted: &str) -> Result<(), String> {
    match found == Some(wanted) {
        true => Ok(()),
        false => Err(format!("{what} is {found:?}, not {wanted:?}")),
    }
}
