//! The shop's application.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use super::process::{self, Process};
use super::shop::{self, Order};

/// The hidden command that runs it.
pub const COMMAND: &str = "demo-app";

/// An order that the application knows to be committed.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// The order's number.
    pub id: i64,
    /// When `COMMIT` had returned.
    pub at: SystemTime,
}

/// Starts it on a database that does not exist yet.
pub fn start(database: &Path) -> io::Result<Process<Commit>> {
    Process::start([COMMAND.as_ref(), database.as_os_str()], |line| {
        let (id, at) = line.split_once(' ')?;
        Some(Commit { id: id.parse().ok()?, at: process::read(at)? })
    })
}

/// Its own side: sells until it is killed, or nobody listens.
pub fn run(database: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut shop = shop::open(database)?;
    let mut reports = io::stdout().lock();
    let mut random = fastrand::Rng::new();
    let mut ids = 1..;
    loop {
        // Now and then a single customer, now and then a crowd.
        let crowd = if random.u8(..3) == 0 { random.usize(20..200) } else { 1 };
        for id in ids.by_ref().take(crowd) {
            Order::number(id).place(&mut shop)?;
            writeln!(reports, "{id} {}", process::written(SystemTime::now()))?;
        }
        thread::sleep(Duration::from_millis(random.u64(5..60)));
    }
}
