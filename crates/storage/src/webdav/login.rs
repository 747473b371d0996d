//! Who we are: Basic and Digest, whichever the server asks for.
//!
//! Nothing is said before the server asks, so that a server that wants Digest never hears the
//! password. (RFC 7617, RFC 7616)

use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method};

/// A user's name and password, and how the server wants to hear of them.
pub(super) struct Login {
    name: String,
    password: String,
    wanted: Mutex<Wanted>,
}

/// What the server asks for.
enum Wanted {
    /// Nothing so far.
    Nothing,
    Basic,
    /// Proof of the password. The challenge counts how often it was answered.
    Digest(Box<WwwAuthenticateHeader>),
}

impl Login {
    pub(super) fn new(name: String, password: String) -> Login {
        Login { name, password, wanted: Mutex::new(Wanted::Nothing) }
    }

    /// What to say in a request for `target`, a path. Each answer to a challenge counts.
    pub(super) fn authorization(&self, method: &Method, target: &str) -> Option<HeaderValue> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &mut *wanted {
            Wanted::Nothing => return None,
            Wanted::Basic => {
                format!("Basic {}", BASE64.encode(format!("{}:{}", self.name, self.password)))
            }
            Wanted::Digest(challenge) => {
                let method = HttpMethod(method.as_str().into());
                let (name, password) = (self.name.as_str(), self.password.as_str());
                let context =
                    AuthContext::new_with_method(name, password, target, None::<&[u8]>, method);
                challenge.respond(&context).ok()?.to_string()
            }
        };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes note of what a refusal asks for. Tells whether there is something to say that was not
    /// `said` in the request.
    pub(super) fn is_asked(&self, refusal: &HeaderMap, said: Option<&HeaderValue>) -> bool {
        let asked: Vec<&str> = refusal
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let digest = asked.iter().filter(|it| is_of("digest", it)).find_map(|it| {
            let parameters = it.get("digest".len()..)?;
            WwwAuthenticateHeader::parse(parameters).ok()
        });
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        match digest {
            Some(digest) => *wanted = Wanted::Digest(Box::new(digest)),
            None if said.is_some_and(|said| said.as_bytes().starts_with(b"Basic ")) => {
                return false;
            }
            None if asked.iter().any(|it| is_of("basic", it)) => *wanted = Wanted::Basic,
            None => return false,
        }
        true
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Splits `Basic realm="a", Digest realm="b", nonce="c"`, where commas part challenges as well as
/// their parameters: a challenge begins at a word with a word after it.
fn challenges(value: &str) -> Vec<&str> {
    let (mut starts, mut in_quotes, mut word) = (Vec::new(), false, None);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b' ' if word.is_some_and(|start| !value[start..at].contains('=')) => {
                starts.extend(word.take());
            }
            b',' | b' ' => word = None,
            _ => word = word.or(Some(at)),
        }
    }
    let ends = starts.iter().skip(1).copied().chain([value.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| value[start..end].trim_end_matches([',', ' ']))
        .collect()
}

fn is_of(scheme: &str, challenge: &str) -> bool {
    let name = challenge.split(' ').next().unwrap_or_default();
    name.eq_ignore_ascii_case(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|it| (WWW_AUTHENTICATE, HeaderValue::from_static(it)));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn said(login: &Login) -> Option<HeaderValue> {
        let value = login.authorization(&Method::GET, "/a");
        assert!(value.as_ref().is_none_or(HeaderValue::is_sensitive));
        value
    }

    fn text(login: &Login) -> String {
        said(login).expect("an answer").to_str().expect("text").to_owned()
    }

    #[test]
    fn nothing_is_said_before_the_server_asks_and_digest_is_preferred() {
        let login = Login::new("me".into(), "hush:hush".into());
        assert_eq!(said(&login), None);
        let basic = refusal(&["Basic realm=\"x, y\""]);
        assert!(login.is_asked(&basic, None));
        assert_eq!(text(&login), "Basic bWU6aHVzaDpodXNo");
        assert!(login.is_asked(&basic, None), "another request did not say it yet");
        assert!(!login.is_asked(&basic, said(&login).as_ref()), "the password is wrong");
        let both = "Basic realm=\"x\", Digest realm=\"y\", nonce=\"n\", qop=\"auth,auth-int\"";
        assert!(login.is_asked(&refusal(&[both]), None));
        let digest = text(&login);
        assert!(digest.contains("realm=\"y\"") && digest.contains("nc=00000001"), "{digest}");
        assert!(!digest.contains("hush"));
        assert!(text(&login).contains("nc=00000002"), "the nonce is used again");
        assert!(!login.is_asked(&refusal(&["Bearer"]), None));
        assert!(!format!("{login:?}").contains("hush"));
    }

    #[test]
    fn an_unknown_algorithm_leaves_the_other_challenge() {
        let login = Login::new("me".into(), "hush".into());
        let asked =
            ["Digest realm=\"y\", nonce=\"n\", algorithm=NEW", "digest realm=\"z\",nonce=\"m\""];
        assert!(login.is_asked(&refusal(&asked), None));
        assert!(text(&login).contains("realm=\"z\""));
    }
}
