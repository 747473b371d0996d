//! What is uploaded for what is changed. The clocks are compressed: thirty minutes of 500 writes a
//! second in one.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::PATIENCE;
use crate::database;
use crate::ground::Ground;
use crate::load::{Kind, Load};
use crate::program::Who;
use crate::table::{Reach, Row, Series};

const LENGTH: Duration = Duration::from_secs(60);
const RATE: u64 = 500 * 30;
/// Litestream's defaults, each divided by thirty; level 0 stays, so that its files can be read.
const CONFIG: &str = "\
sync-interval: 33ms
levels: [{interval: 1s}, {interval: 10s}, {interval: 120s}]
l0-retention: 1h
";

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(program) = ground.program(Who::Brooklet) else { return Ok(Vec::new()) };
    let place = ground.place()?;
    drop(database::create_small(&place.database())?);
    let config = place.database().with_file_name("config.yml");
    let (db, replica) = (place.database(), place.replica());
    let url = format!("file://{}", replica.path().display());
    let text = format!("{CONFIG}dbs: [{{path: {}, replica: {{url: {url}}}}}]\n", db.display());
    fs::write(&config, text)?;
    let replicator = program.replicate_all(&config, &db.with_extension("log"), None)?;
    replica.await_snapshot(&replicator, PATIENCE)?;
    let application = Load::new(Kind::Light, &db, RATE).start()?;
    let mut uploaded = BTreeMap::new();
    let started = Instant::now();
    while started.elapsed() < LENGTH {
        note(replica.path(), &mut uploaded);
        std::thread::sleep(Duration::from_millis(100));
    }
    let seen = application.finish()?;
    replicator.stop()?;
    note(replica.path(), &mut uploaded);
    let bytes = |wanted: &dyn Fn(u8) -> bool| -> u64 {
        uploaded.iter().filter(|((level, _), _)| wanted(*level)).map(|(_, size)| size).sum()
    };
    let changed = changed_bytes(&uploaded)? as f64;
    let series = |value: f64| {
        let mut series = Series::default();
        series.push(Who::Brooklet, value);
        series
    };
    let amplified = |wanted: &dyn Fn(u8) -> bool| series(bytes(wanted) as f64 / changed);
    Ok(vec![
        Row::new("30 minutes of writes, compressed: commits", "", series(seen.commits as f64)),
        Row::new(
            "uploaded / distinct changed page bytes, level 0",
            "",
            amplified(&|level| level == 0),
        )
        .reach(Reach::AtMost(1.3)),
        Row::new("the same, all levels", "", amplified(&|_| true)).reach(Reach::AtMost(2.5)),
    ])
}

/// Notes all files of a replica, those that go away later included.
fn note(replica: &Path, files: &mut BTreeMap<(u8, PathBuf), u64>) {
    for level in 0..=9 {
        let Ok(entries) = fs::read_dir(replica.join(format!("ltx/{level}"))) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let (true, Ok(metadata)) =
                (path.extension().is_some_and(|it| it == "ltx"), entry.metadata())
            else {
                continue;
            };
            files.insert((level, path), metadata.len());
        }
    }
}

/// Bytes of the pages in all files of level 0.
fn changed_bytes(files: &BTreeMap<(u8, PathBuf), u64>) -> Result<u64> {
    let mut bytes = 0;
    for (_, path) in files.keys().filter(|(level, _)| *level == 0) {
        let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut decoder = ltx::Decoder::new(BufReader::new(file))?;
        let mut page = vec![0; decoder.header().page_size.bytes()];
        while decoder.next_page(&mut page)?.is_some() {
            bytes += page.len() as u64;
        }
    }
    Ok(bytes)
}
