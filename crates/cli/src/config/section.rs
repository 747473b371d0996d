//! One mapping of the file, whose keys have been checked.

use super::environment::{Environment, Unset};
use super::keys::Keys;
use super::problem::Problem;
use super::yaml::{Node, Value};
use crate::go_duration;
use std::time::Duration;

/// A mapping in which every key is one that we read.
#[derive(Debug)]
pub struct Section<'a> {
    /// The line that it begins on.
    pub line: usize,
    name: String,
    entries: &'a [(Node, Node)],
    environment: &'a Environment<'a>,
}

impl<'a> Section<'a> {
    /// Checks that `node` is a mapping (or nothing) and knows all of its keys.
    pub fn open(
        node: &'a Node,
        name: impl Into<String>,
        keys: &Keys,
        environment: &'a Environment<'a>,
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
        let section = Section { line: node.line, name, entries, environment };
        section.check(keys)?;
        Ok(section)
    }

    fn check(&self, keys: &Keys) -> Result<(), Problem> {
        for (key, _) in self.entries {
            let Value::Scalar(text) = &key.value else {
                return Err(Problem::new(key.line, format_args!("{key} is not a key")));
            };
            let text = self.environment.fill_leniently(text);
            if keys.read.contains(&text.as_str()) {
                continue;
            }
            let path = self.path(&text);
            if keys.later.contains(&text.as_str()) {
                return Err(Problem::new(key.line, format_args!("{path} is not supported yet"))
                    .hint(
                        "Litestream knows this key; this version of brooklet does not, and \
                           will not pretend to",
                    ));
            }
            if let Some((_, became)) = keys.dropped.iter().find(|(it, _)| *it == text) {
                let message = format_args!("{path} is no longer a setting");
                return Err(Problem::new(key.line, message).hint(became));
            }
            let problem = Problem::new(key.line, format_args!("unknown key {path}"));
            return Err(match keys.nearest(&text) {
                Some(nearest) => problem.hint(format_args!("did you mean {nearest:?}?")),
                None => problem.hint(format_args!("keys here: {}", keys.read.join(", "))),
            });
        }
        Ok(())
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
        let text = self.environment.fill_leniently(raw);
        Ok((!text.is_empty()).then_some(Text { line, text }))
    }

    /// A text that names a place, where an unset variable would name another place.
    pub fn place(&self, key: &str) -> Result<Option<Text>, Problem> {
        let Some((line, raw)) = self.scalar(key)? else { return Ok(None) };
        match self.environment.fill(raw) {
            Ok(text) if text.is_empty() => {
                Err(Problem::new(line, format_args!("{} is empty", self.path(key))))
            }
            Ok(text) => Ok(Some(Text { line, text })),
            Err(Unset(name)) => {
                let path = self.path(key);
                let message = format_args!("{path} uses ${name}, which is not set");
                Err(Problem::new(line, message)
                    .hint("set the variable, write $$ for a dollar sign, or pass -no-expand-env"))
            }
        }
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
#[derive(Debug)]
pub struct Text {
    /// The line that it is on.
    pub line: usize,
    /// Never empty.
    pub text: String,
}
