//! `dir`: every database of a directory, with the settings of one entry.

use std::path::{Path, PathBuf};

use engine::folder::{Folder, Found};

use super::problem::Problem;
use super::section::{Section, Text};
use super::{Database, absolute};
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// One element of `dbs`.
#[derive(Debug)]
pub enum Entry {
    /// With `path`.
    Database(Database),
    /// With `dir`.
    Directory(Directory),
}

/// A directory whose databases are replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where they are.
    pub folder: Folder,
    /// Whether those that come and go later count, too.
    pub watch: bool,
    meta: Option<Meta>,
    /// What each of them is like, but for its places.
    template: Database,
}

/// Where their local state is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meta {
    /// `meta-path`: below it as below the directory.
    Path(PathBuf),
    /// `meta-dir`: named as Litestream does it.
    Dir(PathBuf),
}

/// The place that an element of `dbs` names: a database, or a directory.
pub(super) fn path(section: &Section<'_>) -> std::result::Result<Text, Problem> {
    let (path, dir) = (section.place("path")?, section.place("dir")?);
    match (path, dir) {
        (Some(_), Some(dir)) => {
            let (path, dir_key) = (section.path("path"), section.path("dir"));
            let message = format_args!("{path} and {dir_key} cannot both be set");
            Err(Problem::new(dir.line, message).hint("write an entry for each"))
        }
        (Some(place), None) | (None, Some(place)) => Ok(place),
        (None, None) => {
            Err(Problem::new(section.line, format_args!("{} is missing", section.path("path")))
                .hint("name the database file: path: /data/app.db"))
        }
    }
}

/// Tells which of the two an element is, and reads what only directories have.
pub(super) fn read(
    section: &Section<'_>,
    mut template: Database,
) -> std::result::Result<Entry, Problem> {
    if section.place("dir")?.is_none() {
        for key in ["pattern", "recursive", "watch", "meta-dir"] {
            if let Some(node) = section.node(key) {
                let message = format_args!("{} goes with dir only", section.path(key));
                return Err(Problem::new(node.line, message).hint("name a directory: dir: /data"));
            }
        }
        return Ok(Entry::Database(template));
    }
    let pattern = section.text("pattern")?.ok_or_else(|| {
        Problem::new(section.line, format_args!("{} is missing", section.path("pattern")))
            .hint("which files of the directory: pattern: \"*.db\"")
    })?;
    let recursive = section.flag("recursive")?.unwrap_or(false);
    let folder = Folder::new(template.path.clone(), &pattern.text, recursive).map_err(|error| {
        let key = section.path("pattern");
        Problem::new(pattern.line, format_args!("{key}: {:?}: {error}", pattern.text))
    })?;
    let meta = match (template.meta.take(), section.place("meta-dir")?) {
        (Some(_), Some(dir)) => {
            let (path, dir_key) = (section.path("meta-path"), section.path("meta-dir"));
            let message = format_args!("{path} and {dir_key} cannot both be set");
            return Err(Problem::new(dir.line, message).hint("keep one of them"));
        }
        (Some(path), None) => Some(Meta::Path(path)),
        (None, Some(dir)) => Some(Meta::Dir(absolute(&dir)?)),
        (None, None) => None,
    };
    if template.restore_if_missing {
        let line = section.node("restore-if-db-not-exists").map_or(section.line, |it| it.line);
        let message = format_args!(
            "{} has no effect on a directory",
            section.path("restore-if-db-not-exists")
        );
        let hint = "nobody knows which databases are missing: give those an entry with path";
        section.context.warn(Problem::new(line, message).hint(hint));
    }
    let watch = section.flag("watch")?.unwrap_or(false);
    Ok(Entry::Directory(Directory { folder, watch, meta, template }))
}

impl Directory {
    /// The settings of the database at a path, if that is one at which databases of this directory
    /// are.
    pub fn database(&self, path: &Path) -> Option<Database> {
        if !self.folder.may_hold(path) {
            return None;
        }
        let relative = path.strip_prefix(&self.folder.root).ok()?;
        let name = relative.file_name()?.to_string_lossy().into_owned();
        let meta = self.meta.as_ref().map(|meta| match meta {
            Meta::Path(base) => base.join(relative.with_file_name(format!(".{name}-litestream"))),
            Meta::Dir(base) => base.join(relative.with_file_name(format!("{name}-litestream"))),
        });
        let replicas = self.template.replicas.iter().map(|it| it.join(relative)).collect();
        Some(Database { path: path.to_owned(), meta, replicas, ..self.template.clone() })
    }

    /// Those that there are now.
    pub fn databases(&self) -> Result<Vec<Database>> {
        let found = self.scan(|_| false)?;
        let mut databases: Vec<_> =
            found.databases.iter().filter_map(|path| self.database(path)).collect();
        databases.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(databases)
    }

    /// Looks for databases. `known` says of which it is known that they are some.
    pub fn scan(&self, known: impl Fn(&Path) -> bool) -> Result<Found> {
        self.folder.scan(known).map_err(|error| {
            let root = self.folder.root.display();
            Failure::new(Exit::Config, format_args!("cannot look into {root}: {error}"))
                .hint("dir must name a directory that may be read")
        })
    }
}
