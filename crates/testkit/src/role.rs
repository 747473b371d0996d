//! What helper processes do: write, checkpoint, read for long, vacuum.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use crate::workload::{Workload, last};

/// The environment variable that gives a helper process its role.
pub(crate) const ROLE: &str = "BROOKLET_TESTKIT_ROLE";

/// One helper's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Role {
    /// Commits transactions.
    Writer(Writer),
    /// Checkpoints at random.
    Chaos(Chaos),
    /// Holds read transactions.
    Reader(Reader),
    /// Runs VACUUM again and again.
    Vacuum(Vacuum),
}

/// Commits a workload's transactions; several may share one database and one sequence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Writer {
    /// The database.
    pub db: PathBuf,
    /// What it commits.
    pub workload: Workload,
    /// Commits per second; 0 is as fast as can be.
    pub rate: u32,
    /// Ends after this many commits of its own.
    pub limit: u64,
    /// `busy_timeout`, milliseconds. Commits that stay locked are reported and tried again.
    pub busy_timeout: u32,
    /// `wal_autocheckpoint`, pages.
    pub autocheckpoint: u32,
    /// `synchronous`.
    pub synchronous: String,
    /// Closes and opens the database after this many commits; 0 is never. When nobody else has it
    /// open, that deletes the WAL.
    pub reopen: u64,
}

impl Writer {
    /// A writer at 100 commits a second with the usual settings and a patient `busy_timeout`.
    pub fn new(db: &Path, workload: Workload) -> Writer {
        Writer {
            db: db.to_owned(),
            workload,
            rate: 100,
            limit: u64::MAX,
            busy_timeout: 10_000,
            autocheckpoint: 1000,
            synchronous: "NORMAL".to_owned(),
            reopen: 0,
        }
    }
}

/// Runs `wal_checkpoint(PASSIVE|FULL|RESTART|TRUNCATE)` at random moments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chaos {
    /// The database.
    pub db: PathBuf,
    /// Where its randomness comes from.
    pub seed: u64,
    /// The longest pause between two checkpoints, milliseconds.
    pub pause: u64,
}

/// Opens a read transaction, holds it, checks that nothing moved, and begins again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reader {
    /// The database.
    pub db: PathBuf,
    /// How long a transaction is held, milliseconds.
    pub hold: u64,
}

/// Runs VACUUM after pauses of at most `pause` milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vacuum {
    /// The database.
    pub db: PathBuf,
    /// Where its randomness comes from.
    pub seed: u64,
    /// The longest pause, milliseconds.
    pub pause: u64,
}

impl From<Writer> for Role {
    fn from(role: Writer) -> Role {
        Role::Writer(role)
    }
}

impl From<Chaos> for Role {
    fn from(role: Chaos) -> Role {
        Role::Chaos(role)
    }
}

impl From<Reader> for Role {
    fn from(role: Reader) -> Role {
        Role::Reader(role)
    }
}

impl From<Vacuum> for Role {
    fn from(role: Vacuum) -> Role {
        Role::Vacuum(role)
    }
}

/// Plays the role that the environment gives, if it gives one, and ends the process.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role = serde_json::from_str(&role).expect("a role");
    let stop = Stop::listen();
    let played = match role {
        Role::Writer(writer) => writer.play(&stop),
        Role::Chaos(chaos) => chaos.play(&stop),
        Role::Reader(reader) => reader.play(&stop),
        Role::Vacuum(vacuum) => vacuum.play(&stop),
    };
    match played {
        Ok(()) => say("done", ""),
        Err(error) => say("error", &error.to_string()),
    }
    std::process::exit(0);
}

/// A line for [`crate::process::Report`]. It begins anew since the test runner may be in a line.
fn say(word: &str, rest: &str) {
    let line = format!("\n@{word} {}\n", rest.replace('\n', " "));
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
}

