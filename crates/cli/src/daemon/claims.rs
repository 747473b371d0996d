//! One database to one place: two in one would write over each other's objects, however their URLs
//! spell it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::config::Database;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::Failure;

/// A replica in a place that has another one.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The replica.
    pub replica: String,
    /// Whose it would be.
    pub database: PathBuf,
    /// Whose place that is.
    pub owner: PathBuf,
    /// How it is spelled there.
    pub spelled: String,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { replica, database, owner, spelled } = self;
        match database == owner {
            true => write!(f, "the replica {replica} of {} is given twice", owner.display())?,
            false => write!(f, "the replica {replica} is already in use by {}", owner.display())?,
        }
        if replica == spelled { Ok(()) } else { write!(f, ", as {spelled}") }
    }
}

impl std::error::Error for Taken {}

impl From<Taken> for Failure {
    fn from(taken: Taken) -> Failure {
        Failure::new(Exit::Config, taken).hint("give each database its own")
    }
}

/// Refuses the first of these databases that has a place of one before it, or one place twice.
pub fn check<'a>(databases: impl IntoIterator<Item = &'a Database>) -> Result<(), Taken> {
    let mut owners: BTreeMap<String, (&Database, &Replica)> = BTreeMap::new();
    for database in databases {
        for replica in &database.replicas {
            // What is wrong with one that cannot be opened is told where that is tried.
            let Ok(place) = replica.place() else { continue };
            if let Some((owner, spelled)) = owners.insert(place, (database, replica)) {
                return Err(Taken {
                    replica: replica.to_string(),
                    database: database.path.clone(),
                    owner: owner.path.clone(),
                    spelled: spelled.to_string(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(name: &str, replicas: &[&str]) -> Database {
        let replica = |url: &&str| url.parse::<storage::Url>().unwrap().into();
        Database::new(name.into(), replicas.iter().map(replica).collect())
    }

    #[test]
    fn a_place_has_one_database_however_it_is_spelled() {
        let near = "s3://b/p?endpoint=127.0.0.1:9000";
        let a = database("/a", &["file:///r/a", near]);
        let check = |other: Database| check([&a, &other]).map_err(|it| it.to_string());
        let free = "s3://b/p?endpoint=127.0.0.1:9001";
        assert_eq!(check(database("/b", &["/r/b", free])), Ok(()));
        let same = "the replica file:///r/a is already in use by /a";
        assert_eq!(check(database("/b", &["/r/a"])), Err(same.into()));
        let other = "the replica file:///x/../r//a/ is already in use by /a, as file:///r/a";
        assert_eq!(check(database("/b", &["file:///x/../r//a/"])), Err(other.into()));
        let server = "the replica s3://b//p/ is already in use by /a, as s3://b/p";
        let spelled = "s3://b//p/?endpoint=http://127.0.0.1:9000&region=x";
        assert_eq!(check(database("/b", &[spelled])), Err(server.into()));
    }

    #[test]
    fn a_database_has_each_place_once() {
        let twice = check([&database("/a", &["/r/a", "/r/b", "/r/./a"])]).unwrap_err();
        let told = "the replica file:///r/./a of /a is given twice, as file:///r/a";
        assert_eq!(twice.to_string(), told);
        assert_eq!(Failure::from(twice).exit, Exit::Config);
    }
}
