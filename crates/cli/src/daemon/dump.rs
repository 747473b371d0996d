//! All that is known, in the log.

use engine::{DatabaseState, DatabaseStatus};

use super::fleet::{Fleet, Standing};
use super::served::moment;

/// Writes a line for each database and each of its replicas.
pub fn write(fleet: &Fleet) {
    let statuses = fleet.statuses();
    let uptime = fleet.began.0.elapsed().as_secs();
    tracing::info!(databases = fleet.members().len(), uptime_seconds = uptime, "status");
    for member in fleet.members().iter().filter(|it| it.standing != Standing::Running) {
        let state = match member.standing {
            Standing::Stopped => "stopped",
            _ => member.obstacle.as_deref().unwrap_or("being let go"),
        };
        tracing::info!(db = %member.database.path.display(), state, "status of a database");
    }
    statuses.iter().for_each(database);
}

fn database(it: &DatabaseStatus) {
    let txid = it.local_txid.map_or_else(|| "-".to_owned(), |txid| txid.to_string());
    let error = it.capture_error.as_deref().unwrap_or("none");
    tracing::info!(
        db = %it.path.display(), state = state(it), txid, wal_bytes = it.wal_bytes,
        syncs = it.counts.syncs, checkpoints = it.counts.checkpoints, error,
        "status of a database"
    );
    for replica in &it.replicas {
        let txid = replica.txid.map_or_else(|| "-".to_owned(), |txid| txid.to_string());
        let covered = replica.covered_until.map_or_else(|| "-".to_owned(), moment);
        let error = replica.last_error.as_deref().unwrap_or("none");
        tracing::info!(
            db = %it.path.display(), replica = replica.url, txid, covered_until = covered,
            lag_seconds = replica.lag.as_secs_f64(), backlog_files = replica.backlog.files,
            backlog_bytes = replica.backlog.bytes, error, "status of a replica"
        );
    }
}

/// What is done for a database, in a word.
pub fn state(it: &DatabaseStatus) -> &'static str {
    match it.state {
        DatabaseState::Waiting => "waiting",
        DatabaseState::Snapshotting { .. } => "snapshotting",
        DatabaseState::Replicating => "replicating",
        DatabaseState::Failing { .. } => "failing",
    }
}
