//! The shop's application: a process of its own, as in real life (and as SQLite's locks want
//! it: they belong to a process, not to a connection).

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::shop::{self, Order};

/// An order that the application knows to be committed.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// The order's number.
    pub id: i64,
    /// When `COMMIT` had returned.
    pub at: SystemTime,
}

/// The running application, and what it has reported.
#[derive(Debug)]
pub struct Application {
    process: Child,
    commits: Arc<Mutex<Vec<Commit>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Application {
    /// Starts it on a database that does not exist yet.
    pub fn start(database: &Path) -> io::Result<Application> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("demo-app")
            .arg(database)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let commits = Arc::new(Mutex::new(Vec::new()));
        let reports = process.stdout.take().map(BufReader::new);
        let mut application = Application { process, commits: commits.clone(), reader: None };
        let reader = thread::Builder::new().name("reports".into()).spawn(move || {
            for line in reports.into_iter().flat_map(BufRead::lines) {
                let commit = line.ok().as_deref().and_then(Commit::read);
                locked(&commits).extend(commit);
            }
        })?;
        application.reader = Some(reader);
        Ok(application)
    }

    /// All commits so far, in order.
    pub fn commits(&self) -> Vec<Commit> {
        locked(&self.commits).clone()
    }

    /// How many commits there are, and the first that came after `moment`.
    pub fn progress(&self, moment: Option<SystemTime>) -> (usize, usize, Option<SystemTime>) {
        let commits = locked(&self.commits);
        let safe = commits.partition_point(|it| moment.is_some_and(|moment| it.at <= moment));
        (commits.len(), safe, commits.get(safe).map(|it| it.at))
    }

    /// Whether it runs, as it should.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Ends it in the middle of whatever it is doing, and returns all that it had reported.
    pub fn kill(mut self) -> Vec<Commit> {
        self.end();
        self.commits()
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.end();
    }
}

fn locked(commits: &Mutex<Vec<Commit>>) -> MutexGuard<'_, Vec<Commit>> {
    commits.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commit {
    fn read(line: &str) -> Option<Commit> {
        let (id, micros) = line.split_once(' ')?;
        let at = UNIX_EPOCH + Duration::from_micros(micros.parse().ok()?);
        Some(Commit { id: id.parse().ok()?, at })
    }
}

/// The application's own side: sells until it is killed, or nobody listens.
pub fn sell(database: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut shop = shop::open(database)?;
    let mut reports = io::stdout().lock();
    let mut random = fastrand::Rng::new();
    let mut ids = 1..;
    loop {
        // Now and then a single customer, now and then a crowd.
        let crowd = if random.u8(..3) == 0 { random.usize(20..200) } else { 1 };
        for id in ids.by_ref().take(crowd) {
            Order::number(id).place(&mut shop)?;
            let micros = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
            writeln!(reports, "{id} {micros}")?;
        }
        thread::sleep(Duration::from_millis(random.u64(5..60)));
    }
}
