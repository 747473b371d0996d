//! What a replica's storage is told beside its place.
//!
//! The values are as their kind writes them: `true` or `false`, whole numbers, bytes as a number,
//! durations as Go does, lists with commas.

use storage::Options;

use super::keys::{Key, Kind, STORAGE};
use super::problem::Problem;
use super::section::{Section, Text};
use crate::go_duration;

/// What a replica says to storage of this kind. A key of another kind is of no use there.
pub fn own(section: &Section<'_>, backend: &str) -> Result<Options, Problem> {
    let mut options = Options::new();
    for key in STORAGE {
        let Some(Text { line, text }) = value(section, key)? else { continue };
        if key.backends.contains(&backend) {
            options.set(key.name, text);
            continue;
        }
        let message = format_args!("{} means nothing to {backend} storage", section.path(key.name));
        let hint = format!("it goes with type: {}", key.backends.join(", "));
        section.context.meaningless(Problem::new(line, message).hint(hint))?;
    }
    Ok(options)
}

/// What the file says to all storage of this kind. Its other keys are meant for others.
pub fn of_all(root: &Section<'_>, backend: &str, except: &[&str]) -> Result<Options, Problem> {
    let mut options = Options::new();
    for key in STORAGE {
        let Some(text) = value(root, key)? else { continue };
        if key.backends.contains(&backend) && !except.contains(&key.name) {
            options.set(key.name, text.text);
        }
    }
    Ok(options)
}

fn value(section: &Section<'_>, key: &Key) -> Result<Option<Text>, Problem> {
    let name = key.name;
    let line = section.node(name).map_or(section.line, |node| node.line);
    let text = |text: String| Text { line, text };
    Ok(match key.kind {
        Kind::Secret => section.secret(name)?,
        Kind::Place => section.place(name)?,
        Kind::Flag => section.flag(name)?.map(|it| text(it.to_string())),
        Kind::Duration => section.duration(name)?.map(|it| text(go_duration::format(it))),
        Kind::Count => section.count(name)?.map(|it| text(it.to_string())),
        Kind::Integer => section.integer(name)?.map(|it| text(it.to_string())),
        Kind::Bytes => section.bytes(name)?.map(|it| text(it.to_string())),
        Kind::Texts => {
            let texts = section.texts(name)?.into_iter().map(|it| it.text).collect::<Vec<_>>();
            (!texts.is_empty()).then(|| text(texts.join(",")))
        }
        _ => section.text(name)?,
    })
}
