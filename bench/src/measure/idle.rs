//! What a replicator costs beside one idle database. All programs idle at the same time.

use std::time::Duration;

use anyhow::Result;

use super::{MB, PATIENCE};
use crate::database;
use crate::ground::Ground;
use crate::table::{Reach, Row, Series};

const SETTLE: Duration = Duration::from_secs(10);
const WATCH: Duration = Duration::from_secs(30);

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let mut idling = Vec::new();
    for program in ground.programs() {
        let place = ground.place()?;
        let application = database::create_small(&place.database())?;
        let replicator = program.replicate(&place.database(), place.replica().path())?;
        place.replica().await_snapshot(&replicator, PATIENCE)?;
        idling.push((program.who, replicator, application, place));
    }
    std::thread::sleep(SETTLE);
    let mut before = Vec::new();
    for (_, replicator, ..) in &idling {
        before.push(replicator.usage()?);
    }
    std::thread::sleep(WATCH);
    let (mut memory, mut cpu) = (Series::default(), Series::default());
    let (mut threads, mut switches) = (Series::default(), Series::default());
    for ((who, replicator, ..), before) in idling.iter().zip(before) {
        let after = replicator.usage()?;
        let seconds = WATCH.as_secs_f64();
        let switched = after.voluntary_switches.saturating_sub(before.voluntary_switches);
        memory.push(*who, after.resident as f64 / MB);
        cpu.push(*who, after.cpu_since(&before).as_secs_f64() / seconds * 100.0);
        threads.push(*who, after.threads as f64);
        switches.push(*who, switched as f64 / seconds);
    }
    Ok(vec![
        Row::new("one idle database: resident memory", "MB", memory).reach(Reach::AtMost(12.0)),
        Row::new("its CPU", "%", cpu).reach(Reach::AtMost(0.1)),
        Row::new("its threads", "", threads),
        Row::new("its voluntary context switches", "/s", switches),
    ])
}
