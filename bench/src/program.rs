//! The two programs under test, with the command line that they share.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Finished, Running};

/// Who produced a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Brooklet,
    Litestream,
    /// The bare machine: no replicator, or `cp` + fsync of the same bytes.
    Machine,
}

/// A replicator's binary.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) who: Who,
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

impl Program {
    /// The program behind `path`, or `None` if there is nothing to run.
    pub(crate) fn find(who: Who, path: &Path, scratch: &Path) -> Result<Option<Self>> {
        let Some(named) = in_path(path) else { return Ok(None) };
        let path = behind_wrappers(&named, scratch)?;
        let output = std::process::Command::new(&path)
            .arg("version")
            .output()
            .with_context(|| format!("run {} version", path.display()))?;
        let words = String::from_utf8_lossy(&output.stdout);
        let number = |word: &&str| word.trim_start_matches('v').starts_with(char::is_numeric);
        let version = words.split_whitespace().find(number).unwrap_or("?").to_owned();
        Ok(Some(Self { who, path, version }))
    }

    /// Starts `replicate`; the process's output goes to `<database>.log`.
    pub(crate) fn replicate(&self, database: &Path, replica: &Path) -> Result<Running> {
        self.replicate_to(database, &url(replica))
    }

    /// Starts `replicate` to a URL.
    pub(crate) fn replicate_to(&self, database: &Path, url: &str) -> Result<Running> {
        let log = database.with_extension("log");
        Running::start(&self.path, &["replicate".as_ref(), database, url.as_ref()], &log)
    }

    /// Starts `replicate -config`, where it may open as many `files` as that, if that is given.
    pub(crate) fn replicate_all(
        &self,
        config: &Path,
        log: &Path,
        files: Option<u64>,
    ) -> Result<Running> {
        let arguments: [&Path; 3] = ["replicate".as_ref(), "-config".as_ref(), config];
        let Some(files) = files else { return Running::start(&self.path, &arguments, log) };
        let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let shell: [&Path; 3] = ["-c".as_ref(), limited.as_ref(), &self.path];
        Running::start("sh".as_ref(), &[&shell[..], &arguments[..]].concat(), log)
    }

    /// Restores the newest state, or the state at `txid`, and waits for it.
    pub(crate) fn restore(
        &self,
        replica: &Path,
        output: &Path,
        txid: Option<&str>,
    ) -> Result<Finished> {
        let flags = txid.map(|txid| ["-txid", txid]);
        self.restore_from(&url(replica), output, flags)
    }

    /// Restores from a URL with a flag and its value, and waits for it.
    pub(crate) fn restore_from(
        &self,
        url: &str,
        output: &Path,
        flag: Option<[&str; 2]>,
    ) -> Result<Finished> {
        let log = output.with_extension("log");
        let mut arguments: Vec<&Path> = vec!["restore".as_ref(), "-o".as_ref(), output];
        arguments.extend(flag.iter().flatten().map(Path::new));
        arguments.push(url.as_ref());
        let finished = Running::start(&self.path, &arguments, &log)?.wait()?;
        if !finished.success {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("{} restore failed:\n{said}", self.path.display());
        }
        Ok(finished)
    }
}

fn url(replica: &Path) -> String {
    format!("file://{}", replica.display())
}

/// `path` itself if it names a file, or the first file of that name in `PATH`.
fn in_path(path: &Path) -> Option<PathBuf> {
    if path.components().count() > 1 {
        return fs::canonicalize(path).ok();
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories).map(|dir| dir.join(path)).find(|file| file.is_file())
}

/// The binary that runs in the end: launchers written in a script language (as Python's tool
/// managers install them) would be measured as the program's own start.
fn behind_wrappers(named: &Path, scratch: &Path) -> Result<PathBuf> {
    if is_elf(named)? {
        return Ok(named.to_owned());
    }
    let (missing, log) = (scratch.join("missing.db"), scratch.join("probe.log"));
    let url = url(&scratch.join("missing-replica"));
    let running = Running::start(named, &["replicate".as_ref(), &missing, url.as_ref()], &log)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if let Some(binary) = running.family_binary(named)? {
            return Ok(binary);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("no binary found behind {}", named.display())
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let mut file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF")
}
