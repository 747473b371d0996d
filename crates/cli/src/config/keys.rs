//! The keys of a configuration: one table, from which files are checked, suggestions made and the
//! JSON Schema written.

mod replica;
mod root;

pub use replica::{AGE, BACKENDS, REPLICA, STORAGE};
pub use root::{DATABASE, LEVEL, LOGGING, RETENTION, ROOT, SNAPSHOT, SOCKET, VALIDATION};

/// The vocabulary of one section.
#[derive(Debug)]
pub struct Keys {
    /// The section's name in the schema.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its keys, those of its own and those that it shares with others.
    pub tables: &'static [&'static [Key]],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it does, in a few words.
    pub about: &'static str,
    /// What holds without it; empty if that is nothing.
    pub default: &'static str,
    /// What we make of it.
    pub standing: Standing,
    /// The storage that it belongs to; empty if to any.
    pub backends: &'static [&'static str],
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that names a place: its variables must be set.
    Place,
    /// A credential: the same, and never shown. `<key>-file` names a file that holds it.
    Secret,
    /// True or false.
    Flag,
    /// Go's `1h30m`; zero allowed.
    Duration,
    /// The same, but not zero.
    Interval,
    /// A whole number greater than zero.
    Count,
    /// Any whole number.
    Integer,
    /// A number of bytes.
    Bytes,
    /// Permission bits in octal.
    Mode,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A section of its own.
    Section(&'static Keys),
    /// A list of such sections.
    Sections(&'static Keys),
}

/// What we make of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It means what it says.
    Read,
    /// Its value is checked, and nothing else: why that is enough.
    Moot(&'static str),
    /// Litestream ignores it, and so do we, aloud: what became of it.
    Ignored(&'static str),
    /// It means nothing any more: what became of it.
    Dropped(&'static str),
}

impl Key {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Key {
        Key { name, kind, about, default: "", standing: Standing::Read, backends: &[] }
    }

    const fn default(self, default: &'static str) -> Key {
        Key { default, ..self }
    }

    const fn moot(self, why: &'static str) -> Key {
        Key { standing: Standing::Moot(why), ..self }
    }

    const fn of(self, backends: &'static [&'static str]) -> Key {
        Key { backends, ..self }
    }

    const fn ignored(name: &'static str, became: &'static str) -> Key {
        Key { standing: Standing::Ignored(became), ..Key::new(name, Kind::Text, "") }
    }

    const fn dropped(name: &'static str, became: &'static str) -> Key {
        Key { standing: Standing::Dropped(became), ..Key::new(name, Kind::Text, "") }
    }

    /// Whether a file may hold it.
    pub fn is_allowed(&self) -> bool {
        !matches!(self.standing, Standing::Dropped(_))
    }
}

/// What a file that holds a secret is named by.
pub const FILE_SUFFIX: &str = "-file";

impl Keys {
    /// All keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Key> {
        self.tables.iter().flat_map(|table| table.iter())
    }

    /// The key of that name; `<secret>-file` stands for the secret.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        let secret = |key: &&Key| matches!(key.kind, Kind::Secret);
        self.iter().find(|key| key.name == name).or_else(|| {
            let name = name.strip_suffix(FILE_SUFFIX)?;
            self.iter().filter(secret).find(|key| key.name == name)
        })
    }

    /// The names that a file may hold here.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let shown = |key: &&Key| matches!(key.standing, Standing::Read | Standing::Moot(_));
        self.iter().filter(shown).map(|key| key.name)
    }

    /// The known key that a mistyped one was most likely meant to be.
    pub fn nearest(&self, typed: &str) -> Option<&'static str> {
        let typed = typed.to_ascii_lowercase().replace('_', "-");
        let scored = self.names().map(|name| (strsim::jaro_winkler(&typed, name), name));
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 > 0.8).then_some(best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_in_a_section_twice() {
        for keys in [&ROOT, &DATABASE, &REPLICA] {
            let mut names: Vec<_> = keys.iter().map(|key| key.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", keys.about);
        }
    }

    #[test]
    fn a_key_is_explained_and_belongs_to_storage_that_there_is() {
        for key in [&ROOT, &DATABASE, &REPLICA].into_iter().flat_map(Keys::iter) {
            let told = matches!(key.standing, Standing::Dropped(_) | Standing::Ignored(_));
            assert_ne!(key.about.is_empty(), !told, "{}", key.name);
            assert!(key.backends.iter().all(|it| BACKENDS.contains(it)), "{}", key.name);
        }
    }
}
