//! How the cost of capture grows when ever more commits fall on the same pages between two syncs.
//! The replicator is stopped (SIGSTOP) while the application commits, so that all commits meet
//! exactly one sync; what it uses from SIGCONT until it is at rest again is its cost.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::{MB, PATIENCE, millis};
use crate::database;
use crate::ground::Ground;
use crate::load::{self, Kind, Load, PAGES};
use crate::process::{Running, Usage};
use crate::program::Program;
use crate::table::{Row, Series};

const COMMITS: [u64; 3] = [1_000, 10_000, 100_000];

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for commits in COMMITS {
        let (mut cpu, mut read) = (Series::default(), Series::default());
        for program in ground.programs() {
            let (before, after) = one_sync(ground, program, commits)?;
            cpu.push(program.who, millis(after.cpu_since(&before)));
            read.push(program.who, after.read.saturating_sub(before.read) as f64 / MB);
        }
        let what = format!("{} commits over {PAGES} pages in one sync", Thousands(commits));
        rows.push(Row::new(format!("{what}: CPU"), "ms", cpu));
        rows.push(Row::new(format!("{what}: bytes read"), "MB", read));
    }
    Ok(rows)
}

fn one_sync(ground: &Ground, program: &Program, commits: u64) -> Result<(Usage, Usage)> {
    let place = ground.place()?;
    let (database, replica) = (place.database(), place.replica());
    let application = database::create_small(&database)?;
    load::create_counters(&application)?;
    let replicator = program.replicate(&database, replica.path())?;
    replica.await_snapshot(&replicator, PATIENCE)?;
    at_rest(&replicator)?;
    let appeared = replica.watch()?;
    let before = replicator.usage()?;
    replicator.signal(Signal::STOP)?;
    let committed = Load::new(Kind::SamePages, &database, commits).start()?.finish();
    replicator.signal(Signal::CONT)?;
    committed?;
    appeared.recv_timeout(Duration::from_secs(60))?;
    let after = at_rest(&replicator)?;
    replicator.stop()?;
    program.restore(replica.path(), &place.restored(), None)?;
    database::assert_same(&database, &place.restored())?;
    Ok((before, after))
}

/// Waits until the process has used next to nothing for two seconds (more than the interval of
/// any timer that has to do with a sync), and returns its counters as they were at the rest's
/// beginning.
fn at_rest(replicator: &Running) -> Result<Usage> {
    let start = Instant::now();
    let mut quiet_since = (Instant::now(), replicator.usage()?);
    while quiet_since.0.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(50));
        let now = replicator.usage()?;
        if now.cpu_since(&quiet_since.1) > Duration::from_millis(8) {
            quiet_since = (Instant::now(), now);
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!("the replicator finds no rest");
        }
    }
    Ok(quiet_since.1)
}

struct Thousands(u64);

impl std::fmt::Display for Thousands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},000", self.0 / 1000)
    }
}
