//! A YAML document as a tree that knows the line of everything in it.
//!
//! Scalars stay text: what they mean depends on the key, as with Litestream's parser (so
//! `path: 007` is a path). That, and the line of every key, is why this reads parser events
//! rather than through serde.

use super::problem::Problem;
use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// Aliases copy what they refer to; beyond this many nodes a file is an attack, not a
/// configuration.
const MOST_NODES: usize = 100_000;

/// A value and the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// What it holds.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text, before anything is made of it.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Node, Node)>),
}

/// Reads one document; an empty one is `Null`.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let mut builder =
        Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), size: 0 };
    let mut root = None;
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) => {}
            Event::DocumentEnd => {}
            _ if root.is_none() => root = Some(builder.node(event, span)?),
            _ => return Err(Problem::new(line(&span), "a second document begins here")),
        }
    }
    Ok(root.unwrap_or(Node { line: 1, value: Value::Null }))
}

struct Builder<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    size: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let line = error.marker().line();
                Err(Problem::new(line, format_args!("not valid YAML: {}", error.info())))
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), Problem> {
        self.next()?.ok_or_else(|| Problem::new(1, "not valid YAML: it ends too early"))
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Problem> {
        let line = line(&span);
        self.grow(1, line)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(&text, style)),
            Event::SequenceStart(_, anchor, _) => (anchor, Value::List(self.list()?)),
            Event::MappingStart(_, anchor, _) => (anchor, Value::Map(self.map()?)),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Problem::new(line, "an alias to itself"))?;
                self.grow(node.size(), line)?;
                return Ok(Node { line, ..node });
            }
            other => return Err(Problem::new(line, format_args!("unexpected {other:?}"))),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<(Node, Node)>, Problem> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.expect()? {
                (Event::MappingEnd, _) => break,
                (event, span) => self.node(event, span)?,
            };
            let (event, span) = self.expect()?;
            let value = self.node(event, span)?;
            if key.value == Value::Scalar("<<".into()) {
                merged.push(value);
            } else if let Some((first, _)) = entries.iter().find(|(it, _)| it.value == key.value) {
                let message = format_args!("{key} is already set on line {}", first.line);
                return Err(Problem::new(key.line, message));
            } else {
                entries.push((key, value));
            }
        }
        for value in merged {
            merge(&mut entries, value)?;
        }
        Ok(entries)
    }

    fn grow(&mut self, nodes: usize, line: usize) -> Result<(), Problem> {
        self.size += nodes;
        if self.size > MOST_NODES {
            return Err(Problem::new(line, "the configuration is too large"));
        }
        Ok(())
    }
}

/// `<<: *defaults`: what the mapping does not set itself comes from there.
fn merge(entries: &mut Vec<(Node, Node)>, from: Node) -> Result<(), Problem> {
    match from.value {
        Value::Map(defaults) => {
            for (key, value) in defaults {
                if entries.iter().all(|(it, _)| it.value != key.value) {
                    entries.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(several) => several.into_iter().try_for_each(|it| merge(entries, it)),
        _ => Err(Problem::new(from.line, "<< needs a mapping to merge")),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" if style == ScalarStyle::Plain => Value::Null,
        _ => Value::Scalar(text.to_owned()),
    }
}

fn line(span: &Span) -> usize {
    span.start.line().max(1)
}

impl Node {
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum(),
        }
    }
}

/// As a message shows it.
impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Value::Null => f.write_str("nothing"),
            Value::Scalar(text) => write!(f, "{text:?}"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a mapping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".into(),
            Value::Scalar(text) => text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
            }
            Value::Map(entries) => {
                let entry = |(key, value): &(Node, Node)| {
                    format!("{}@{}:{}", show(key), key.line, show(value))
                };
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
            }
        }
    }

    fn tree(text: &str) -> String {
        show(&parse(text).unwrap())
    }

    #[test]
    fn keys_know_their_lines_and_scalars_stay_text() {
        let text = "# comment\ndbs:\n  - path: 007\n    replica:\n      url: 'file:///b'\n";
        assert_eq!(tree(text), "{dbs@2:[{path@3:007,replica@4:{url@5:file:///b}}]}");
        assert_eq!(tree("a: yes\nb:\nc: ''\nd: ~\n"), "{a@1:yes,b@2:~,c@3:,d@4:~}");
        assert_eq!(tree(""), "~");
    }

    #[test]
    fn anchors_and_merges_work() {
        let text = "x: &d {a: 1, b: 2}\ny:\n  <<: *d\n  b: 3\nz: *d\n";
        assert_eq!(tree(text), "{x@1:{a@1:1,b@1:2},y@2:{b@4:3,a@1:1},z@5:{a@1:1,b@1:2}}");
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |text| {
            let problem = parse(text).unwrap_err();
            (problem.line, problem.message)
        };
        assert_eq!(fault("a: 1\nb: 2\na: 3\n"), (3, "\"a\" is already set on line 1".into()));
        assert_eq!(fault("a: 1\n---\nb: 2\n").1, "a second document begins here");
        let (line, message) = fault("a: 1\nb: [1, 2\n");
        assert!(line >= 2 && message.starts_with("not valid YAML"), "{line}: {message}");
        assert!(fault("a: *nowhere\n").1.starts_with("not valid YAML"));
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for n in 1..12 {
            let item = format!("*a{},", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", item.repeat(10));
        }
        assert_eq!(parse(&text).unwrap_err().message, "the configuration is too large");
    }
}
