//! Lone commits: how long until a restorable object with each stands in the replica.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::{PATIENCE, millis};
use crate::database;
use crate::ground::Ground;
use crate::program::{Program, Who};
use crate::samples::Samples;
use crate::table::{Reach, Row, Series};

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let (mut p50, mut p99, mut longest) = (Series::default(), Series::default(), Series::default());
    for program in ground.programs() {
        // Several starts: where timers take part, their phase against each other is drawn at each.
        let half = if program.who == Who::Litestream { 2 } else { 1 };
        let commits = ground.commits.div_ceil(ground.runs * half);
        let mut samples = Samples::default();
        for _ in 0..ground.runs {
            lone_commits(ground, program, commits, &mut samples)?;
        }
        eprintln!("  {:?}: {samples} ms", program.who);
        for (series, share) in [(&mut p50, 0.5), (&mut p99, 0.99), (&mut longest, 1.0)] {
            series.push(program.who, samples.quantile(share).context("no samples")?);
        }
    }
    Ok(vec![
        Row::new("lone commit to readable in the replica, p50", "ms", p50)
            .reach(Reach::AtMost(10.0)),
        Row::new("the same, p99", "ms", p99).reach(Reach::AtMost(50.0)),
        Row::new("the same, longest", "ms", longest),
    ])
}

fn lone_commits(
    ground: &Ground,
    program: &Program,
    commits: usize,
    samples: &mut Samples,
) -> Result<()> {
    let place = ground.place()?;
    let (database, replica) = (place.database(), place.replica());
    let application = database::create_small(&database)?;
    let replicator = program.replicate(&database, replica.path())?;
    replica.await_snapshot(&replicator, PATIENCE)?;
    let appeared = replica.watch()?;
    let mut carriers = Vec::new();
    for _ in 0..commits {
        std::thread::sleep(Duration::from_millis(1200) + random_part_of(800));
        appeared.try_iter().for_each(drop);
        application.execute("INSERT INTO event (at, note) VALUES (0, 'alone')", [])?;
        let committed = Instant::now();
        let Ok((seen, txid)) = appeared.recv_timeout(Duration::from_secs(10)) else {
            bail!("{:?}: nothing new in the replica 10 s after a commit", program.who);
        };
        samples.push(millis(seen.saturating_duration_since(committed)));
        carriers.push((application.last_insert_rowid(), txid));
    }
    // The files counted must hold the rows: a file that appeared for another reason would not.
    for (row, txid) in carriers {
        let restored = place.restored();
        program.restore(replica.path(), &restored, Some(&txid))?;
        if !database::has_event(&restored, row)? {
            bail!("{:?}: file {txid} was counted but lacks row {row}", program.who);
        }
        std::fs::remove_file(&restored)?;
    }
    replicator.stop()?;
    Ok(())
}

/// A part of `millis` that has nothing to do with the phase of anybody's timer.
fn random_part_of(millis: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    Duration::from_millis(now.wrapping_mul(0x9E37_79B9_7F4A_7C15) % millis)
}
