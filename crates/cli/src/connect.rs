//! Replicas are opened here: with the process's environment, where credentials may be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage::{Environment, FileStorage, Options, Storage, Url};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::secret;

/// Credentials that the environment may hold. `X_FILE` may name a file instead that holds `X`.
const CREDENTIALS: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "LITESTREAM_ACCESS_KEY_ID",
    "LITESTREAM_AZURE_ACCOUNT_KEY",
    "LITESTREAM_AZURE_SAS_TOKEN",
    "LITESTREAM_SECRET_ACCESS_KEY",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
];

/// Where a replica is, and what its storage has to know beside that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The place.
    pub url: Url,
    /// Credentials and the like; never shown.
    pub options: Options,
    /// If only one process may write there: how long it may be gone before another may.
    pub lease: Option<Duration>,
}

impl Replica {
    /// Its storage. Touches nothing yet.
    pub fn open(&self) -> Result<Arc<dyn Storage>> {
        open(&self.url, &self.options)
    }

    /// Where that is, without credentials and however it is spelled.
    pub fn place(&self) -> Result<String> {
        Ok(self.url.place(&self.options, &current()?)?)
    }

    /// Whether another one is in the same place.
    pub fn shares_place(&self, other: &Replica) -> bool {
        self == other || self.place().is_ok_and(|it| other.place().is_ok_and(|place| it == place))
    }

    /// The same, whose files are owned as the database is.
    pub fn open_for(&self, database: &Path) -> Result<Arc<dyn Storage>> {
        match &self.url {
            Url::File(path) => Ok(Arc::new(FileStorage::new(path).with_owner_of(database))),
            Url::Remote(_) => self.open(),
        }
    }

    /// The replica of that name below this one.
    pub fn join(&self, name: &Path) -> Replica {
        Replica { url: self.url.join(name), ..self.clone() }
    }
}

impl From<Url> for Replica {
    fn from(url: Url) -> Replica {
        Replica { url, options: Options::default(), lease: None }
    }
}

/// As its URL, without secrets.
impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// The storage of a replica. Touches nothing yet.
pub fn open(url: &Url, options: &Options) -> Result<Arc<dyn Storage>> {
    Ok(url.storage(options, &current()?)?)
}

fn current() -> Result<Environment> {
    let mut known = known();
    Ok(match &*known {
        Some(environment) => environment.clone(),
        None => known.insert(environment()?).clone(),
    })
}

/// Reads the files again that variables name. Says whether they hold anything else than before.
pub fn refresh() -> Result<bool> {
    let now = environment()?;
    let mut known = known();
    let differs = |before: &Environment| before.variables != now.variables;
    let changed = known.as_ref().is_some_and(differs);
    *known = Some(now);
    Ok(changed)
}

/// What the process was started with, and what the files held that its variables name.
fn known() -> MutexGuard<'static, Option<Environment>> {
    static KNOWN: Mutex<Option<Environment>> = Mutex::new(None);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn environment() -> Result<Environment> {
    let variables = with_files(std::env::vars().collect());
    let variables = variables.map_err(|reason| Failure::new(Exit::Config, reason))?;
    Ok(Environment { variables, home: std::env::home_dir() })
}

/// Takes credentials from the files that variables name, unless they are there themselves.
fn with_files(
    mut variables: BTreeMap<String, String>,
) -> std::result::Result<BTreeMap<String, String>, String> {
    for name in CREDENTIALS {
        if variables.get(name).is_some_and(|value| !value.is_empty()) {
            continue;
        }
        if let Some(value) = secret::from_file(name, |name| variables.get(name).cloned()) {
            variables.insert(name.to_owned(), value?);
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_may_be_in_files_that_variables_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key").display().to_string();
        std::fs::write(&file, "hush\n").unwrap();
        let read = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            with_files(set.collect())
        };
        for name in CREDENTIALS {
            let variable = format!("{name}_FILE");
            assert_eq!(read(&[(&variable, &file)]).unwrap()[name], "hush");
            assert_eq!(read(&[(&variable, &file), (name, "own")]).unwrap()[name], "own");
        }
        let other = read(&[("AWS_WEB_IDENTITY_TOKEN_FILE", &file)]).unwrap();
        assert!(!other.contains_key("AWS_WEB_IDENTITY_TOKEN"));
        let missing = read(&[("LITESTREAM_SECRET_ACCESS_KEY_FILE", "/no/such/file")]).unwrap_err();
        let start = "$LITESTREAM_SECRET_ACCESS_KEY_FILE: cannot read /no/such/file: ";
        assert!(missing.starts_with(start), "{missing}");
    }
}
