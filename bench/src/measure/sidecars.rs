//! One process beside each of many databases, as containers have it. Each program's processes idle
//! together, with metrics served and a control socket.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::{MB, PATIENCE};
use crate::database;
use crate::ground::Ground;
use crate::process::{Running, Usage};
use crate::program::Program;
use crate::table::{Reach, Row, Series};

const SIDECARS: usize = 25;
const DATABASE: u64 = 10_000_000;
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_secs(30);

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let (mut memory, mut largest, mut cpu) =
        (Series::default(), Series::default(), Series::default());
    for program in ground.programs() {
        let (before, after) = idle(ground, program)?;
        let resident: Vec<f64> = after.iter().map(|it| it.resident as f64 / MB).collect();
        let spent: Duration = after.iter().zip(&before).map(|(it, then)| it.cpu_since(then)).sum();
        memory.push(program.who, resident.iter().sum());
        largest.push(program.who, resident.iter().copied().fold(0.0, f64::max));
        cpu.push(program.who, spent.as_secs_f64() / WATCH.as_secs_f64() * 100.0);
    }
    let all = SIDECARS as f64 * 12.0;
    Ok(vec![
        Row::new(
            "25 sidecars, each with an idle database of 10 MB: resident memory of all",
            "MB",
            memory,
        )
        .reach(Reach::AtMost(all)),
        Row::new("that of the largest", "MB", largest),
        Row::new("CPU of all", "%", cpu).reach(Reach::AtMost(1.0)),
    ])
}

/// What all of them have used when they have settled, and a while later.
fn idle(ground: &Ground, program: &Program) -> Result<(Vec<Usage>, Vec<Usage>)> {
    let mut idling = Vec::new();
    for _ in 0..SIDECARS {
        let place = ground.place()?;
        database::create_large(&place.database(), DATABASE)?;
        let application = database::open(&place.database())?;
        let config = place.database().with_extension("yml");
        fs::write(
            &config,
            format!(
                "addr: '127.0.0.1:0'\nsocket: {{enabled: true, path: '{}'}}\n\
                 dbs: [{{path: '{}', replica: {{path: '{}'}}}}]\n",
                place.database().with_extension("sock").display(),
                place.database().display(),
                place.replica().path().display()
            ),
        )?;
        let log = place.database().with_extension("log");
        let replicator = program.replicate_all(&config, &log, None)?;
        place.replica().await_snapshot(&replicator, PATIENCE)?;
        idling.push((replicator, application, place));
    }
    std::thread::sleep(SETTLE);
    let usage =
        || idling.iter().map(|(it, ..): &(Running, _, _)| it.usage()).collect::<Result<_>>();
    let before = usage()?;
    std::thread::sleep(WATCH);
    Ok((before, usage()?))
}
