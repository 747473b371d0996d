//! What others may see of a copy that is followed: how far behind it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::restore::Follower;
use serde::Serialize;

use crate::daemon::control;
use crate::daemon::health::LAG;
use crate::failure::Result;
use crate::http::{Address, Bearable};
use crate::{metrics, output};

/// A copy, as it was when its follower last looked.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    txid: Option<u64>,
    /// Until when the copy held everything that its replica held.
    current_at: Option<Instant>,
    updates: u64,
    failures: u64,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    program: &'static str,
    version: &'static str,
    db_path: String,
    state: &'static str,
    ready: bool,
    txid: Option<u64>,
    lag_seconds: f64,
    updates: u64,
    failures: u64,
    error: Option<String>,
}

impl Watched {
    /// Serves it at an address until the process ends.
    pub fn serve(path: PathBuf, address: Address) -> Result<Arc<Watched>> {
        let watched = Arc::new(Watched { path, seen: Mutex::default() });
        let router = Router::new()
            .route("/metrics", get(all_metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/status", get(status))
            .with_state(Arc::clone(&watched));
        address.serve(router)?;
        Ok(watched)
    }

    /// Notes what came of a look.
    pub fn looked(&self, follower: &Follower, updated: bool, error: Option<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.txid = follower.txid().map(ltx::Txid::get);
        seen.current_at = Instant::now().checked_sub(follower.lag());
        seen.updates += u64::from(updated);
        seen.failures += u64::from(error.is_some());
        seen.error = error;
    }

    fn status(&self, most: Duration) -> Status {
        let seen = self.seen();
        Status {
            program: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            db_path: self.path.display().to_string(),
            state: if seen.error.is_some() { "failing" } else { "following" },
            ready: seen.fault(most).is_none(),
            txid: seen.txid,
            lag_seconds: seen.lag().unwrap_or_default().as_secs_f64(),
            updates: seen.updates,
            failures: seen.failures,
            error: seen.error,
        }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    /// For how long it is not known to hold everything; none before the first look.
    fn lag(&self) -> Option<Duration> {
        self.current_at.map(|at| at.elapsed())
    }

    /// Why nobody should read from it; none if somebody may.
    fn fault(&self, most: Duration) -> Option<String> {
        let why = self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        match self.lag() {
            Some(lag) if lag <= most => None,
            Some(lag) => Some(format!("{} behind{why}\n", output::duration(lag))),
            None => Some(format!("not looked at yet{why}\n")),
        }
    }
}

async fn all_metrics(State(watched): State<Arc<Watched>>) -> impl IntoResponse {
    let seen = watched.seen();
    let page = metrics::of_copy(&metrics::Copy {
        path: &watched.path,
        txid: seen.txid,
        lag: seen.lag(),
        updates: seen.updates,
        failures: seen.failures,
    });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page)
}

async fn readyz(State(watched): State<Arc<Watched>>, Query(bearable): Query<Bearable>) -> Response {
    match bearable.thresholds().map(|most| watched.seen().fault(most.lag.unwrap_or(LAG))) {
        Err(refused) => (StatusCode::BAD_REQUEST, refused).into_response(),
        Ok(None) => "ok\n".into_response(),
        Ok(Some(fault)) => (StatusCode::SERVICE_UNAVAILABLE, fault).into_response(),
    }
}

async fn status(State(watched): State<Arc<Watched>>, Query(bearable): Query<Bearable>) -> Response {
    match bearable.thresholds() {
        Ok(most) => control::json(StatusCode::OK, &watched.status(most.lag.unwrap_or(LAG))),
        Err(refused) => (StatusCode::BAD_REQUEST, refused).into_response(),
    }
}
