//! What a configuration says of a replica beside its URL.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Error, Result};

/// Named values, as a configuration or a URL's query gives them: `access-key-id`, `region`.
///
/// Names are those of the configuration. Values may be secrets and are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// No options.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets an option, in place of an earlier value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The value of an option that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of an option as a switch: `true`, `1`, `t`, `yes`, `on` and their opposites.
    pub fn switch(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "y" | "on" => Ok(Some(true)),
            "false" | "0" | "f" | "no" | "n" | "off" => Ok(Some(false)),
            _ => Err(unusable(name, "is true or false")),
        }
    }

    /// The value of an option as a number, or whatever else can be read from text.
    pub fn parse<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| unusable(name, what))
    }

    /// The names of all options that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// These options, and those of `others` that are not set here.
    #[must_use]
    pub fn or(mut self, others: &Options) -> Options {
        for (name, value) in &others.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }
}

fn unusable(name: &str, reason: &str) -> Error {
    Error::Unsupported { url: name.to_owned(), reason: reason.to_owned() }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Options {
        Options(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What a backend may know of the process that it runs in: where credentials are looked for.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A path, where `~/` is the home directory.
    #[must_use]
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_meaning_and_never_shown() {
        let options: Options =
            [("secret", "hush"), ("on", "Yes"), ("off", "0"), ("odd", "maybe"), ("n", "7")]
                .into_iter()
                .collect();
        assert_eq!(options.switch("on").expect("a switch"), Some(true));
        assert_eq!(options.switch("off").expect("a switch"), Some(false));
        assert_eq!(options.switch("none").expect("a switch"), None);
        assert!(options.switch("odd").is_err());
        assert_eq!(options.parse::<u64>("n", "is a number").expect("a number"), Some(7));
        let error = options.parse::<u64>("secret", "is a number").expect_err("no number");
        assert_eq!(error.to_string(), "secret: is a number");
        assert!(!format!("{options:?}").contains("hush"));
    }
}
