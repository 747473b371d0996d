//! `brooklet restore -follow`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::restore::{Advance, Follower, Progress};
use serde::Serialize;

use super::bar::Silent;
use super::watched::Watched;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use crate::signals::Listener;

/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often a copy that stays as it is tells of itself.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Keeps a copy up to date until a signal comes.
#[derive(Debug)]
pub struct Follow<'a> {
    pub path: &'a Path,
    /// Between two looks at the replica.
    pub interval: Duration,
    /// Whether the reader is a program.
    pub json: bool,
    pub listener: &'a Listener,
    /// For others who look.
    pub watched: Option<Arc<Watched>>,
}

#[derive(Serialize)]
struct Line<'a> {
    db_path: &'a Path,
    status: &'static str,
    txid: String,
    lag_seconds: f64,
    timestamp: Option<String>,
    files: Option<usize>,
    pages: Option<u64>,
    error: Option<String>,
}

impl Follow<'_> {
    pub fn run(&self, mut follower: Follower) -> Result<Exit> {
        let db = self.path.display();
        let txid = txid(&follower);
        tracing::info!(%db, txid, interval = ?self.interval, "following");
        let progress = Silent { stop: self.listener.stop.clone() };
        let (mut failures, mut told) = (0, Instant::now());
        while !progress.cancelled() {
            let advanced = follower.advance(&progress);
            if let Some(watched) = &self.watched {
                let updated = matches!(advanced, Ok(Some(_)));
                let error = advanced.as_ref().err().map(ToString::to_string);
                watched.looked(&follower, updated, error);
            }
            let pause = match advanced {
                Ok(advance) => {
                    failures = 0;
                    if advance.is_some() || told.elapsed() >= SIGN_OF_LIFE {
                        self.tell(&follower, advance)?;
                        told = Instant::now();
                    }
                    self.interval
                }
                Err(_) if progress.cancelled() => break,
                Err(error) => {
                    failures += 1;
                    let pause = self.pause(failures);
                    let lag = output::duration(follower.lag());
                    tracing::error!(%db, %error, lag, retry_in = ?pause, "cannot follow");
                    self.print(&follower, "failing", None, Some(error.to_string()))?;
                    told = Instant::now();
                    pause
                }
            };
            let _ = self.listener.events.recv_timeout(pause);
        }
        tracing::info!(%db, txid = self::txid(&follower), "stopped following");
        Ok(Exit::Done)
    }

    /// Longer after each failure, and not the same for all who fail together.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.interval.saturating_mul(1 << failures.min(10));
        doubled.min(MAX_PAUSE.max(self.interval)).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn tell(&self, follower: &Follower, advance: Option<Advance>) -> Result<()> {
        let (db, txid, lag) =
            (self.path.display(), txid(follower), output::duration(follower.lag()));
        match advance {
            Some(Advance { files, pages, whole, .. }) => {
                tracing::info!(%db, txid, files, pages, whole, lag, "followed");
            }
            None if follower.lag() >= SIGN_OF_LIFE => {
                tracing::warn!(%db, txid, lag, "the replica does not reach the copy: waiting for it");
            }
            None => tracing::info!(%db, txid, lag, "nothing new"),
        }
        self.print(follower, "following", advance, None)
    }

    fn print(
        &self,
        follower: &Follower,
        status: &'static str,
        advance: Option<Advance>,
        error: Option<String>,
    ) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        output::json_line(&Line {
            db_path: self.path,
            status,
            txid: txid(follower),
            lag_seconds: follower.lag().as_secs_f64(),
            timestamp: advance.map(|it| output::moment(it.timestamp)),
            files: advance.map(|it| it.files),
            pages: advance.map(|it| it.pages),
            error,
        })
    }
}

fn txid(follower: &Follower) -> String {
    follower.txid().map(|txid| txid.to_string()).unwrap_or_default()
}
