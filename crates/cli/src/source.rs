//! The replica that a command works on, named by its URL or by its database's path.

use crate::args::ConfigArgs;
use crate::config;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::places;
use std::path::PathBuf;
use storage::Url;

/// A replica, and what the configuration knows of it.
#[derive(Debug)]
pub struct Source {
    /// Where the replica is.
    pub url: Url,
    /// The database that it belongs to, if it was found through the configuration.
    pub database: Option<PathBuf>,
}

impl Source {
    /// Finds what `name` means: a URL stands for itself, a path is looked up in the
    /// configuration.
    pub fn find(name: &str, config: &ConfigArgs) -> Result<Source> {
        if Url::is_url(name) {
            config.unused_with_url()?;
            return Ok(Source { url: replica_url(name)?, database: None });
        }
        let path = places::absolute(name)?;
        let config = config.load().map_err(|failure| match failure.hint {
            Some(_) if config.config.is_none() => Failure {
                hint: Some("name the file with -config, or give the replica's URL".into()),
                ..failure
            },
            _ => failure,
        })?;
        match config.database(&path) {
            Some(config::Database { replica, .. }) => {
                Ok(Source { url: replica.clone(), database: Some(path) })
            }
            None => {
                let message = format_args!("{} is not in the configuration", path.display());
                Err(Failure::new(Exit::Config, message)
                    .hint("brooklet databases lists those that are; or give the replica's URL"))
            }
        }
    }
}

/// A replica's URL, or a path to it, from the command line.
pub fn replica_url(text: &str) -> Result<Url> {
    match text.parse()? {
        Url::File(path) if !path.is_absolute() || text.starts_with('~') => {
            Ok(Url::File(places::absolute(text)?))
        }
        url => Ok(url),
    }
}
