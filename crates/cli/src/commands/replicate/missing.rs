//! Databases that are restored before replication begins.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine::restore::{self, ErrorKind, Request};

use crate::commands::restore::{Silent, identities};
use crate::config::Database;
use crate::connect::Replica;
use crate::failure::Result;

/// Restores a database from its replicas, unless it is there or there is no backup of it.
pub fn restore(database: &Database, stop: &Arc<AtomicBool>) -> Result<()> {
    let db = database.path.display();
    // An empty file is what SQLite makes of a database that was opened and not used.
    if fs::metadata(&database.path).is_ok_and(|file| file.len() > 0) {
        tracing::info!(%db, "the database is there: not restored");
        return Ok(());
    }
    let identities = identities(database.identities.iter().map(|it| it.reveal()))?;
    let request = |replica: &Replica| -> Result<Request> {
        let mut request = Request::new(replica.open()?, &database.path);
        request.identities = identities.clone();
        Ok(request)
    };
    let requests = database.replicas.iter().map(request).collect::<Result<Vec<_>>>()?;
    match restore::run_any(&requests, &Silent { stop: Arc::clone(stop) }) {
        Ok((index, outcome)) => {
            let replica = &database.replicas[index];
            let txid = outcome.txid.map(|txid| txid.to_string()).unwrap_or_default();
            tracing::info!(%db, %replica, txid, "the database was missing: restored");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NoBackup => {
            tracing::info!(%db, "the database is missing, and so is a backup: starting afresh");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
