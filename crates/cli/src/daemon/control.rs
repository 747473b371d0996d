//! Litestream's control API: what commands ask of a running program, over a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use engine::{DatabaseState, DatabaseStatus};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fleet::{Changed, Error, Fleet, Member, Standing, synced_at};
use super::served::moment;
use crate::places;
use crate::source::replica;

/// How long a request may take that names no time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As good as for ever.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
/// Most bytes of a request.
const MOST: usize = 64 * 1024;

/// All that the socket serves of this API.
pub fn router(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/start", post(start))
        .route("/stop", post(stop))
        .route("/sync", post(sync))
        .route("/register", post(register))
        .route("/unregister", post(unregister))
        .route("/txid", get(txid))
        .route("/list", get(list))
        .route("/info", get(info))
        .route("/debug/sync-status", get(sync_status))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(fleet)
}

/// What is asked of one database.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    path: String,
    replica_url: String,
    wait: bool,
    /// Seconds.
    timeout: Option<i64>,
}

/// A request that is not fulfilled.
#[derive(Debug, Serialize)]
struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    status: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated_txid: Option<u64>,
}

type Answer<T> = Result<T, Refusal>;

impl Refusal {
    fn new(status: StatusCode, error: impl ToString) -> Refusal {
        Refusal { status, error: error.to_string(), details: None }
    }

    fn bad(error: &str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match error {
            Error::Stopped(_) | Error::Elsewhere { .. } | Error::Taken(_) => StatusCode::CONFLICT,
            Error::Closing => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, error)
    }
}

impl Refusal {
    /// What is unknown is told so where Litestream tells it so.
    fn found(error: Error) -> Refusal {
        match error {
            Error::Unknown(_) => Refusal::new(StatusCode::NOT_FOUND, error),
            error => error.into(),
        }
    }
}

impl Request {
    fn read(body: &Bytes) -> Answer<Request> {
        let request: Request = parse(body)?;
        match request.path.is_empty() {
            true => Err(Refusal::bad("path required")),
            false => Ok(request),
        }
    }

    fn path(&self) -> Answer<PathBuf> {
        absolute(&self.path)
    }

    fn deadline(&self, default: Duration) -> Instant {
        let given = self.timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Instant::now()
            + given.filter(|it| *it > 0).map_or(default, Duration::from_secs).min(NO_TIMEOUT)
    }

    fn done(self, status: &'static str) -> Done {
        Done { status, path: self.path, txid: None, replicated_txid: None }
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| Refusal {
        details: Some(error.to_string()),
        ..Refusal::bad("invalid request body")
    })
}

fn absolute(path: &str) -> Answer<PathBuf> {
    places::absolute(path).map_err(|error| Refusal {
        details: Some(error.to_string()),
        ..Refusal::bad("invalid path")
    })
}

/// Does what may take a while, away from the thread that serves.
async fn work<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answered(answer),
        Err(error) => answered::<()>(Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))),
    }
}

fn answered<T: Serialize>(answer: Answer<T>) -> Response {
    match answer {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refusal) => json(refusal.status, &refusal),
    }
}

/// An answer as Litestream writes it.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn start(State(fleet): State<Arc<Fleet>>, body: Bytes) -> Response {
    work(move || {
        let request = Request::read(&body)?;
        let (changed, txid) = fleet.resume(&request.path()?, request.deadline(TIMEOUT))?;
        let status = told(changed, "started", "already_running");
        Ok(Done { txid: Some(txid), ..request.done(status) })
    })
    .await
}

async fn stop(State(fleet): State<Arc<Fleet>>, body: Bytes) -> Response {
    work(move || {
        let request = Request::read(&body)?;
        let (changed, txid) = fleet.stop(&request.path()?, request.deadline(TIMEOUT))?;
        let status = told(changed, "stopped", "already_stopped");
        Ok(Done { txid: Some(txid), ..request.done(status) })
    })
    .await
}

async fn sync(State(fleet): State<Arc<Fleet>>, body: Bytes) -> Response {
    work(move || {
        let request = Request::read(&body)?;
        let deadline = request.deadline(TIMEOUT);
        let synced =
            fleet.sync(&request.path()?, request.wait, deadline).map_err(Refusal::found)?;
        let status = match (synced.changed, request.wait) {
            (false, _) => "no_change",
            (true, true) => "synced",
            (true, false) => "synced_local",
        };
        let (txid, replicated) = (Some(synced.txid), Some(synced.replicated_txid));
        Ok(Done { txid, replicated_txid: replicated, ..request.done(status) })
    })
    .await
}

