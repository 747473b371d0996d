//! The restore of a replica that was synced many times and compacted.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{MB, PATIENCE};
use crate::database;
use crate::ground::{Ground, Place};
use crate::program::{Program, Who};
use crate::table::{Reach, Row, Series};

/// Syncs of the replica that both restore.
const SYNCS: u64 = 20_000;
/// The intervals of a day in some minutes.
const CONFIG: &str = "\
sync-interval: 1ms
levels: [{interval: 1s}, {interval: 10s}, {interval: 60s}]
l0-retention: 10s
";

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(writer) = ground.program(Who::Brooklet) else { return Ok(Vec::new()) };
    let place = ground.place()?;
    synced(&place, writer)?;
    let (mut wall, mut memory) = (Series::default(), Series::default());
    for run in 0..ground.runs {
        for who in ground.contestants(run) {
            let Some(program) = ground.program(who) else { continue };
            let _ = fs::remove_file(place.restored());
            let end = program.restore(place.replica().path(), &place.restored(), None)?;
            wall.push(who, end.wall.as_secs_f64());
            memory.push(who, end.peak as f64 / MB);
            database::assert_same(&place.database(), &place.restored())?;
        }
    }
    Ok(vec![
        Row::new("restore of one replica after 20,000 syncs and compaction, wall", "s", wall)
            .reach(Reach::ShareOfLitestream(0.5)),
        Row::new("its peak memory", "MB", memory),
    ])
}

/// A replica that came about by many syncs of one commit each.
fn synced(place: &Place, program: &Program) -> Result<()> {
    let application = database::create_small(&place.database())?;
    let config = place.database().with_file_name("config.yml");
    let (db, replica) = (place.database(), place.replica());
    let url = format!("file://{}", replica.path().display());
    let text = format!("{CONFIG}dbs: [{{path: {}, replica: {{url: {url}}}}}]\n", db.display());
    fs::write(&config, text)?;
    let replicator = program.replicate_all(&config, &db.with_extension("log"), None)?;
    replica.await_snapshot(&replicator, PATIENCE)?;
    let mut insert =
        application.prepare("INSERT INTO event (at, note) VALUES (0, hex(randomblob(100)))")?;
    let started = Instant::now();
    while replica.last() < SYNCS {
        ensure!(started.elapsed() < PATIENCE * 5, "too slow: {} syncs", replica.last());
        for _ in 0..100 {
            insert.execute([])?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    drop(insert);
    replicator.stop()?;
    Ok(())
}
