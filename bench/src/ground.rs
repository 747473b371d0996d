//! Where a run takes place: the programs, the scratch directory, the machine.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::database;
use crate::directory::Directory;
use crate::options::Options;
use crate::program::{Program, Who};

/// Everything that the measurements share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) seconds: u64,
    pub(crate) runs: usize,
    pub(crate) commits: usize,
    size_mb: u64,
    programs: Vec<Program>,
    scratch: TempDir,
    large: OnceCell<PathBuf>,
    load_average: String,
}

/// The place of one run: a database and its replica in a directory that is removed afterwards.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
}

impl Ground {
    pub(crate) fn prepare(options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.dir)?;
        let scratch = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(fs::canonicalize(&options.dir)?)
            .with_context(|| format!("make a directory in {}", options.dir.display()))?;
        let programs = programs(options, scratch.path())?;
        for program in &programs {
            let (path, version) = (program.path.display(), &program.version);
            eprintln!("{:?}: {path} ({version})", program.who);
        }
        Ok(Self {
            seconds: options.seconds,
            runs: options.runs,
            commits: options.commits,
            size_mb: options.size_mb,
            programs,
            scratch,
            large: OnceCell::new(),
            load_average: load_average(),
        })
    }

    pub(crate) fn programs(&self) -> &[Program] {
        &self.programs
    }

    pub(crate) fn program(&self, who: Who) -> Option<&Program> {
        self.programs.iter().find(|program| program.who == who)
    }

    /// The contestants of run `run`, each time in another order, so that none always profits from
    /// (or pays for) what the one before it left behind.
    pub(crate) fn contestants(&self, run: usize) -> Vec<Who> {
        let mut all: Vec<Who> = self.programs.iter().map(|program| program.who).collect();
        all.push(Who::Machine);
        let places = run % all.len();
        all.rotate_left(places);
        all
    }

    /// An empty place. What earlier runs wrote is on the disk before it is handed out.
    pub(crate) fn place(&self) -> Result<Place> {
        let directory = tempfile::tempdir_in(self.scratch.path())?;
        rustix::fs::sync();
        Ok(Place { directory })
    }

    /// The large database, made once, and in the page cache.
    pub(crate) fn large(&self) -> Result<&Path> {
        if self.large.get().is_none() {
            let path = self.scratch.path().join("large.db");
            eprintln!("  making a database of {} MB", self.size_mb);
            database::create_large(&path, self.size_mb * 1_000_000)?;
            let _ = self.large.set(path);
        }
        self.large.get().map(PathBuf::as_path).context("the large database")
    }

    pub(crate) fn litestream_version(&self) -> String {
        let program = self.program(Who::Litestream);
        program.map_or_else(
            || "Litestream".to_owned(),
            |program| format!("Litestream {}", program.version),
        )
    }

    /// One line on the machine and the run.
    pub(crate) fn circumstances(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok());
        format!(
            "{cores} cores, {} GB of memory, Linux {}, {}; {} runs each, alternated; \
             median (min..max); load average before: {}.",
            memory.unwrap_or(0) / 1_000_000,
            kernel.split('-').next().unwrap_or_default().trim(),
            file_system(self.scratch.path()),
            self.runs,
            self.load_average,
        )
    }
}

impl Place {
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("app.db")
    }

    pub(crate) fn restored(&self) -> PathBuf {
        self.directory.path().join("restored.db")
    }

    pub(crate) fn replica(&self) -> Directory {
        Directory::new(self.directory.path().join("replica"))
    }
}

fn programs(options: &Options, scratch: &Path) -> Result<Vec<Program>> {
    let brooklet = options.brooklet.as_deref().unwrap_or(Path::new("target/release/brooklet"));
    let litestream = options.litestream.as_deref().unwrap_or(Path::new("litestream"));
    let mut programs = Vec::new();
    for (who, path, named) in [
        (Who::Brooklet, brooklet, options.brooklet.is_some()),
        (Who::Litestream, litestream, options.litestream.is_some()),
    ] {
        match Program::find(who, path, scratch)? {
            Some(program) => programs.push(program),
            None if named => bail!("{} does not exist", path.display()),
            None => eprintln!("{who:?}: left out, there is no {}", path.display()),
        }
    }
    Ok(programs)
}

fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}

fn file_system(path: &Path) -> String {
    let Ok(found) = rustix::fs::statfs(path) else { return "unknown file system".to_owned() };
    match found.f_type {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x794C_7630 => "overlayfs".to_owned(),
        0x0102_1994 => "tmpfs (no disk: fsync costs nothing here)".to_owned(),
        other => format!("file system {other:#x}"),
    }
}
