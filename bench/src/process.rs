//! A process under observation: what it costs while it runs, and what it has cost in the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use wait4::Wait4;

/// A child process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    started: Instant,
    reaped: bool,
}

/// What a process has cost from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Peak resident memory in bytes, as the kernel counted it.
    pub(crate) peak: u64,
}

/// Counters of a live process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time of every thread so far, in steps of 10 ms.
    pub(crate) ticks: Duration,
    /// Processor time of the threads that live now, to the nanosecond.
    live_threads: Duration,
    /// Bytes asked for by read calls, whether or not the page cache had them.
    pub(crate) read: u64,
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) voluntary_switches: u64,
}

impl Usage {
    /// Processor time spent since `earlier`: exact, unless threads ended meanwhile and took their
    /// exact figures with them.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        let exact = self.live_threads.saturating_sub(earlier.live_threads);
        let coarse = self.ticks.saturating_sub(earlier.ticks);
        if coarse > exact + Duration::from_millis(20) { coarse } else { exact }
    }
}

impl Running {
    pub(crate) fn start(program: &Path, arguments: &[&Path], log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // For replicas on test servers. Litestream refuses the bundle that some machines name.
        command.env_remove("AWS_CA_BUNDLE");
        command.envs([("AWS_ACCESS_KEY_ID", "testkey"), ("AWS_SECRET_ACCESS_KEY", "testsecret")]);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, started, reaped: false })
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Whether the process still runs (a zombie does not).
    pub(crate) fn is_alive(&self) -> Result<bool> {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.pid()?), peek)?.is_none())
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Result<Finished> {
        let end = self.child.wait4()?;
        self.reaped = true;
        Ok(Finished {
            success: end.status.success(),
            wall: self.started.elapsed(),
            cpu: end.rusage.utime + end.rusage.stime,
            peak: end.rusage.maxrss,
        })
    }

    /// Asks for an orderly stop and waits for it, for at most two minutes.
    pub(crate) fn stop(self) -> Result<Finished> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while self.is_alive()? {
            if asked.elapsed() > Duration::from_secs(120) {
                bail!("process {} does not stop on SIGTERM", self.child.id());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.wait()
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let own = self.proc_file("status")?;
        let io = self.proc_file("io")?;
        let mut usage = Usage {
            ticks: self.ticks()?,
            live_threads: Duration::ZERO,
            read: field(&io, "rchar:")?,
            resident: field(&own, "VmRSS:")? * 1024,
            threads: field(&own, "Threads:")?,
            voluntary_switches: 0,
        };
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let (Ok(status), Ok(times)) = (
                fs::read_to_string(task.join("status")),
                fs::read_to_string(task.join("schedstat")),
            ) else {
                continue;
            };
            let nanos = times.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            usage.live_threads += Duration::from_nanos(nanos);
            usage.voluntary_switches += field(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(usage)
    }

    /// Processor time of all threads that the process ever had, in ticks of 10 ms.
    fn ticks(&self) -> Result<Duration> {
        let stat = self.proc_file("stat")?;
        let after_name = stat.rsplit(") ").next().context("name in /proc/PID/stat")?;
        let ticks: u64 =
            after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
    }

    /// The first binary run by this process or its children that has the name of `named`.
    pub(crate) fn family_binary(&self, named: &Path) -> Result<Option<PathBuf>> {
        let pid = self.child.id();
        let children = self.proc_file(&format!("task/{pid}/children")).unwrap_or_default();
        let family = children.split_whitespace().map(str::to_owned).chain([pid.to_string()]);
        let mut binaries = family.filter_map(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
        Ok(binaries.find(|binary| binary.file_name() == named.file_name()))
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("read {path}: the process is gone"))
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id() as i32).context("process id")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    value.and_then(|n| n.parse().ok()).with_context(|| format!("no {name} in /proc"))
}
