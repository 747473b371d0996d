//! The replica that a command works on, named by its URL or by its database's path.

use crate::args::ConfigArgs;
use crate::config::Database;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::places;
use storage::Url;

/// Replicas of one database, and what the configuration knows of it.
#[derive(Debug)]
pub struct Source {
    /// Where its replicas are: at least one.
    pub replicas: Vec<Replica>,
    /// The database that they belong to, if it was found through the configuration.
    pub database: Option<Database>,
}

impl Source {
    /// Finds what `name` means: a URL stands for itself, a path is looked up in the
    /// configuration.
    pub fn find(name: &str, config: &ConfigArgs) -> Result<Source> {
        if Url::is_url(name) {
            config.unused_with_url()?;
            return Ok(Source { replicas: vec![replica(name)?], database: None });
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
            Some(database) => {
                let replicas = database.replicas.clone();
                Ok(Source { replicas, database: Some(database) })
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
pub fn replica(text: &str) -> Result<Replica> {
    let url = match text.parse()? {
        Url::File(path) if !path.is_absolute() || text.starts_with('~') => {
            Url::File(places::absolute(text)?)
        }
        url => url,
    };
    Ok(url.into())
}
