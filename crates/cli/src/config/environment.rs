//! `$VAR` and `${VAR}` in a configuration.
//!
//! A reference is replaced by a mark that any place in YAML accepts, and the mark by its value
//! once the file is a tree. So a value may hold `#` or `: `, a reference may stand in `{...}`,
//! and one in a comment needs no variable.

use super::problem::Problem;
use crate::secret;
use std::fmt;

const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

/// Looks up an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables that a file refers to, in its order.
pub struct Environment<'a> {
    lookup: Lookup<'a>,
    names: Vec<String>,
}

/// Why a text has no value.
#[derive(Debug, PartialEq, Eq)]
pub enum Unset {
    /// The variable is not set.
    Variable(String),
    /// The file that a variable names cannot be read: why.
    Unreadable(String),
}

impl<'a> Environment<'a> {
    /// Marks the references in `text`. `$$` stands for one dollar sign.
    pub fn mark(text: &str, lookup: Lookup<'a>) -> Result<(String, Environment<'a>), Problem> {
        let mut environment = Environment { lookup, names: Vec::new() };
        let mut marked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            marked.push_str(&rest[..at]);
            let line = || 1 + text[..text.len() - rest.len() + at].matches('\n').count();
            rest = environment.reference(&rest[at + 1..], &mut marked, line)?;
        }
        marked.push_str(rest);
        Ok((marked, environment))
    }

    /// Reads what follows a dollar sign and returns what is left after it.
    fn reference<'t>(
        &mut self,
        text: &'t str,
        marked: &mut String,
        line: impl Fn() -> usize,
    ) -> Result<&'t str, Problem> {
        if let Some(rest) = text.strip_prefix('$') {
            marked.push_str("$$");
            return Ok(rest);
        }
        let braced = text.strip_prefix('{');
        let (name, rest) = match braced {
            Some(inner) => match inner.find(['}', '\n']) {
                Some(end) if inner[end..].starts_with('}') => (&inner[..end], &inner[end + 1..]),
                _ => return self.keep(text, marked),
            },
            None => {
                let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
                text.split_at(text.find(|c| !letter(c)).unwrap_or(text.len()))
            }
        };
        if is_name(name) {
            marked.push_str(&format!("{OPEN}{}{CLOSE}", self.names.len()));
            self.names.push(name.to_owned());
            return Ok(rest);
        }
        if braced.is_some() {
            return Err(Problem::new(line(), format_args!("${{{name}}} is not a variable's name"))
                .hint("there are no defaults such as ${VAR:-x}; write $$ for a dollar sign"));
        }
        self.keep(text, marked)
    }

    /// A lone dollar sign stays one.
    fn keep<'t>(&self, text: &'t str, marked: &mut String) -> Result<&'t str, Problem> {
        marked.push_str("$$");
        Ok(text)
    }

    /// Fills in the marks of one scalar. `None` for a variable that is not set.
    pub fn fill(&self, text: &str) -> Result<String, Unset> {
        self.fill_with(text, |name| {
            self.value(name).ok_or_else(|| Unset::Variable(name.to_owned()))
        })
    }

    /// Fills in the marks of a credential: where `X` is not set, `X_FILE` may name a file with the
    /// value.
    pub fn fill_secret(&self, text: &str) -> Result<String, Unset> {
        self.fill_with(text, |name| match self.value(name) {
            Some(value) => Ok(value),
            None => match secret::from_file(name, self.lookup) {
                None => Err(Unset::Variable(name.to_owned())),
                Some(read) => read.map_err(Unset::Unreadable),
            },
        })
    }

    /// Fills in the marks of one scalar; a variable that is not set gives nothing.
    pub fn fill_leniently(&self, text: &str) -> String {
        let filled = self.fill_with(text, |name| Ok(self.value(name).unwrap_or_default()));
        filled.unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<String> {
        match (self.lookup)(name) {
            None if name == "PID" => Some(std::process::id().to_string()),
            value => value,
        }
    }

    fn fill_with(
        &self,
        text: &str,
        value: impl Fn(&str) -> Result<String, Unset>,
    ) -> Result<String, Unset> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', OPEN]) {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$") {
                filled.push('$');
                rest = after;
            } else if let Some((name, after)) = self.marked(rest) {
                filled.push_str(&value(name)?);
                rest = after;
            } else {
                let first = rest.chars().next().map_or(0, char::len_utf8);
                filled.push_str(&rest[..first]);
                rest = &rest[first..];
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn marked<'t>(&self, text: &'t str) -> Option<(&str, &'t str)> {
        let (index, rest) = text.strip_prefix(OPEN)?.split_once(CLOSE)?;
        Some((self.names.get(index.parse::<usize>().ok()?)?, rest))
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "DIR").then(|| "/data: #1".to_owned())
    }

    fn filled(text: &str) -> Result<String, Unset> {
        let (marked, environment) = Environment::mark(text, &lookup).unwrap();
        environment.fill(&marked)
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(filled("$DIR/a").unwrap(), "/data: #1/a");
        assert_eq!(filled("${DIR}a$DIR").unwrap(), "/data: #1a/data: #1");
        assert_eq!(filled("$PID").unwrap(), std::process::id().to_string());
        assert_eq!(filled("$NONE/a"), Err(Unset::Variable("NONE".into())));
    }

    #[test]
    fn dollar_signs_can_be_written() {
        assert_eq!(filled("$$DIR costs 5$ or $5 or $").unwrap(), "$DIR costs 5$ or $5 or $");
        assert_eq!(filled("$$$DIR").unwrap(), "$/data: #1");
        assert_eq!(filled("${unclosed").unwrap(), "${unclosed");
    }

    #[test]
    fn leniently_an_unset_variable_is_empty() {
        let (marked, environment) = Environment::mark("a${NONE}b", &lookup).unwrap();
        assert_eq!(environment.fill_leniently(&marked), "ab");
    }

    #[test]
    fn shell_defaults_are_refused_with_their_line() {
        let problem = Environment::mark("a: 1\nb: ${DIR:-x}\n", &lookup).unwrap_err();
        assert_eq!(problem.line, 2);
        assert!(problem.message.contains("${DIR:-x}"));
    }
}
