//! The application's side of a measurement. It runs as a process of its own (this binary again),
//! as an application does: it shares no memory, lock or scheduler with a replicator.

use std::fmt::{self, Display};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rusqlite::Connection;

use crate::database;

/// What the application does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// One-row inserts, one after another, for `amount` seconds.
    FlatOut,
    /// The same with `synchronous=NORMAL`, SQLite's recommendation for WAL mode.
    FlatOutNormal,
    /// `amount` one-row inserts a second until the standard input closes.
    Light,
    /// `amount` one-row updates, which go round the pages of one small table; no checkpoint.
    SamePages,
}

/// The command line of the hidden `load` command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    kind: Kind,
    database: PathBuf,
    amount: u64,
}

/// What the application saw: its rate, and how long single commits took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) commits: u64,
    pub(crate) seconds: f64,
    /// Processor time of the writing thread; says more than the rate on a machine that has other
    /// things to do.
    pub(crate) cpu: Duration,
    pub(crate) p999: Duration,
    pub(crate) longest: Duration,
}

impl Load {
    pub(crate) fn new(kind: Kind, database: &Path, amount: u64) -> Self {
        Self { kind, database: database.to_owned(), amount }
    }

    /// Runs in this process and prints what was seen.
    pub(crate) fn run(&self) -> Result<()> {
        let connection = database::open(&self.database)?;
        let seen = match self.kind {
            Kind::FlatOut => flat_out(&connection, Duration::from_secs(self.amount)),
            Kind::FlatOutNormal => {
                connection.pragma_update(None, "synchronous", "normal")?;
                flat_out(&connection, Duration::from_secs(self.amount))
            }
            Kind::Light => light(&connection, self.amount),
            Kind::SamePages => same_pages(&connection, self.amount),
        }?;
        println!("{seen}");
        Ok(())
    }

    /// Starts this load in another process.
    pub(crate) fn start(&self) -> Result<Loading> {
        let kind = self.kind.to_possible_value().context("kind of load")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").arg(kind.get_name()).arg(&self.database);
        command.arg(self.amount.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Loading(command.spawn()?))
    }
}

/// A load in another process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Loading(Child);

impl Loading {
    pub(crate) fn is_done(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Closes the load's input, waits for its end and returns what it saw.
    pub(crate) fn finish(mut self) -> Result<Seen> {
        drop(self.0.stdin.take());
        let mut report = String::new();
        self.0.stdout.take().context("the load's output")?.read_to_string(&mut report)?;
        ensure!(self.0.wait()?.success(), "the application's process failed");
        Seen::parse(&report).with_context(|| format!("report of the load: {report:?}"))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn flat_out(connection: &Connection, length: Duration) -> Result<Seen> {
    let mut insert = connection.prepare("INSERT INTO event (at, note) VALUES (0, 'a note')")?;
    let mut watch = Watch::start();
    while watch.running() < length {
        watch.time(|| insert.execute([]).map(drop))?;
    }
    Ok(watch.seen())
}

fn light(connection: &Connection, rate: u64) -> Result<Seen> {
    let mut insert = connection.prepare("INSERT INTO event (at, note) VALUES (0, 'a note')")?;
    let (sender, stop) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        drop(sender);
    });
    let mut watch = Watch::start();
    // After a late wake-up, as many as are due.
    let began = Instant::now();
    let due = || (began.elapsed().as_secs_f64() * rate as f64) as u64;
    let pause = (Duration::from_secs(1) / u32::try_from(rate)?).max(Duration::from_millis(1));
    let mut done = 0;
    while stop.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        while done < due() {
            watch.time(|| insert.execute([]).map(drop))?;
            done += 1;
        }
    }
    Ok(watch.seen())
}

/// Rows, of one page each, that [`Kind::SamePages`] updates.
pub(crate) const PAGES: u32 = 60;

/// Makes the table that [`Kind::SamePages`] updates.
pub(crate) fn create_counters(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER, filler TEXT NOT NULL)",
    )?;
    let sql = "INSERT INTO counter (n, filler) VALUES (0, hex(randomblob(1500)))";
    for _ in 0..PAGES {
        connection.execute(sql, [])?;
    }
    Ok(())
}

fn same_pages(connection: &Connection, commits: u64) -> Result<Seen> {
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let mut update = connection.prepare("UPDATE counter SET n = n + 1 WHERE id = ?")?;
    let mut watch = Watch::start();
    let pages = (1..=PAGES).cycle();
    for (_, page) in (0..commits).zip(pages) {
        watch.time(|| update.execute([page]).map(drop))?;
    }
    Ok(watch.seen())
}

/// Times commits.
struct Watch {
    start: Instant,
    cpu: Duration,
    last: Instant,
    nanos: Vec<u32>,
}

impl Watch {
    fn start() -> Self {
        let start = Instant::now();
        // Room for more than ten seconds of commits: growing would show as a stall.
        Self { start, cpu: cpu_of_main_thread(), last: start, nanos: Vec::with_capacity(4_000_000) }
    }

    fn running(&self) -> Duration {
        self.last - self.start
    }

    fn time(&mut self, commit: impl FnOnce() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let before = Instant::now();
        commit()?;
        self.last = Instant::now();
        let taken = (self.last - before).as_nanos();
        self.nanos.push(u32::try_from(taken).unwrap_or(u32::MAX));
        Ok(())
    }

    fn seen(mut self) -> Seen {
        let cpu = cpu_of_main_thread().saturating_sub(self.cpu);
        self.nanos.sort_unstable();
        let rank = |thousandths: usize| {
            let at = (self.nanos.len() * thousandths).div_ceil(1000).saturating_sub(1);
            Duration::from_nanos(self.nanos.get(at).copied().unwrap_or(0).into())
        };
        Seen {
            commits: self.nanos.len() as u64,
            seconds: self.running().as_secs_f64(),
            cpu,
            p999: rank(999),
            longest: rank(1000),
        }
    }
}

fn cpu_of_main_thread() -> Duration {
    let times = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// One line: commits, seconds; then in nanoseconds CPU, 99.9th percentile and maximum.
impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p999, longest) = (self.p999.as_nanos(), self.longest.as_nanos());
        let cpu = self.cpu.as_nanos();
        write!(f, "{} {} {cpu} {p999} {longest}", self.commits, self.seconds)
    }
}

impl Seen {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        Some(Self {
            commits: words.next()?.parse().ok()?,
            seconds: words.next()?.parse().ok()?,
            cpu: Duration::from_nanos(words.next()?.parse().ok()?),
            p999: Duration::from_nanos(words.next()?.parse().ok()?),
            longest: Duration::from_nanos(words.next()?.parse().ok()?),
        })
    }

    pub(crate) fn rate(&self) -> f64 {
        self.commits as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_pipe() {
        let seen = Seen {
            commits: 1_280_000,
            seconds: 8.25,
            cpu: Duration::from_secs(8),
            p999: Duration::from_micros(40),
            longest: Duration::from_millis(7),
        };
        assert_eq!(Seen::parse(&seen.to_string()), Some(seen));
    }
}