/// The wish to stop: the other end of the standard input is closed.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn listen() -> Stop {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            flag.store(true, Ordering::Relaxed);
        });
        Stop(stop)
    }

    fn wished(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Passes the time until `moment`, or less if a stop is wished.
    fn pause_until(&self, moment: Instant) {
        while !self.wished() {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
    }
}

fn open(db: &Path, busy_timeout: u64) -> rusqlite::Result<Connection> {
    let db = Connection::open(db)?;
    db.busy_timeout(Duration::from_millis(busy_timeout))?;
    Ok(db)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Writer {
    fn open(&self) -> rusqlite::Result<Connection> {
        let db = open(&self.db, self.busy_timeout.into())?;
        db.execute_batch(&format!(
            "PRAGMA wal_autocheckpoint={}; PRAGMA synchronous={};",
            self.autocheckpoint, self.synchronous
        ))?;
        Ok(db)
    }

    fn play(&self, stop: &Stop) -> rusqlite::Result<()> {
        let mut db = Some(self.open()?);
        let (mut commits, mut longest) = (0, Duration::ZERO);
        let mut pace = Pace::new(self.rate);
        while !stop.wished() && commits < self.limit {
            let begun = Instant::now();
            let connection = match &mut db {
                Some(db) => db,
                None => db.insert(self.open()?),
            };
            let n = self.commit(connection)?;
            commits += 1;
            longest = longest.max(begun.elapsed());
            pace.committed(n, commits, longest);
            if self.reopen > 0 && commits.is_multiple_of(self.reopen) {
                db = None;
            }
            pace.rest(stop);
        }
        pace.report();
        drop(db);
        Ok(())
    }
}

impl Writer {
    /// Commits the next transaction, after as many tries as it takes; reports it if that is more
    /// than one.
    fn commit(&self, db: &mut Connection) -> rusqlite::Result<u64> {
        let (begun, at) = (Instant::now(), SystemTime::now());
        for tries in 1.. {
            match self.workload.commit_next(db) {
                Ok(n) if tries == 1 => return Ok(n),
                Ok(n) => {
                    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                    let held = begun.elapsed();
                    say("busy", &format!("{n} took {tries} tries and {held:?}, at {at} ms"));
                    return Ok(n);
                }
                Err(error) if is_busy(&error) => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("tries do not end")
    }
}

/// Keeps a writer's rate and reports what it has committed, at most once a millisecond.
struct Pace {
    interval: Duration,
    next: Instant,
    reported: Instant,
    unreported: Option<(u64, u64, Duration)>,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        let now = Instant::now();
        Pace { interval, next: now, reported: now, unreported: None }
    }

    fn committed(&mut self, n: u64, commits: u64, longest: Duration) {
        self.unreported = Some((n, commits, longest));
        if !self.interval.is_zero() || self.reported.elapsed() >= Duration::from_millis(1) {
            self.report();
        }
    }

    fn report(&mut self) {
        if let Some((n, commits, longest)) = self.unreported.take() {
            say("committed", &format!("{n} {commits} {}", longest.as_micros()));
            self.reported = Instant::now();
        }
    }

    fn rest(&mut self, stop: &Stop) {
        if self.interval.is_zero() {
            return;
        }
        let now = Instant::now();
        self.next = (self.next + self.interval).max(now - Duration::from_secs(1));
        stop.pause_until(self.next);
    }
}

impl Chaos {
    fn play(&self, stop: &Stop) -> rusqlite::Result<()> {
        let mut rng = Rng::with_seed(self.seed);
        let mut db = open(&self.db, 20)?;
        while !stop.wished() {
            if rng.u8(0..10) == 0 {
                db = open(&self.db, rng.u64(0..100))?;
            }
            let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][rng.usize(0..4)];
            let done = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                row.get::<_, i64>(0)
            });
            match done {
                Ok(0) => say("round", mode),
                Ok(_) => say("busy", mode),
                Err(error) if is_busy(&error) => say("busy", mode),
                Err(error) => return Err(error),
            }
            stop.pause_until(Instant::now() + Duration::from_millis(rng.u64(0..=self.pause)));
        }
        Ok(())
    }
}

impl Reader {
    fn play(&self, stop: &Stop) -> rusqlite::Result<()> {
        let db = open(&self.db, 0)?;
        while !stop.wished() {
            let read = self.hold(&db, stop);
            match read {
                Ok(true) => say("round", ""),
                Ok(false) => say("error", "what a read transaction saw has moved"),
                Err(error) if is_busy(&error) => say("busy", &error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hold(&self, db: &Connection, stop: &Stop) -> rusqlite::Result<bool> {
        let tx = db.unchecked_transaction()?;
        let items = || tx.query_row("SELECT sum(n), count(*) FROM item", [], sum_and_count);
        let before = (last(&tx)?, items()?);
        stop.pause_until(Instant::now() + Duration::from_millis(self.hold));
        Ok(before == (last(&tx)?, items()?))
    }
}

fn sum_and_count(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Option<i64>, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

impl Vacuum {
    fn play(&self, stop: &Stop) -> rusqlite::Result<()> {
        let mut rng = Rng::with_seed(self.seed);
        let db = open(&self.db, 2000)?;
        while !stop.wished() {
            match db.execute_batch("VACUUM") {
                Ok(()) => say("round", "VACUUM"),
                Err(error) if is_busy(&error) => say("busy", &error.to_string()),
                Err(error) => return Err(error),
            }
            stop.pause_until(Instant::now() + Duration::from_millis(rng.u64(0..=self.pause)));
        }
        Ok(())
    }
}
