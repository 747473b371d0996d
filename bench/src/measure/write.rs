//! A writer that never pauses: what replication costs it, and what it leaves on the disk.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{MB, PATIENCE, millis};
use crate::database;
use crate::ground::Ground;
use crate::load::{Kind, Load, Seen};
use crate::process::{Finished, Running};
use crate::program::Who;
use crate::table::{Reach, Row, Series};

/// What the application does, and how that is called.
const LOADS: [(Kind, &str); 2] =
    [(Kind::FlatOut, "synchronous=OFF"), (Kind::FlatOutNormal, "synchronous=NORMAL")];

struct Figures {
    load: (Kind, &'static str),
    share: Series,
    rate: Series,
    app_cpu: Series,
    wal_peak: Series,
    longest: Series,
    p999: Series,
    cpu: Series,
    memory: Series,
    replica: Series,
    drain: Series,
    verified: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for load in LOADS {
        let mut figures = Figures::new(load);
        for run in 0..ground.runs {
            figures.round(ground, run)?;
        }
        rows.extend(figures.rows());
    }
    Ok(rows)
}

impl Figures {
    fn new(load: (Kind, &'static str)) -> Self {
        Self {
            load,
            share: Series::default(),
            rate: Series::default(),
            app_cpu: Series::default(),
            wal_peak: Series::default(),
            longest: Series::default(),
            p999: Series::default(),
            cpu: Series::default(),
            memory: Series::default(),
            replica: Series::default(),
            drain: Series::default(),
            verified: Series::default(),
        }
    }

    fn round(&mut self, ground: &Ground, run: usize) -> Result<()> {
        for who in ground.contestants(run) {
            self.one(ground, who)?;
        }
        // A replicated rate is judged by the bare rate of its own round.
        let bare = self.rate.of(Who::Machine).last().context("bare rate")?;
        for program in ground.programs() {
            let rate = self.rate.of(program.who).last().context("replicated rate")?;
            self.share.push(program.who, rate / bare);
        }
        Ok(())
    }

    fn one(&mut self, ground: &Ground, who: Who) -> Result<()> {
        let place = ground.place()?;
        let database = place.database();
        // Stays open: the replicator's last close must not be the application's first event.
        let application = database::create_small(&database)?;
        let Some(program) = ground.program(who) else {
            let (seen, wal_peak) = drive(self.load.0, &database, ground.seconds)?;
            self.application(who, &seen, wal_peak);
            return Ok(());
        };
        let replica = place.replica();
        let replicator = program.replicate(&database, replica.path())?;
        replica.await_snapshot(&replicator, PATIENCE)?;
        std::thread::sleep(Duration::from_secs(1));
        let before = replicator.usage()?;
        let (seen, wal_peak) = drive(self.load.0, &database, ground.seconds)?;
        let cpu = replicator.usage()?.cpu_since(&before);
        let (end, drain) = drain(replicator)?;
        self.application(who, &seen, wal_peak);
        self.cpu.push(who, cpu.as_secs_f64());
        self.memory.push(who, end.peak as f64 / MB);
        self.drain.push(who, drain.as_secs_f64());
        self.replica.push(who, replica.bytes() as f64 / MB);
        program.restore(replica.path(), &place.restored(), None)?;
        let same = database::assert_same(&database, &place.restored());
        if let Err(difference) = &same {
            eprintln!("  {who:?}: THE RESTORE DIFFERS: {difference}");
        }
        self.verified.push(who, if same.is_ok() { 1.0 } else { 0.0 });
        drop(application);
        Ok(())
    }

    fn application(&mut self, who: Who, seen: &Seen, wal_peak: u64) {
        eprintln!("  {who:?}: {:.0} commits/s, longest {:?}", seen.rate(), seen.longest);
        self.rate.push(who, seen.rate());
        self.app_cpu.push(who, seen.cpu.as_secs_f64() * 1e6 / seen.commits as f64);
        self.wal_peak.push(who, wal_peak as f64 / MB);
        self.longest.push(who, millis(seen.longest));
        self.p999.push(who, millis(seen.p999));
    }

    fn rows(self) -> Vec<Row> {
        let bare = "bare";
        let share = format!("app commits/s, replicated / bare, {}", self.load.1);
        vec![
            Row::new(share, "", self.share).reach(Reach::AtLeast(0.9)),
            Row::new("app commits/s", "", self.rate).limit(bare),
            Row::new("app CPU per commit", "us", self.app_cpu).limit(bare),
            Row::new("WAL peak in that run", "MB", self.wal_peak)
                .reach(Reach::AtMost(64.0))
                .limit(bare),
            Row::new("longest commit in that run", "ms", self.longest)
                .reach(Reach::AtMost(50.0))
                .limit(bare),
            Row::new("p99.9 of a commit", "ms", self.p999).limit(bare),
            Row::new("replicator CPU in that run", "s", self.cpu),
            Row::new("its peak memory", "MB", self.memory),
            Row::new("replica after that run", "MB", self.replica),
            Row::new("SIGTERM until all is replicated", "s", self.drain),
            Row::new("restores that equal the source", "share", self.verified)
                .reach(Reach::AtLeast(1.0)),
        ]
    }
}

/// Lets the application write; returns what it saw and the largest size of its WAL.
fn drive(load: Kind, database: &Path, seconds: u64) -> Result<(Seen, u64)> {
    let wal = database.with_extension("db-wal");
    let mut loading = Load::new(load, database, seconds).start()?;
    let mut peak = 0;
    while !loading.is_done()? {
        peak = peak.max(fs::metadata(&wal).map_or(0, |wal| wal.len()));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((loading.finish()?, peak))
}

/// Stops the replicator in order; returns what it has cost and how long the stop took.
fn drain(replicator: Running) -> Result<(Finished, Duration)> {
    let start = Instant::now();
    let end = replicator.stop()?;
    Ok((end, start.elapsed()))
}
