//! Databases that come and go in watched directories while they are replicated.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use engine::folder::{Changes, Stop};

use crate::config::directory::Directory;
use crate::daemon::fleet::{Fleet, Origin};
use crate::failure::Result;

/// What no event tells is found by a look.
const LOOK: Duration = Duration::from_secs(30);
/// How soon to look again at what may become a database, or cannot be let go yet.
const SOON: Duration = Duration::from_secs(1);

/// Watches those directories that want it, until what is returned ends that. `listed` are the
/// databases that have an entry of their own.
pub fn watch(
    fleet: &Arc<Fleet>,
    directories: &[Directory],
    listed: &HashSet<PathBuf>,
) -> io::Result<Vec<Stop>> {
    let mut stops = Vec::new();
    for directory in directories.iter().filter(|directory| directory.watch) {
        let changes = Changes::listen()?;
        stops.push(changes.stopper());
        // Files that are replicated already must not even be looked into.
        let found = fleet.members().into_iter().filter(|member| member.origin == Origin::Found);
        let known = found.map(|member| member.database.path);
        let known = known.filter(|path| directory.folder.may_hold(path)).collect();
        let (fleet, listed) = (Arc::clone(fleet), listed.clone());
        let mut keeper = Keeper { directory: directory.clone(), fleet, listed, known };
        let named = thread::Builder::new().name("folder".into());
        named.spawn(move || keeper.run(&changes))?;
    }
    Ok(stops)
}

/// Keeps the set of databases of one directory.
struct Keeper {
    directory: Directory,
    fleet: Arc<Fleet>,
    listed: HashSet<PathBuf>,
    known: HashSet<PathBuf>,
}

impl Keeper {
    fn run(&mut self, changes: &Changes) {
        let root = self.directory.folder.root.display().to_string();
        let mut soon = true;
        while changes.wait(if soon { SOON } else { LOOK }) {
            // Watched before it is looked at, so that nothing comes in between unseen.
            if let Err(error) = changes.watch(&self.directory.folder) {
                tracing::warn!(dir = root, %error, "no events for this directory: it is looked at in intervals");
            }
            match self.look() {
                Ok(again) => soon = again,
                Err(failure) => {
                    tracing::error!(
                        dir = root,
                        error = failure.message,
                        "cannot look for databases"
                    );
                    soon = false;
                }
            }
        }
    }

    /// Takes over what is there. Says whether to look again soon.
    fn look(&mut self) -> Result<bool> {
        let found = self.directory.scan(|path| {
            self.known.contains(path)
                || self.listed.contains(path)
                || self.fleet.replicator().replicates(path)
        })?;
        let mut again = found.may_grow;
        // Those with an entry of their own are none of ours.
        let ours = found.databases.into_iter().filter(|path| !self.listed.contains(path));
        let there: HashSet<PathBuf> = ours.collect();
        for path in &there {
            let Some(database) = self.directory.database(path) else { continue };
            if self.known.contains(path) {
                continue;
            }
            match self.fleet.appeared(&database) {
                true => drop(self.known.insert(path.clone())),
                false => again = true,
            }
        }
        let gone: Vec<PathBuf> = self.known.difference(&there).cloned().collect();
        for path in gone {
            match self.fleet.vanished(&path) {
                true => {
                    tracing::info!(db = %path.display(), "the database is gone; its replica stays");
                    self.known.remove(&path);
                }
                false => again = true,
            }
        }
        Ok(again)
    }
}
