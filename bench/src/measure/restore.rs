//! The restore of a large database.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{MB, PATIENCE};
use crate::database;
use crate::ground::{Ground, Place};
use crate::program::{Program, Who};
use crate::table::{Reach, Row, Series};

#[derive(Default)]
struct Figures {
    wall: Series,
    cpu: Series,
    memory: Series,
    copied: Series,
    crosswise: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let sources = ground.programs().iter().map(|program| replicated(ground, program));
    let sources: Vec<Place> = sources.collect::<Result<_>>()?;
    let mut figures = Figures::default();
    for run in 0..ground.runs {
        for who in ground.contestants(run) {
            figures.one(ground, who, &sources, run == 0)?;
        }
    }
    figures.crosswise(ground, &sources)?;
    Ok(figures.rows())
}

/// A copy of the large database, and the replica that `program` has made of it.
fn replicated(ground: &Ground, program: &Program) -> Result<Place> {
    let place = ground.place()?;
    copy(ground.large()?, &place.database())?;
    let replica = place.replica();
    let replicator = program.replicate(&place.database(), replica.path())?;
    replica.await_snapshot(&replicator, PATIENCE)?;
    replicator.stop()?;
    Ok(place)
}

impl Figures {
    fn one(&mut self, ground: &Ground, who: Who, sources: &[Place], verify: bool) -> Result<()> {
        let place = ground.place()?;
        let Some(index) = ground.programs().iter().position(|program| program.who == who) else {
            let (copied, synced) = copy(ground.large()?, &place.restored())?;
            self.copied.push(who, copied.as_secs_f64());
            self.wall.push(who, synced.as_secs_f64());
            return Ok(());
        };
        let source = sources.get(index).context("replica of the large database")?;
        let program = ground.program(who).context("program")?;
        let end = program.restore(source.replica().path(), &place.restored(), None)?;
        self.wall.push(who, end.wall.as_secs_f64());
        self.cpu.push(who, end.cpu.as_secs_f64());
        self.memory.push(who, end.peak as f64 / MB);
        if verify {
            database::assert_same(&source.database(), &place.restored())?;
        }
        Ok(())
    }

    /// Each program restores the other's replica: a check, and the same bytes for both.
    fn crosswise(&mut self, ground: &Ground, sources: &[Place]) -> Result<()> {
        let [first, second] = ground.programs() else { return Ok(()) };
        for (program, source) in [first, second].into_iter().zip(sources.iter().rev()) {
            let place = ground.place()?;
            let end = program.restore(source.replica().path(), &place.restored(), None)?;
            database::assert_same(&source.database(), &place.restored())?;
            self.crosswise.push(program.who, end.wall.as_secs_f64());
        }
        Ok(())
    }

    fn rows(self) -> Vec<Row> {
        vec![
            Row::new("restore of the large database, wall", "s", self.wall)
                .reach(Reach::ShareOfLitestream(0.2))
                .limit("cp + fsync"),
            Row::new("its CPU", "s", self.cpu),
            Row::new("its peak memory", "MB", self.memory).reach(Reach::AtMost(64.0)),
            Row::new("restore of the other program's replica, wall", "s", self.crosswise),
            Row::new("the same bytes without fsync", "s", self.copied).limit("cp"),
        ]
    }
}

/// Copies a file; returns the time until the copy was in the page cache, and until on the disk.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(Duration, Duration)> {
    let start = Instant::now();
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    let copied = start.elapsed();
    File::open(to)?.sync_all()?;
    Ok((copied, start.elapsed()))
}
