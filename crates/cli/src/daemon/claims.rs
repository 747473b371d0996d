//! One database to one place: two in one would write over each other's objects, however their URLs
//! spell it. And one job for one database, under whatever name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Database;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::Failure;

/// What has another owner already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// A place has another replica.
    #[error("the replica {replica} is already in use by {}{}", .owner.display(), otherwise(.replica, .spelled))]
    Place {
        /// The one that is refused.
        replica: String,
        /// Whose place it is.
        owner: PathBuf,
        /// How it is spelled there.
        spelled: String,
    },
    /// A database has one place twice.
    #[error("the replica {replica} of {} is given twice{}", .owner.display(), otherwise(.replica, .spelled))]
    Twice {
        /// The second of them.
        replica: String,
        /// The database.
        owner: PathBuf,
        /// How the first one is spelled.
        spelled: String,
    },
    /// A database is there under another name.
    #[error("the database {} is already in use as {}", .path.display(), .owner.display())]
    Database {
        /// The second name.
        path: PathBuf,
        /// The first.
        owner: PathBuf,
    },
}

fn otherwise(replica: &str, spelled: &str) -> String {
    if replica == spelled { String::new() } else { format!(", as {spelled}") }
}

impl From<Taken> for Failure {
    fn from(taken: Taken) -> Failure {
        Failure::new(Exit::Config, taken).hint("give each database its own")
    }
}

/// Refuses the first of these databases that is one before it, or has a place of one before it, or
/// one place twice.
pub fn check<'a>(databases: impl IntoIterator<Item = &'a Database>) -> Result<(), Taken> {
    let mut names: BTreeMap<PathBuf, &Database> = BTreeMap::new();
    let mut places: BTreeMap<String, (&Database, &Replica)> = BTreeMap::new();
    for database in databases {
        let path = database.path.clone();
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(owner) = names.insert(real, database) {
            return Err(Taken::Database { path, owner: owner.path.clone() });
        }
        for replica in &database.replicas {
            // What is wrong with one that cannot be opened is told where that is tried.
            let Ok(place) = replica.place() else { continue };
            let Some((owner, spelled)) = places.insert(place, (database, replica)) else {
                continue;
            };
            let (replica, spelled) = (replica.to_string(), spelled.to_string());
            let owner = owner.path.clone();
            return Err(match owner == path {
                true => Taken::Twice { replica, owner, spelled },
                false => Taken::Place { replica, owner, spelled },
            });
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

    #[test]
    fn a_database_has_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(name("a"), "").unwrap();
        std::os::unix::fs::symlink("a", name("b")).unwrap();
        let taken = check([&database(&name("a"), &["/r/a"]), &database(&name("b"), &["/r/b"])]);
        let told = format!("the database {} is already in use as {}", name("b"), name("a"));
        assert_eq!(taken.unwrap_err().to_string(), told);
    }
}
