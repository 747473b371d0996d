//! A changed configuration: what becomes of each database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::claims;
use super::fleet::{Error, Fleet, Member, Origin};
use crate::config::{Config, Database};
use crate::failure::Result;
use storage::Url;

/// How many databases are let go at once.
const TOGETHER: usize = 16;
/// How long a request may take that has not ended when its database is let go, if others shall not
/// wait for that.
const SOON: Duration = Duration::from_millis(50);

/// What is to be done. What is not mentioned is left alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Databases that are not wanted any more.
    pub remove: Vec<PathBuf>,
    /// Databases that are new, or to be replicated in another way.
    pub take_in: Vec<(Database, Origin)>,
    /// How many of these are not new.
    pub changed: usize,
    /// How many stay as they are.
    pub kept: usize,
}

/// Compares what there is with what is wanted. What somebody registered stays. With `renewed`,
/// credentials of the environment are others now, and whoever may use them begins anew.
pub fn plan(members: &[Member], wanted: Vec<(Database, Origin)>, renewed: bool) -> Plan {
    let known: BTreeMap<&Path, &Member> =
        members.iter().map(|member| (member.database.path.as_path(), member)).collect();
    let names: BTreeSet<PathBuf> =
        wanted.iter().map(|(database, _)| database.path.clone()).collect();
    let mut plan = Plan::default();
    let gone = members.iter().filter(|member| member.origin != Origin::Registered);
    let gone = gone.filter(|member| !names.contains(&member.database.path));
    plan.remove = gone.map(|member| member.database.path.clone()).collect();
    for (database, origin) in wanted {
        match known.get(database.path.as_path()) {
            Some(member) if member.database == database && !(renewed && is_remote(&database)) => {
                plan.kept += 1;
            }
            Some(_) => {
                plan.changed += 1;
                plan.take_in.push((database, origin));
            }
            None => plan.take_in.push((database, origin)),
        }
    }
    plan
}

fn is_remote(database: &Database) -> bool {
    database.replicas.iter().any(|replica| matches!(replica.url, Url::Remote(_)))
}

/// All databases that a configuration means now. Files that are replicated already are not even
/// looked into: that would take their locks. What somebody registered stays. No two may have one
/// place.
pub fn wanted(config: &Config, fleet: &Fleet) -> Result<Vec<(Database, Origin)>> {
    let mut wanted: Vec<_> =
        config.databases.iter().map(|it| (it.clone(), Origin::Listed)).collect();
    for directory in &config.directories {
        let found = directory.scan(|path| fleet.replicator().replicates(path))?;
        for database in found.databases.iter().filter_map(|path| directory.database(path)) {
            if !wanted.iter().any(|(it, _)| it.path == database.path) {
                wanted.push((database, Origin::Found));
            }
        }
    }
    let members = fleet.members();
    let staying = members.into_iter().filter(|member| {
        let path = &member.database.path;
        member.origin == Origin::Registered && !wanted.iter().any(|(it, _)| it.path == *path)
    });
    let mut all: Vec<_> =
        staying.map(|it| (as_registered(config, it.database), it.origin)).collect();
    all.extend(wanted);
    claims::check(all.iter().map(|(database, _)| database))?;
    Ok(all)
}

/// One that was registered, with what holds for all now.
fn as_registered(config: &Config, database: Database) -> Database {
    let Database { path, replicas, .. } = &database;
    match replicas.as_slice() {
        [replica] => config.defaults.database(path.clone(), replica.url.clone().into()),
        _ => database,
    }
}

/// Does what is planned. `patience` is how long each database's last sync may take.
pub fn carry_out(plan: Plan, fleet: &Fleet, patience: Duration) {
    each(plan.remove, |path| match fleet.drop_out(&path, Instant::now() + patience) {
        Ok(()) => {
            tracing::info!(db = %path.display(), "not replicated any more; its replica stays")
        }
        Err(Error::Closing) => {}
        Err(error) => tracing::error!(db = %path.display(), %error, "not replicated any more"),
    });
    // All of them are let go before any is taken in: what one had, another may get.
    each(plan.take_in, |(database, origin)| {
        let path = database.path.clone();
        match fleet.expect(database, origin, Instant::now() + patience) {
            Ok(()) | Err(Error::Closing) => {}
            Err(error) => tracing::error!(db = %path.display(), %error, "cannot be replicated"),
        }
    });
    take_in(fleet, SOON);
}

/// Takes in those that wait for it, as far as nothing is in their way. `patience` is how long the
/// last request of each may still take.
pub fn take_in(fleet: &Fleet, patience: Duration) {
    for member in fleet.coming() {
        let (path, db) = (&member.database.path, member.database.path.display());
        match fleet.take_in(path, Instant::now() + patience) {
            (Ok(()), _) => tracing::info!(%db, "replicated as the configuration says now"),
            (Err(Error::Closing), _) => return,
            (Err(error @ Error::Engine(engine::Error::Leaving(_))), true) => {
                tracing::warn!(%db, %error, "not replicated yet");
            }
            (Err(error), true) => tracing::error!(%db, %error, "cannot be replicated"),
            (Err(_), false) => {}
        }
    }
}

/// Does something for all, several at once: each may wait for a storage.
fn each<T: Send>(all: Vec<T>, act: impl Fn(T) + Sync) {
    let mut left = all.into_iter();
    loop {
        let some: Vec<T> = left.by_ref().take(TOGETHER).collect();
        if some.is_empty() {
            return;
        }
        thread::scope(|scope| {
            for one in some {
                let act = &act;
                scope.spawn(move || act(one));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(name: &str, replica: &str) -> Database {
        Database::new(
            Path::new("/").join(name),
            vec![replica.parse::<storage::Url>().unwrap().into()],
        )
    }

    fn member(name: &str, replica: &str, origin: Origin) -> Member {
        let database = database(name, replica);
        Member::new(database, origin)
    }

    #[test]
    fn only_what_differs_is_touched() {
        let members = [
            member("kept", "/r/kept", Origin::Listed),
            member("moved", "/r/old", Origin::Listed),
            member("gone", "/r/gone", Origin::Listed),
            member("left", "/r/left", Origin::Found),
            member("theirs", "/r/theirs", Origin::Registered),
        ];
        let listed = |name, replica| (database(name, replica), Origin::Listed);
        let wanted =
            vec![listed("kept", "/r/kept"), listed("moved", "/r/new"), listed("new", "/r/n")];
        let plan = plan(&members, wanted, false);
        assert_eq!(plan.remove, [Path::new("/gone"), Path::new("/left")]);
        assert_eq!(plan.take_in, [listed("moved", "/r/new"), listed("new", "/r/n")]);
        assert_eq!((plan.changed, plan.kept), (1, 1));
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let members = [member("a", "/r/a", Origin::Listed), member("b", "/r/b", Origin::Found)];
        let again = members.iter().map(|it| (it.database.clone(), it.origin)).collect();
        assert_eq!(plan(&members, again, false), Plan { kept: 2, ..Plan::default() });
    }

    #[test]
    fn other_credentials_are_for_those_who_may_use_them() {
        let members =
            [member("a", "s3://b/a", Origin::Listed), member("b", "/r/b", Origin::Listed)];
        let again = members.iter().map(|it| (it.database.clone(), it.origin)).collect();
        let taken = vec![(database("a", "s3://b/a"), Origin::Listed)];
        let expected = Plan { take_in: taken, changed: 1, kept: 1, ..Plan::default() };
        assert_eq!(plan(&members, again, true), expected);
    }
}
