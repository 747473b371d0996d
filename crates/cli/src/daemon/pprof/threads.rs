//! This process's threads, as Linux tells of them. (proc(5))

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where it does.
pub const PLACE: &str = "/proc/self/task";

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub id: u32,
    pub name: String,
    /// What it does now, in a word.
    pub state: &'static str,
    /// Its time on processors so far.
    pub cpu: Duration,
}

/// All of them.
pub fn all() -> io::Result<Vec<Thread>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(PLACE)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
        // One that ends meanwhile is none any more.
        all.extend(read(id, &entry.path()));
    }
    Ok(all)
}

fn read(id: u32, place: &Path) -> Option<Thread> {
    let stat = fs::read_to_string(place.join("stat")).ok()?;
    // Kernels without this file have only the coarser count.
    let exact = fs::read_to_string(place.join("schedstat")).ok();
    let exact = exact.and_then(|it| it.split_whitespace().next()?.parse().ok());
    let (name, state, ticks) = parse(&stat)?;
    let coarse = || ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let cpu = Duration::from_nanos(exact.unwrap_or_else(coarse));
    Some(Thread { id, name: name.to_owned(), state, cpu })
}

/// Name, state and clock ticks. The name, in brackets, may hold anything.
fn parse(stat: &str) -> Option<(&str, &'static str, u64)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((name, word(fields.first()?), ticks(14)? + ticks(15)?))
}

fn word(state: &str) -> &'static str {
    match state {
        "R" => "running",
        "S" => "sleeping",
        "D" => "waits for disk",
        "T" | "t" => "stopped",
        "Z" | "X" => "ended",
        "I" => "idle",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) S (b) D 1 7 7 0 -1 64 0 0 0 0 30 12 0 0 20 0 3 0 99 0 0";
        assert_eq!(parse(stat), Some(("a) S (b", "waits for disk", 42)));
        assert_eq!(parse("7 (x) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_seen_in_the_thread_that_does_it() {
        let worker = std::thread::Builder::new().name("busy-thread".into());
        let (told, hears) = std::sync::mpsc::channel::<()>();
        let worker = worker.spawn(move || {
            while hears.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        });
        let worker = worker.expect("a thread");
        let busy = || all().expect("threads").into_iter().find(|it| it.name == "busy-thread");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while busy().is_none_or(|it| it.cpu < Duration::from_millis(20)) {
            assert!(std::time::Instant::now() < deadline, "{:?}", all());
        }
        drop(told);
        worker.join().expect("no panic");
    }
}
