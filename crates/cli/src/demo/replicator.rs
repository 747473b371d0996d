//! The replication of the shop's database: what `brooklet replicate` does, and in addition it
//! tells what is safe.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use engine::{DatabaseOptions, Replicator};
use storage::FileStorage;

use super::process::{self, Process};

/// The hidden command that runs it.
pub const COMMAND: &str = "demo-replicate";

/// How often it tells.
const PERIOD: Duration = Duration::from_millis(10);

/// Starts it. It tells moments: every commit that returned before one is in the replica.
pub fn start(database: &Path, replica: &Path) -> io::Result<Process<SystemTime>> {
    let args = [COMMAND.as_ref(), database.as_os_str(), replica.as_os_str()];
    Process::start(args, process::read)
}

/// Its own side: replicates until it is killed, or nobody listens.
pub fn run(database: &Path, replica: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let storage = FileStorage::new(replica).with_owner_of(database);
    let options = DatabaseOptions::new(database, vec![Arc::new(storage)]);
    let replicator = Replicator::start(vec![options])?;
    let mut reports = io::stdout().lock();
    let mut told = None;
    loop {
        let covered = replicator.statuses().first().and_then(|it| it.replicas[0].covered_until);
        if let Some(moment) = covered
            && told != covered
        {
            writeln!(reports, "{}", process::written(moment))?;
            told = covered;
        }
        thread::sleep(PERIOD);
    }
}
