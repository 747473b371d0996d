//! `replicate -once`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{DatabaseStatus, Replicator};
use ltx::{Level, Txid};

use super::Job;
use crate::connect::Replica;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::signals::Listener;

/// How often we look whether to give up.
const LOOK: Duration = Duration::from_millis(500);
/// How long a replica that keeps failing is borne.
const PATIENCE: Duration = Duration::from_secs(5);

/// Brings all replicas up to date, however long a first copy takes. What keeps failing ends it.
pub fn run(job: &Job, replicator: &Replicator, listener: &Listener) -> Result<Exit> {
    let synced = sync(replicator, listener).and_then(|()| {
        tracing::info!("all replicas are up to date");
        if job.force_snapshot { await_snapshots(job, replicator, listener) } else { Ok(()) }
    });
    let _ = replicator.stop(Instant::now(), &AtomicBool::new(true));
    synced?;
    if job.enforce_retention {
        enforce_retention(job)?;
    }
    Ok(Exit::Done)
}

fn sync(replicator: &Replicator, listener: &Listener) -> Result<()> {
    let (asked, mut failing) = (Instant::now(), Failing::default());
    while let Err(error) = replicator.sync_of(asked, Instant::now() + LOOK) {
        let fails = |it: &DatabaseStatus| it.absent || it.last_error().is_some();
        let fails = replicator.statuses().iter().any(fails);
        if failing.is_hopeless(fails) || listener.stop.load(Ordering::SeqCst) {
            return Err(Failure::new(Exit::Failed, format_args!("not replicated: {error}"))
                .hint("what is missing goes first next time"));
        }
    }
    Ok(())
}

/// Waits until the state that each replica has by now is a snapshot there: with an interval of zero,
/// one is due whenever it is not.
fn await_snapshots(job: &Job, replicator: &Replicator, listener: &Listener) -> Result<()> {
    let mut failing = Failing::default();
    let wanted = replicator.statuses();
    loop {
        let statuses = replicator.statuses();
        let lacking = statuses.iter().zip(&wanted).flat_map(|(status, wanted)| {
            let database = job.databases.iter().find(|it| it.path == status.path);
            let places = database.into_iter().flat_map(|it| &it.replicas);
            let wanted = wanted.replicas.iter().map(|it| it.txid);
            let all = places.zip(&status.replicas).zip(wanted).collect::<Vec<_>>();
            all.into_iter().filter(|((_, replica), txid)| replica.snapshot_txid < *txid)
        });
        let mut error = None;
        for ((place, replica), txid) in lacking {
            if !has_snapshot(place, txid)? {
                error = Some(replica.upkeep_error.clone().unwrap_or_default());
                break;
            }
        }
        let Some(error) = error else { return Ok(()) };
        if failing.is_hopeless(!error.is_empty()) || listener.stop.load(Ordering::SeqCst) {
            let message = format_args!("the snapshot was not stored: {error}");
            return Err(
                Failure::new(Exit::Failed, message).hint("the replica is up to date without it")
            );
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether one was there before.
fn has_snapshot(replica: &Replica, txid: Option<Txid>) -> Result<bool> {
    let snapshots = replica.open()?.list(Level::SNAPSHOT, Txid::FIRST)?;
    Ok(snapshots.iter().any(|object| Some(object.txids.max) >= txid))
}

fn enforce_retention(job: &Job) -> Result<()> {
    for database in &job.databases {
        for replica in &database.replicas {
            let gone = engine::enforce(&*replica.open()?, &database.history.retention);
            let deleted = gone.map_err(Failure::from)?.len();
            tracing::info!(db = %database.path.display(), %replica, deleted, "retention enforced");
        }
    }
    Ok(())
}

/// Since when something has failed without a break.
#[derive(Debug, Default)]
struct Failing(Option<Instant>);

impl Failing {
    fn is_hopeless(&mut self, fails: bool) -> bool {
        match fails {
            true => self.0.get_or_insert_with(Instant::now).elapsed() >= PATIENCE,
            false => {
                self.0 = None;
                false
            }
        }
    }
}
