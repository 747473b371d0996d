//! Tells somebody far away, again and again, that everything is replicated.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use engine::DatabaseStatus;

use super::fleet::{Fleet, synced_at};
use crate::config::Heartbeat;

/// How often it is looked at whether one is due.
const LOOK: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Goes on until the program ends.
pub async fn beat(heartbeat: Heartbeat, fleet: Arc<Fleet>) {
    let client = match client() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "there will be no heartbeats"),
    };
    let mut attempted: Option<Instant> = None;
    loop {
        let due = attempted.is_none_or(|at| at.elapsed() >= heartbeat.interval);
        let all_run = fleet.coming().is_empty();
        if due && all_run && is_well(&fleet.statuses(), heartbeat.interval, SystemTime::now()) {
            attempted = Some(Instant::now());
            send(&client, &heartbeat).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    // Another part of the program may have chosen the same one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        .build()
}

/// The URL is a secret: who knows it may tell the same.
async fn send(client: &reqwest::Client, heartbeat: &Heartbeat) {
    let answer = client.get(&heartbeat.url).send().await.and_then(|it| it.error_for_status());
    match answer {
        Ok(_) => tracing::debug!("heartbeat sent"),
        Err(error) => {
            let error = chain(&error.without_url());
            tracing::warn!(error, "the heartbeat was not taken");
        }
    }
}

/// An error with all that it was caused by.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Whether there is a database, and all of them were in their replicas lately.
fn is_well(statuses: &[DatabaseStatus], within: Duration, now: SystemTime) -> bool {
    let recent = |it: &DatabaseStatus| {
        let age = synced_at(it).map(|at| now.duration_since(at).unwrap_or_default());
        it.capture_error.is_none() && age.is_some_and(|age| age <= within)
    };
    let mut there = statuses.iter().filter(|it| !it.absent).peekable();
    there.peek().is_some() && there.all(recent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::ReplicaStatus;

    #[test]
    fn all_is_well_if_all_databases_were_synced_lately() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        let database = |covered: &[Option<u64>]| DatabaseStatus {
            replicas: covered
                .iter()
                .map(|it| ReplicaStatus { covered_until: it.map(at), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        let well = |databases: &[DatabaseStatus]| is_well(databases, minute, at(100));
        assert!(!well(&[]), "there must be one");
        assert!(well(&[database(&[Some(40)]), database(&[Some(99), Some(50)])]));
        assert!(!well(&[database(&[Some(40)]), database(&[Some(39)])]));
        assert!(!well(&[database(&[Some(90), None])]));
        let absent = DatabaseStatus { absent: true, ..database(&[None]) };
        assert!(!well(std::slice::from_ref(&absent)));
        assert!(well(&[absent, database(&[Some(90)])]));
        let failing = DatabaseStatus { capture_error: Some("no".into()), ..database(&[Some(90)]) };
        assert!(!well(&[failing]));
    }
}
