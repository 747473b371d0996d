//! What the process itself takes, under the names that Prometheus' own clients use.

use std::fs;

use super::Kind::{Counter, Gauge};
use super::Page;

/// Adds what the system tells; what it does not tell is left out.
pub(super) fn add(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, a name, may hold anything but comes in brackets.
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|it| it.parse().unwrap_or(0.0)))
        .map(Iterator::collect)
        .unwrap_or_default();
    // As proc(5) numbers them, of which the first three are gone.
    let field = |number: usize| fields.get(number - 4).copied();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    let began = boot().zip(field(22)).map(|(boot, began)| boot + began / ticks);
    let resident = field(24).map(|pages| pages * rustix::param::page_size() as f64);
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let metrics = [
        (Counter, "process_cpu_seconds_total", "Time on processors.", cpu),
        (Gauge, "process_start_time_seconds", "When the process began.", began),
        (Gauge, "process_resident_memory_bytes", "Memory in use.", resident),
        (Gauge, "process_virtual_memory_bytes", "Address space in use.", field(23)),
        (Gauge, "process_open_fds", "Open files.", open),
        (Gauge, "process_max_fds", "Most open files.", most.map(|most| most as f64)),
    ];
    for (kind, name, help, value) in metrics {
        page.add(kind, name, help, value.map(|value| (String::new(), value)));
    }
}

fn boot() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
