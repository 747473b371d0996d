//! The memory that a database of 20 GB takes, most of which was never written to.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{MB, PATIENCE};
use crate::database;
use crate::ground::Ground;
use crate::program::Who;
use crate::table::{Reach, Row, Series};

const PAGES: u32 = 5 << 20;
const PAGE: u64 = 4096;
const CONFIG: &str = "levels: [{interval: 1s}, {interval: 5s}]\nsync-interval: 100ms\n";

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(program) = ground.program(Who::Brooklet) else { return Ok(Vec::new()) };
    let place = ground.place()?;
    let (db, replica) = (place.database(), place.replica());
    create(&db)?;
    let config = db.with_file_name("config.yml");
    let url = format!("file://{}", replica.path().display());
    let text = format!("{CONFIG}dbs: [{{path: {}, replica: {{url: {url}}}}}]\n", db.display());
    fs::write(&config, text)?;
    let replicator = program.replicate_all(&config, &db.with_extension("log"), None)?;
    replica.await_snapshot(&replicator, PATIENCE * 5)?;
    let application = database::open(&db)?;
    let mut insert =
        application.prepare("INSERT INTO event (at, note) VALUES (0, hex(randomblob(2000)))")?;
    for _ in 0..20_000 {
        insert.execute([])?;
    }
    while replica.objects(2).is_empty() {
        insert.execute([])?;
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(insert);
    drop(application);
    let end = replicator.stop()?;
    let restored = program.restore(replica.path(), &place.restored(), None)?;
    let size = fs::metadata(place.restored())?.len();
    ensure!(size >= u64::from(PAGES) * PAGE, "the restored database has {size} bytes");
    let series = |value: f64| {
        let mut series = Series::default();
        series.push(Who::Brooklet, value);
        series
    };
    Ok(vec![
        Row::new(
            "a sparse database of 20 GB: peak memory of snapshot and compaction",
            "MB",
            series(end.peak as f64 / MB),
        )
        .reach(Reach::AtMost(128.0)),
        Row::new("its restore: peak memory", "MB", series(restored.peak as f64 / MB))
            .reach(Reach::AtMost(128.0)),
        Row::new("its restore: wall", "s", series(restored.wall.as_secs_f64())),
    ])
}

/// A small database whose header and file say that it is large.
fn create(path: &Path) -> Result<()> {
    let application = database::create_small(path)?;
    application.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(application);
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&PAGES.to_be_bytes(), 28)?;
    file.set_len(u64::from(PAGES) * PAGE)?;
    Ok(())
}
