//! `brooklet demo`: a disaster and its happy end, in ten seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use engine::restore::{self, IntegrityCheck, Request};
use storage::FileStorage;

use crate::demo::application::{self, Commit};
use crate::demo::process::Process;
use crate::demo::screen::Screen;
use crate::demo::{proof, replicator};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, signals};

/// How much longer the shop sells if nothing is replicated yet, as on a very busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// See it work: a shop loses its database and gets it back; needs nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet demo
  brooklet demo -seconds 20 -keep    sell for longer, and keep the folder to look into

It works in a temporary folder and leaves nothing behind. Code 1 says that something differed.")]
pub struct Args {
    /// How long the shop sells before the disaster
    #[arg(long, value_name = "N", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Keep the folder
    #[arg(long)]
    keep: bool,
}

/// The shop's application, which the demo starts as a process of its own
#[derive(Debug, clap::Args)]
pub struct AppArgs {
    database: PathBuf,
}

/// The shop's replication, which the demo starts as a process of its own
#[derive(Debug, clap::Args)]
pub struct ReplicateArgs {
    database: PathBuf,
    replica: PathBuf,
}

/// Runs the application until it is killed.
pub fn run_app(args: &AppArgs) -> Result<Exit> {
    application::run(&args.database).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
}

/// Runs the replication until it is killed.
pub fn run_replicate(args: &ReplicateArgs) -> Result<Exit> {
    replicator::run(&args.database, &args.replica)
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let stop = signals::listen()?.stop;
    let mut folder = tempfile::Builder::new().prefix("brooklet-demo-").tempdir()?;
    folder.disable_cleanup(args.keep);
    let result = Demo::new(folder.path(), stop).run(Duration::from_secs(args.seconds));
    if args.keep {
        output::line(format_args!("\nKept: {}", folder.path().display()))?;
    }
    result.map(|()| Exit::Done)
}

struct Demo {
    database: PathBuf,
    replica: PathBuf,
    screen: Screen,
    stop: Arc<AtomicBool>,
}

/// What there was at the moment of the disaster.
struct Loss {
    /// Every order that the application had seen committed.
    commits: Vec<Commit>,
    /// So many of them, the first ones, were reported as replicated.
    safe: usize,
    at: SystemTime,
}

impl Demo {
    fn new(folder: &Path, stop: Arc<AtomicBool>) -> Demo {
        let (database, replica) = (folder.join("shop.db"), folder.join("replica"));
        Demo { database, replica, screen: Screen::new(), stop }
    }

    fn run(&mut self, time: Duration) -> Result<()> {
        self.screen.say(&format!(
            "A shop opens, with a database of its own: {}\nIts replica is a directory beside it: \
             {}\n(in real life on another disk or machine)\n",
            self.database.display(),
            self.replica.display()
        ));
        let mut processes = Processes {
            shop: application::start(&self.database)?,
            replication: replicator::start(&self.database, &self.replica)?,
        };
        self.screen.say(
            "1. The shop sells, and every commit is carried to the replica: a lone one at once, \
             those of\n   a busy time together, once a second (sync-interval):",
        );
        self.watch(&mut processes, time)?;
        let loss = self.lose(processes)?;
        self.restore(&loss)?;
        self.compare(&loss)
    }

