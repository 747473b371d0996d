//! The first snapshot of a large database, while the application goes on writing lightly.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{MB, PATIENCE, millis};
use crate::database;
use crate::ground::{Ground, Place};
use crate::load::{Kind, Load};
use crate::measure::restore::copy;
use crate::program::Program;
use crate::table::{Reach, Row, Series};

#[derive(Default)]
struct Figures {
    wall: Series,
    cpu: Series,
    memory: Series,
    stall: Series,
    size: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let large = ground.large()?;
    let mut figures = Figures::default();
    for run in 0..ground.runs {
        for who in ground.contestants(run) {
            let place = ground.place()?;
            let (_, synced) = copy(large, &place.database())?;
            let Some(program) = ground.program(who) else {
                figures.wall.push(who, synced.as_secs_f64());
                continue;
            };
            figures.one(program, &place)?;
            if run == 0 {
                program.restore(place.replica().path(), &place.restored(), None)?;
                database::assert_same(&place.database(), &place.restored())?;
            }
        }
    }
    Ok(figures.rows())
}

impl Figures {
    fn one(&mut self, program: &Program, place: &Place) -> Result<()> {
        let (who, replica) = (program.who, place.replica());
        let application = Load::new(Kind::Light, &place.database(), 20).start()?;
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        let replicator = program.replicate(&place.database(), replica.path())?;
        let restorable = replica.await_snapshot(&replicator, PATIENCE)?;
        self.cpu.push(who, replicator.usage()?.ticks.as_secs_f64());
        self.wall.push(who, (restorable - started).as_secs_f64());
        let objects = [0, 9].into_iter().flat_map(|level| replica.objects(level));
        let size = objects.map(|object| object.size).max().unwrap_or(0);
        self.size.push(who, size as f64 / MB);
        self.stall.push(who, millis(application.finish()?.longest));
        self.memory.push(who, replicator.stop()?.peak as f64 / MB);
        Ok(())
    }

    fn rows(self) -> Vec<Row> {
        vec![
            Row::new("first snapshot of the large database, wall", "s", self.wall)
                .reach(Reach::ShareOfLitestream(0.3))
                .limit("cp + fsync"),
            Row::new("its CPU", "s", self.cpu),
            Row::new("its peak memory", "MB", self.memory).reach(Reach::AtMost(48.0)),
            Row::new("longest commit of a light writer meanwhile", "ms", self.stall),
            Row::new("size of the snapshot", "MB", self.size),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Who;

    #[test]
    fn the_machine_has_a_wall_figure_only() {
        let mut figures = Figures::default();
        figures.wall.push(Who::Machine, 1.0);
        let shown = figures.rows()[0].to_string();
        assert!(shown.ends_with("| 1.00 cp + fsync |"), "{shown}");
    }
}
