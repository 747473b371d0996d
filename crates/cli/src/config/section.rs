//! One mapping of the file, whose keys have been checked.

use super::byte_size;
use super::context::Context;
use super::environment::Unset;
use super::keys::{FILE_SUFFIX, Keys, Standing};
use super::problem::Problem;
use super::yaml::{Node, Value};
use crate::{go_duration, secret};
use std::time::Duration;

/// A mapping in which every key is one that we read.
#[derive(Debug)]
pub struct Section<'a> {
    /// The line that it begins on.
    pub line: usize,
    name: String,
    entries: &'a [(Node, Node)],
    keys: &'static Keys,
    /// What it was read with.
    pub context: &'a Context<'a>,
}

impl<'a> Section<'a> {
    /// Checks that `node` is a mapping (or nothing) and knows all of its keys.
    pub fn open(
        node: &'a Node,
        name: impl Into<String>,
        keys: &'static Keys,
        context: &'a Context<'a>,
    ) -> Result<Section<'a>, Problem> {
        let name = name.into();
        let entries: &[(Node, Node)] = match &node.value {
            Value::Null => &[],
            Value::Map(entries) => entries,
            _ => {
                let what = if name.is_empty() { "the configuration" } else { &name };
                let message = format_args!("{what} must be a mapping of keys, not {node}");
                return Err(Problem::new(node.line, message));
            }
        };
        let section = Section { line: node.line, name, entries, keys, context };
        section.entries.iter().try_for_each(|(key, _)| section.check(key))?;
        Ok(section)
    }

    /// The section below a key, if that is set to something.
    pub fn section(&self, key: &str, keys: &'static Keys) -> Result<Option<Section<'a>>, Problem> {
        let open = |node| Section::open(node, self.path(key), keys, self.context);
        self.node(key).map(open).transpose()
    }

    fn check(&self, key: &Node) -> Result<(), Problem> {
        let Value::Scalar(text) = &key.value else {
            return Err(Problem::new(key.line, format_args!("{key} is not a key")));
        };
        let text = self.context.environment.fill_leniently(text);
        let path = self.path(&text);
        match self.keys.find(&text).map(|it| it.standing) {
            Some(Standing::Read | Standing::Moot(_)) => Ok(()),
            Some(Standing::Ignored(became)) => {
                let message = format_args!("{path} is deprecated and ignored");
                self.context.warn(Problem::new(key.line, message).hint(became));
                Ok(())
            }
            Some(Standing::Dropped(became)) => {
                let message = format_args!("{path} is no longer a setting");
                self.context.meaningless(Problem::new(key.line, message).hint(became))
            }
            None => {
                let problem = Problem::new(key.line, format_args!("unknown key {path}"));
                let names = || self.keys.names().collect::<Vec<_>>().join(", ");
                self.context.meaningless(match self.keys.nearest(&text) {
                    Some(nearest) => problem.hint(format_args!("did you mean {nearest:?}?")),
                    None => problem.hint(format_args!("keys here: {}", names())),
                })
            }
        }
    }

    /// A key's full name, such as `dbs[0].replica.url`.
    pub fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The value of a key that is set to something.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        let is_key = |node: &Node| matches!(&node.value, Value::Scalar(text) if text == key);
        let (_, node) = self.entries.iter().find(|(it, _)| is_key(it))?;
        (node.value != Value::Null).then_some(node)
    }

    /// The elements of a list.
    pub fn list(&self, key: &str) -> Result<Option<&'a [Node]>, Problem> {
        match self.node(key) {
            None => Ok(None),
            Some(Node { value: Value::List(items), .. }) => Ok(Some(items)),
            Some(node) => {
                let message = format_args!("{} must be a list, not {node}", self.path(key));
                Err(Problem::new(node.line, message).hint("begin each element with \"- \""))
            }
        }
    }

    /// A text in which an unset variable counts as nothing; `None` if nothing is left.
    pub fn text(&self, key: &str) -> Result<Option<Text>, Problem> {
        let Some((line, raw)) = self.scalar(key)? else { return Ok(None) };
        let text = self.context.environment.fill_leniently(raw);
        Ok((!text.is_empty()).then_some(Text { line, text }))
    }

    /// A text that names a place, where an unset variable would name another place.
    pub fn place(&self, key: &str) -> Result<Option<Text>, Problem> {
        let Some((line, raw)) = self.scalar(key)? else { return Ok(None) };
        self.filled(key, line, self.context.environment.fill(raw)).map(Some)
    }

    fn filled(
        &self,
        key: &str,
        line: usize,
        filled: Result<String, Unset>,
    ) -> Result<Text, Problem> {
        match filled {
            Ok(text) if text.is_empty() => {
                Err(Problem::new(line, format_args!("{} is empty", self.path(key))))
            }
            Ok(text) => Ok(Text { line, text }),
            Err(Unset::Unreadable(reason)) => {
                Err(Problem::new(line, format_args!("{}: {reason}", self.path(key))))
            }
            Err(Unset::Variable(name)) => {
                let path = self.path(key);
                let message = format_args!("{path} uses ${name}, which is not set");
                Err(Problem::new(line, message)
                    .hint("set the variable, write $$ for a dollar sign, or pass -no-expand-env"))
            }
        }
    }

    /// A credential: its variables must be set, here or (`X_FILE`) in a file; or `<key>-file` names
    /// a file that holds it.
    pub fn secret(&self, key: &str) -> Result<Option<Text>, Problem> {
        let file_key = format!("{key}{FILE_SUFFIX}");
        match (self.scalar(key)?, self.place(&file_key)?) {
            (None, None) => Ok(None),
            (Some((line, _)), Some(_)) => {
                let (key, file_key) = (self.path(key), self.path(&file_key));
                let message = format_args!("{key} and {file_key} cannot both be set");
                Err(Problem::new(line, message).hint("keep one of them"))
            }
            (None, Some(Text { line, text: path })) => match secret::read(&path) {
                Ok(text) => Ok(Some(Text { line, text })),
                Err(error) => {
                    Err(Problem::new(line, format_args!("{}: {error}", self.path(&file_key))))
                }
            },
            (Some((line, raw)), None) => {
                let filled = self.context.environment.fill_secret(raw);
                self.filled(key, line, filled).map(Some)
            }
        }
    }

    /// A list of texts, each of which needs its variables.
    pub fn texts(&self, key: &str) -> Result<Vec<Text>, Problem> {
        let nodes = self.list(key)?.unwrap_or_default();
        let text = |node: &Node| match &node.value {
            Value::Scalar(raw) => {
                self.filled(key, node.line, self.context.environment.fill_secret(raw))
            }
            _ => {
                let message = format_args!("{} must be a list of texts", self.path(key));
                Err(Problem::new(node.line, message))
            }
        };
        nodes.iter().map(text).collect()
    }

    fn scalar(&self, key: &str) -> Result<Option<(usize, &'a str)>, Problem> {
        match self.node(key) {
            None => Ok(None),
            Some(Node { line, value: Value::Scalar(text) }) => Ok(Some((*line, text))),
            Some(node) => {
                let message = format_args!("{} must be a text, not {node}", self.path(key));
                Err(Problem::new(node.line, message))
            }
        }
    }

    /// A duration, zero allowed.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        go_duration::parse(&text).map(Some).map_err(|error| {
            Problem::new(line, format_args!("{}: {error}", self.path(key)))
                .hint("write it as 10s, 1m30s or 500ms")
        })
    }

    /// A duration that makes no sense as zero.
    pub fn interval(&self, key: &str) -> Result<Option<Duration>, Problem> {
        let duration = self.duration(key)?;
        if duration.is_some_and(|it| it.is_zero()) {
            let line = self.node(key).map_or(self.line, |it| it.line);
            let message = format_args!("{} must be greater than zero", self.path(key));
            return Err(Problem::new(line, message));
        }
        Ok(duration)
    }

    /// A whole number greater than zero.
    pub fn count(&self, key: &str) -> Result<Option<u32>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        match text.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => {
                let message = format_args!(
                    "{} must be a whole number greater than zero, not {text:?}",
                    self.path(key)
                );
                Err(Problem::new(line, message))
            }
        }
    }

    /// Any whole number.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let path = self.path(key);
            Problem::new(line, format_args!("{path} must be a whole number, not {text:?}"))
        })
    }

    /// Permission bits: 0600, 600 or 0o600.
    pub fn mode(&self, key: &str) -> Result<Option<u32>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(&text), 8) {
            Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
            _ => {
                let message = format_args!("{}: {text:?} is not a mode", self.path(key));
                Err(Problem::new(line, message).hint("write it in octal: 0600"))
            }
        }
    }

    /// A number of bytes: 512MB, 1.5GiB, or a plain number.
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        byte_size::parse(&text).map(Some).ok_or_else(|| {
            let message = format_args!("{}: {text:?} is not a size", self.path(key));
            Problem::new(line, message).hint("write it as 512MB, 4GiB or 1048576")
        })
    }

    /// A YAML 1.1 boolean, as Litestream's parser reads it.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        let Some(Text { line, text }) = self.text(key)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Some(true)),
            "false" | "no" | "off" | "n" => Ok(Some(false)),
            _ => {
                let message =
                    format_args!("{} must be true or false, not {text:?}", self.path(key));
                Err(Problem::new(line, message))
            }
        }
    }
}

/// A scalar with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The line that it is on.
    pub line: usize,
    /// Never empty.
    pub text: String,
}
