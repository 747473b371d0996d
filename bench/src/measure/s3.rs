//! A replica on S3, by `SeaweedFS` on the loopback: first snapshot, restore, lone commits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{MB, PATIENCE, millis};
use crate::bucket::Bucket;
use crate::database;
use crate::ground::Ground;
use crate::measure::restore::copy;
use crate::process::Running;
use crate::program::Program;
use crate::samples::Samples;
use crate::table::{Reach, Row, Series};
use crate::wiretap::Exchange;

#[derive(Default)]
struct Figures {
    snapshot: Series,
    snapshot_memory: Series,
    restore: Series,
    restore_memory: Series,
    lone: Series,
    server: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(bucket) = Bucket::start()? else { return Ok(Vec::new()) };
    let mut figures = Figures::default();
    let mut urls = Vec::new();
    for run in 0..ground.runs {
        for who in ground.contestants(run) {
            let Some(program) = ground.program(who) else { continue };
            let url = figures.snapshot(ground, &bucket, program)?;
            urls.push((who, url));
        }
    }
    for run in 0..ground.runs {
        for who in ground.contestants(run) {
            let Some(program) = ground.program(who) else { continue };
            let url = urls.iter().find(|(owner, _)| *owner == who).context("a replica")?;
            figures.restore(ground, program, &url.1, run == 0)?;
        }
    }
    for program in ground.programs() {
        figures.lone_commits(ground, &bucket, program)?;
    }
    Ok(figures.rows())
}

impl Figures {
    fn snapshot(&mut self, ground: &Ground, bucket: &Bucket, program: &Program) -> Result<String> {
        let place = ground.place()?;
        copy(ground.large()?, &place.database())?;
        let url = bucket.fresh_url();
        bucket.tap.take();
        let started = Instant::now();
        let replicator = program.replicate_to(&place.database(), &url)?;
        let stored = await_whole(bucket, &replicator)?;
        self.snapshot.push(program.who, (stored - started).as_secs_f64());
        self.snapshot_memory.push(program.who, replicator.stop()?.peak as f64 / MB);
        Ok(url)
    }

    fn restore(
        &mut self,
        ground: &Ground,
        program: &Program,
        url: &str,
        first: bool,
    ) -> Result<()> {
        let place = ground.place()?;
        let end = program.restore_from(url, &place.restored(), None)?;
        self.restore.push(program.who, end.wall.as_secs_f64());
        self.restore_memory.push(program.who, end.peak as f64 / MB);
        if first {
            database::assert_same(ground.large()?, &place.restored())?;
        }
        Ok(())
    }

    /// From the return of a commit to the server's answer to the object that holds it.
    fn lone_commits(&mut self, ground: &Ground, bucket: &Bucket, program: &Program) -> Result<()> {
        let place = ground.place()?;
        let application = database::create_small(&place.database())?;
        let url = bucket.fresh_url();
        bucket.tap.take();
        let replicator = program.replicate_to(&place.database(), &url)?;
        await_whole(bucket, &replicator)?;
        let (mut lone, mut server) = (Samples::default(), Samples::default());
        for _ in 0..ground.commits {
            std::thread::sleep(Duration::from_millis(1700));
            bucket.tap.take();
            application.execute("INSERT INTO event (at, note) VALUES (0, 'alone')", [])?;
            let committed = Instant::now();
            let stored = await_exchange(bucket, &replicator, |it| {
                it.method == "PUT" && it.target.contains("/0000/") && it.asked > committed
            })?;
            let answered = stored.answered.context("an answer")?;
            lone.push(millis(answered - committed));
            server.push(millis(answered - stored.asked));
        }
        replicator.stop()?;
        let p50 = |samples: &Samples| samples.quantile(0.5).context("no samples");
        self.lone.push(program.who, p50(&lone)? - p50(&server)?);
        self.server.push(program.who, p50(&server)?);
        Ok(())
    }

    fn rows(self) -> Vec<Row> {
        vec![
            Row::new("S3: first snapshot of the large database, wall", "s", self.snapshot)
                .reach(Reach::ShareOfLitestream(0.4)),
            Row::new("its peak memory", "MB", self.snapshot_memory),
            Row::new("S3: restore of the large database, wall", "s", self.restore)
                .reach(Reach::ShareOfLitestream(0.35)),
            Row::new("its peak memory", "MB", self.restore_memory).reach(Reach::AtMost(64.0)),
            Row::new(
                "S3: lone commit to acknowledged PUT beyond the server's time, p50",
                "ms",
                self.lone,
            )
            .reach(Reach::AtMost(15.0)),
            Row::new("the server's own time for that PUT, p50", "ms", self.server),
        ]
    }
}

/// Waits until a file with the whole database is stored.
pub(super) fn await_whole(bucket: &Bucket, replicator: &Running) -> Result<Instant> {
    let whole = await_exchange(bucket, replicator, |it| {
        let is_done = it.method == "PUT" && !it.target.contains("partNumber")
            || it.method == "POST" && it.target.contains("uploadId");
        is_done && it.target.contains("/0000000000000001-")
    })?;
    whole.answered.context("an answer")
}

fn await_exchange(
    bucket: &Bucket,
    replicator: &Running,
    wanted: impl Fn(&Exchange) -> bool,
) -> Result<Exchange> {
    let started = Instant::now();
    loop {
        if let Some(found) = bucket.tap.answered().into_iter().find(&wanted) {
            return Ok(found);
        }
        ensure!(replicator.is_alive()?, "the replicator ended early");
        ensure!(started.elapsed() < PATIENCE, "nothing stored for {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Who;

    #[test]
    fn rows_have_the_limits_of_the_project() {
        let mut figures = Figures::default();
        figures.restore.push(Who::Brooklet, 1.0);
        figures.restore.push(Who::Litestream, 4.0);
        let shown = figures.rows()[2].to_string();
        assert!(shown.contains("<= 0.35 x: yes"), "{shown}");
    }
}