async fn register(State(fleet): State<Arc<Fleet>>, body: Bytes) -> Response {
    work(move || {
        let request = Request::read(&body)?;
        if request.replica_url.is_empty() {
            return Err(Refusal::bad("replica_url required"));
        }
        let url = replica(&request.replica_url).map_err(|failure| {
            Refusal::bad(&format!("invalid replica url: {}", failure.message))
        })?;
        let path = request.path()?;
        if path.is_dir() {
            return Err(Refusal::bad("the path is a directory"));
        }
        let changed = fleet.register(path, url, request.deadline(TIMEOUT))?;
        Ok(request.done(told(changed, "registered", "already_registered")))
    })
    .await
}

async fn unregister(State(fleet): State<Arc<Fleet>>, body: Bytes) -> Response {
    work(move || {
        let request = Request::read(&body)?;
        let (changed, txid) = fleet.unregister(&request.path()?, request.deadline(TIMEOUT))?;
        let status = told(changed, "unregistered", "already_unregistered");
        Ok(Done { txid: Some(txid), ..request.done(status) })
    })
    .await
}

fn told(changed: Changed, now: &'static str, before: &'static str) -> &'static str {
    match changed {
        Changed::Now => now,
        Changed::Before => before,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    path: String,
}

#[derive(Debug, Serialize)]
struct TxidAnswer {
    txid: u64,
}

async fn txid(State(fleet): State<Arc<Fleet>>, Query(named): Query<Named>) -> Response {
    work(move || {
        if named.path.is_empty() {
            return Err(Refusal::bad("path required"));
        }
        let txid = fleet.txid(&absolute(&named.path)?);
        let unknown = |_| Refusal::new(StatusCode::NOT_FOUND, "database not found");
        Ok(TxidAnswer { txid: txid.map_err(unknown)? })
    })
    .await
}

#[derive(Debug, Serialize)]
struct List {
    databases: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    path: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync_at: Option<String>,
}

async fn list(State(fleet): State<Arc<Fleet>>) -> Response {
    let statuses = fleet.statuses();
    let listed = |member: Member| {
        let known = statuses.iter().find(|it| it.path == member.database.path);
        let synced = known.and_then(synced_at).or(member.synced_at);
        Listed {
            path: member.database.path.display().to_string(),
            status: standing(&member, known),
            last_sync_at: synced.map(moment),
        }
    };
    let databases = fleet.members().into_iter().map(listed).collect();
    answered(Ok(List { databases }))
}

/// The word that Litestream has for it.
fn standing(member: &Member, known: Option<&DatabaseStatus>) -> &'static str {
    match (member.standing, known.map(|it| &it.state)) {
        (Standing::Stopped, _) => "stopped",
        (_, Some(DatabaseState::Replicating | DatabaseState::Snapshotting { .. })) => "replicating",
        _ => "open",
    }
}

#[derive(Debug, Serialize)]
struct Info {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    started_at: String,
    database_count: usize,
    program: &'static str,
}

async fn info(State(fleet): State<Arc<Fleet>>) -> Response {
    let (instant, time): (Instant, SystemTime) = fleet.began;
    answered(Ok(Info {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: instant.elapsed().as_secs(),
        started_at: moment(time),
        database_count: fleet.members().len(),
        program: env!("CARGO_PKG_NAME"),
    }))
}

#[derive(Debug, Serialize)]
struct Syncing {
    databases: Vec<SyncStatus>,
}

#[derive(Debug, Serialize)]
struct SyncStatus {
    path: String,
    active: bool,
    operation: &'static str,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    last_synced_wal_offset: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshotting: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

async fn sync_status(State(fleet): State<Arc<Fleet>>, Query(named): Query<Named>) -> Response {
    let mut databases: Vec<SyncStatus> = fleet.statuses().iter().map(SyncStatus::of).collect();
    if !named.path.is_empty() {
        databases.retain(|it| it.path == named.path);
        if databases.is_empty() {
            let refusal = Refusal::new(StatusCode::NOT_FOUND, "database not found");
            return answered::<()>(Err(refusal));
        }
    }
    answered(Ok(Syncing { databases }))
}

impl SyncStatus {
    fn of(it: &DatabaseStatus) -> SyncStatus {
        let snapshotting = matches!(it.state, DatabaseState::Snapshotting { .. });
        SyncStatus {
            path: it.path.display().to_string(),
            active: snapshotting,
            operation: "sync",
            phase: match it.state {
                DatabaseState::Waiting => "starting",
                DatabaseState::Snapshotting { .. } => "write_ltx_from_db",
                DatabaseState::Replicating | DatabaseState::Failing { .. } => "sync_complete",
            },
            txid: it.local_txid.map(ltx::Txid::get),
            last_synced_wal_offset: it.wal_bytes,
            snapshotting,
            error: it.capture_error.clone(),
        }
    }
}
