//! All that is known, as JSON.

use std::path::Path;
use std::time::SystemTime;

use engine::{DatabaseState, DatabaseStatus, ReplicaStatus};
use serde::Serialize;

use super::dump::state;
use super::fleet::{Fleet, Standing};
use super::health::{self, Problem, Thresholds};

/// The whole page.
#[derive(Debug, Serialize)]
pub struct Status {
    program: &'static str,
    version: &'static str,
    pid: u32,
    started_at: String,
    uptime_seconds: u64,
    /// Whether no commits are missing in any replica.
    ready: bool,
    problems: Vec<String>,
    databases: Vec<Database>,
}

#[derive(Debug, Serialize)]
struct Database {
    path: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<u64>,
    wal_bytes: u64,
    rebases: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_done: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Serialize)]
struct Replica {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<u64>,
    /// Everything committed before this moment is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    covered_until: Option<String>,
    /// Whether the lease on it is ours, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_held: Option<bool>,
    lag_seconds: f64,
    backlog_files: u64,
    backlog_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upkeep_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_error: Option<String>,
}

/// What is known now.
pub fn status(fleet: &Fleet, thresholds: &Thresholds) -> Status {
    let (statuses, problems) = (fleet.statuses(), health::of(fleet, thresholds));
    let mut databases: Vec<Database> = statuses.iter().map(Database::of).collect();
    let is_told = |path: &Path| statuses.iter().any(|it| it.path == path);
    let others = fleet.members().into_iter().filter(|it| it.standing != Standing::Running);
    let others = others.filter(|it| !is_told(&it.database.path));
    databases.extend(others.map(|member| Database {
        path: member.database.path.display().to_string(),
        state: if member.standing == Standing::Stopped { "stopped" } else { "waiting" },
        txid: None,
        wal_bytes: 0,
        rebases: 0,
        snapshot_done: None,
        error: member.obstacle,
        replicas: Vec::new(),
    }));
    Status {
        program: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: moment(fleet.began.1),
        uptime_seconds: fleet.began.0.elapsed().as_secs(),
        ready: !problems.iter().any(|problem| problem.behind),
        problems: problems.iter().map(Problem::to_string).collect(),
        databases,
    }
}

impl Database {
    fn of(it: &DatabaseStatus) -> Database {
        let done = match it.state {
            DatabaseState::Snapshotting { done, total } => Some(done as f64 / total.max(1) as f64),
            _ => None,
        };
        Database {
            path: it.path.display().to_string(),
            state: state(it),
            txid: it.local_txid.map(ltx::Txid::get),
            wal_bytes: it.wal_bytes,
            rebases: it.rebases,
            snapshot_done: done,
            error: it.capture_error.clone(),
            replicas: it.replicas.iter().map(Replica::of).collect(),
        }
    }
}

impl Replica {
    fn of(it: &ReplicaStatus) -> Replica {
        Replica {
            url: it.url.clone(),
            txid: it.txid.map(ltx::Txid::get),
            covered_until: it.covered_until.map(moment),
            lease_held: it.holds_lease,
            lag_seconds: it.lag.as_secs_f64(),
            backlog_files: it.backlog.files,
            backlog_bytes: it.backlog.bytes,
            uploaded_at: it.uploaded_at.map(moment),
            snapshot_at: it.contents.and_then(|it| it.snapshot_at).map(moment),
            objects: it.contents.map(|it| it.objects),
            bytes: it.contents.map(|it| it.bytes),
            verified_at: it.verified_at.map(moment),
            error: it.last_error.clone(),
            upkeep_error: it.upkeep_error.clone(),
            verify_error: it.verify_error.clone(),
        }
    }
}

/// A moment as RFC 3339 in UTC.
pub fn moment(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map_or_else(|_| String::new(), |it| it.to_string())
}
