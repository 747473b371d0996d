//! What the file says of all databases and replicas, for those that it does not list.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::HistoryOptions;
use storage::Options;

use super::database::Database;
use super::keys::BACKENDS;
use super::problem::Problem;
use super::section::Section;
use super::{history, place, replica};
use crate::connect::Replica;
use crate::secret::Secret;

/// What an entry has that says nothing but its path and its replica's URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// For each kind of storage.
    options: BTreeMap<&'static str, Options>,
    lease: Option<Duration>,
    identities: Vec<Secret>,
    history: HistoryOptions,
    sync_interval: Option<Duration>,
}

impl Defaults {
    pub(super) fn read(root: &Section<'_>) -> Result<Defaults, Problem> {
        let options = |backend| Ok((backend, place::beside_url(root, backend)?));
        Ok(Defaults {
            options: BACKENDS.into_iter().map(options).collect::<Result<_, Problem>>()?,
            lease: replica::lease(root, root)?,
            identities: replica::identities(root)?,
            history: history::read(root)?,
            sync_interval: root.interval("sync-interval")?,
        })
    }

    /// The database at a path, with a replica of which nothing but the URL is given.
    pub fn database(&self, path: PathBuf, replica: Replica) -> Database {
        let of_all = self.options.get(replica.url.kind());
        let options = of_all.map_or_else(Options::new, |all| replica.options.clone().or(all));
        let mut database =
            Database::new(path, vec![Replica { options, lease: self.lease, ..replica }]);
        database.identities.clone_from(&self.identities);
        database.history = self.history.clone();
        database.sync_interval = self.sync_interval.unwrap_or(database.sync_interval);
        database
    }
}