    fn watch(&mut self, processes: &mut Processes, time: Duration) -> Result<()> {
        let start = Instant::now();
        let mut nothing_safe = true;
        while start.elapsed() < time || (nothing_safe && start.elapsed() < time + PATIENCE) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failure::new(Exit::Failed, "interrupted"));
            }
            processes.check()?;
            let covered = processes.covered();
            let (committed, safe, waiting) = processes.shop.told(|commits| {
                let safe = count_safe(commits, covered);
                (commits.len() as u64, safe as u64, commits.get(safe).map(|it| it.at))
            });
            nothing_safe = safe == 0;
            let behind = waiting.and_then(|at| at.elapsed().ok()).unwrap_or_default();
            self.screen.refresh(&format!(
                "   {:4.1} s: {:>6} orders committed, {:>6} of them in the replica, {} behind",
                start.elapsed().as_secs_f64(),
                output::count(committed),
                output::count(safe),
                output::duration(behind),
            ));
            thread::sleep(Duration::from_millis(50));
        }
        self.screen.settle();
        Ok(())
    }

    /// The plug is pulled and the disk is gone: no goodbye to anybody.
    fn lose(&mut self, mut processes: Processes) -> Result<Loss> {
        let covered = processes.covered();
        let at = SystemTime::now();
        processes.replication.kill();
        processes.shop.kill();
        let commits = processes.shop.told(<[Commit]>::to_vec);
        let size = fs::metadata(&self.database).map_or(0, |file| file.len());
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.database.clone().into_os_string();
            path.push(suffix);
            remove(fs::remove_file(path))?;
        }
        let state = engine::local::directory(&self.database, None);
        remove(fs::remove_dir_all(state))?;

        let safe = count_safe(&commits, covered);
        self.screen.say(&format!(
            "\n2. Disaster: the machine dies in the middle of a sale, and its disk with it.\n   \
             Lost: the database of {}, its WAL, our own state. Left: the replica.\n   The shop \
             had seen {} orders committed; we had reported {} of them as replicated.",
            output::bytes(size),
            output::count(commits.len() as u64),
            output::count(safe as u64),
        ));
        if safe == 0 {
            return Err(Failure::new(Exit::Failed, "nothing was reported as replicated"));
        }
        Ok(Loss { commits, safe, at })
    }

    fn restore(&mut self, loss: &Loss) -> Result<()> {
        let replica = Arc::new(FileStorage::new(&self.replica));
        let mut request = Request::new(replica, &self.database);
        request.integrity = IntegrityCheck::Full;
        let start = Instant::now();
        let outcome = restore::run(&request, &())?;
        let took = start.elapsed();
        self.screen.say(&format!(
            "\n3. Restore: {} from {} files of the replica in {}, SQLite's integrity check \
             included.\n   This is the shop as it was {} before the disaster.",
            output::bytes(outcome.bytes),
            outcome.files,
            output::duration(took),
            output::duration(
                loss.at.duration_since(outcome.timestamp.to_system_time()).unwrap_or_default()
            ),
        ));
        if !outcome.proven {
            return Err(Failure::new(Exit::Failed, "the restore was not proven by its checksum"));
        }
        self.screen.say("   Proven: its checksum over all pages is the one that was captured.");
        Ok(())
    }

    fn compare(&mut self, loss: &Loss) -> Result<()> {
        let last_safe = loss.commits[loss.safe - 1].id;
        let start = Instant::now();
        let proven = proof::prove(&self.database, last_safe).map_err(|difference| {
            Failure::new(Exit::Failed, format_args!("the restored shop differs: {difference}"))
        })?;
        let back = output::count(proven.orders.unsigned_abs());
        let lost = loss.commits.iter().filter(|it| it.id > proven.orders).collect::<Vec<_>>();
        self.screen.say(&format!(
            "\n4. Proof: we know what every order must hold, and compared each one in {}.\n   \
             Reported as replicated: {}. Back: {back}, every one exactly as it was placed, and \
             the stock fits.",
            output::duration(start.elapsed()),
            output::count(loss.safe as u64),
        ));
        let verdict = match lost.first() {
            None => "Not one committed order was lost.".to_owned(),
            Some(first) => format!(
                "The only orders lost are the {} of the last {} before the disaster: nobody had \
                 told you\n   that they were safe.",
                output::count(lost.len() as u64),
                output::duration(loss.at.duration_since(first.at).unwrap_or_default()),
            ),
        };
        self.screen.say(&format!(
            "   {verdict}\n\nDo it with your own database:\n  brooklet replicate app.db \
             file:///backup/app\n  brooklet restore -o app.db file:///backup/app"
        ));
        Ok(())
    }
}

/// What runs on the machine that will die.
struct Processes {
    shop: Process<Commit>,
    replication: Process<SystemTime>,
}

impl Processes {
    /// Every commit that returned before this moment is in the replica.
    fn covered(&self) -> Option<SystemTime> {
        self.replication.told(|moments| moments.last().copied())
    }

    fn check(&mut self) -> Result<()> {
        let died = |what| Err(Failure::new(Exit::Failed, format_args!("the {what} has ended")));
        match (self.shop.is_alive(), self.replication.is_alive()) {
            (false, _) => died("shop's application"),
            (_, false) => died("replication"),
            _ => Ok(()),
        }
    }
}

fn count_safe(commits: &[Commit], covered: Option<SystemTime>) -> usize {
    commits.partition_point(|it| covered.is_some_and(|covered| it.at <= covered))
}

/// What was not there need not be removed.
fn remove(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
