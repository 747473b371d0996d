//! Many databases in one process: a thousand that idle beside both programs, and ten thousand of
//! which a hundred are written to, beside ours, where it may open 4,096 files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rusqlite::Connection;

use super::MB;
use crate::database;
use crate::directory::Directory;
use crate::ground::{Ground, Place};
use crate::process::Running;
use crate::program::{Program, Who};
use crate::table::{Reach, Row, Series};

const IDLE: usize = 1_000;
const CROWD: usize = 10_000;
const ACTIVE: usize = 100;
const CROWD_FILES: u64 = 4_096;
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(300);
/// ext4 is slow to make files for some seconds after many were deleted.
const AFTER_DELETION: Duration = Duration::from_secs(7);

#[derive(Default)]
struct Figures {
    ready: Series,
    memory: Series,
    peak: Series,
    cpu: Series,
    stop: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let mut idle = Figures::default();
    for program in ground.programs() {
        let stage = Stage::new(ground, IDLE)?;
        idle.one(program, &stage, None, |_| Ok(()))?;
        drop(stage);
        std::thread::sleep(AFTER_DELETION);
    }
    let mut crowd = Figures::default();
    if let Some(program) = ground.program(Who::Brooklet) {
        let stage = Stage::new(ground, CROWD)?;
        crowd.one(program, &stage, Some(CROWD_FILES), |stage| stage.write_to_some(WATCH))?;
        stage.check_some(program)?;
    }
    Ok(vec![
        Row::new("1,000 idle databases: until all are in their replicas", "s", idle.ready)
            .reach(Reach::AtMost(3.0)),
        Row::new("their resident memory", "MB", idle.memory).reach(Reach::AtMost(50.0)),
        Row::new("their CPU", "%", idle.cpu).reach(Reach::AtMost(1.0)),
        Row::new("SIGTERM until it has ended", "s", idle.stop).reach(Reach::AtMost(2.0)),
        Row::new(
            "10,000 databases, 100 of them active, 4,096 files: until all are in",
            "s",
            crowd.ready,
        )
        .reach(Reach::AtMost(30.0)),
        Row::new("their peak memory", "MB", crowd.peak).reach(Reach::AtMost(512.0)),
        Row::new("their CPU", "%", crowd.cpu),
        Row::new("SIGTERM until it has ended", "s", crowd.stop),
    ])
}

/// Databases in one directory, and the configuration that names them all.
struct Stage {
    place: Place,
    count: usize,
}

impl Stage {
    fn new(ground: &Ground, count: usize) -> Result<Stage> {
        let stage = Stage { place: ground.place()?, count };
        let template = stage.place.database();
        database::create_small(&template)?.query_row(
            "PRAGMA wal_checkpoint(TRUNCATE)",
            [],
            |_| Ok(()),
        )?;
        fs::create_dir(stage.root().join("dbs"))?;
        let mut config = String::from("dbs:\n");
        for index in 0..count {
            fs::copy(&template, stage.database(index))?;
            let (path, replica) = (stage.database(index), stage.replica(index));
            writeln!(config, "- path: {}", path.display())?;
            writeln!(config, "  replica: {{url: file://{}}}", replica.path().display())?;
        }
        fs::write(stage.config(), config)?;
        rustix::fs::sync();
        Ok(stage)
    }

    fn root(&self) -> PathBuf {
        self.place.database().with_file_name("")
    }

    fn config(&self) -> PathBuf {
        self.root().join("config.yml")
    }

    fn database(&self, index: usize) -> PathBuf {
        self.root().join(format!("dbs/{index}.db"))
    }

    fn replica(&self, index: usize) -> Directory {
        Directory::new(self.root().join(format!("replicas/{index}")))
    }

    /// Waits until every database has its first file.
    fn await_all(&self, replicator: &Running) -> Result<()> {
        let start = Instant::now();
        for index in 0..self.count {
            let replica = self.replica(index);
            while replica.objects(0).is_empty() && replica.objects(9).is_empty() {
                ensure!(start.elapsed() < PATIENCE, "database {index} is not replicated");
                if !replicator.is_alive()? {
                    bail!("the replicator ended early; see {}", self.root().join("log").display());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn active(&self) -> impl Iterator<Item = usize> {
        (0..self.count).step_by(self.count / ACTIVE)
    }

    /// One row to each active database in turn.
    fn write_to_some(&self, length: Duration) -> Result<()> {
        let open = |index| database::open(&self.database(index));
        let active: Vec<Connection> = self.active().map(open).collect::<Result<_>>()?;
        let start = Instant::now();
        for connection in active.iter().cycle() {
            if start.elapsed() >= length {
                return Ok(());
            }
            connection.execute("INSERT INTO event (at, note) VALUES (1, 'active')", [])?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What was written last is in the replicas.
    fn check_some(&self, program: &Program) -> Result<()> {
        for index in self.active().step_by(ACTIVE / 10) {
            let restored = self.root().join(format!("restored-{index}.db"));
            program.restore(self.replica(index).path(), &restored, None)?;
            database::assert_same(&self.database(index), &restored)?;
        }
        Ok(())
    }
}

impl Figures {
    fn one(
        &mut self,
        program: &Program,
        stage: &Stage,
        files: Option<u64>,
        meanwhile: impl FnOnce(&Stage) -> Result<()>,
    ) -> Result<()> {
        let log: &Path = &stage.root().join("log");
        let start = Instant::now();
        let replicator = program.replicate_all(&stage.config(), log, files)?;
        stage.await_all(&replicator)?;
        self.ready.push(program.who, start.elapsed().as_secs_f64());
        std::thread::sleep(SETTLE);
        let (before, watched) = (replicator.usage()?, Instant::now());
        meanwhile(stage)?;
        std::thread::sleep(WATCH.saturating_sub(watched.elapsed()));
        let after = replicator.usage()?;
        let cpu = after.cpu_since(&before).as_secs_f64() / watched.elapsed().as_secs_f64();
        self.cpu.push(program.who, cpu * 100.0);
        self.memory.push(program.who, after.resident as f64 / MB);
        let asked = Instant::now();
        let end = replicator.stop()?;
        self.stop.push(program.who, asked.elapsed().as_secs_f64());
        self.peak.push(program.who, end.peak as f64 / MB);
        Ok(())
    }
}
