//! What a replica directory holds (`<replica>/ltx/<level>/<min>-<max>.ltx`), as an outsider sees
//! it: a file under its final name is complete, since both programs rename it into place.

use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::inotify;

use crate::process::Running;

/// An LTX file in a replica.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) min: String,
    pub(crate) size: u64,
}

/// A replica of the file kind.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn objects(&self, level: u8) -> Vec<Object> {
        let Ok(entries) = fs::read_dir(self.level(level)) else { return Vec::new() };
        let entries = entries.filter_map(Result::ok);
        entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let (min, _) = range(name.to_str()?)?;
                Some(Object { min, size: entry.metadata().ok()?.len() })
            })
            .collect()
    }

    /// The last transaction on level 0, 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        let last = self.objects(0).into_iter().map(|object| object.min).max();
        last.and_then(|min| u64::from_str_radix(&min, 16).ok()).unwrap_or(0)
    }

    /// All bytes in the replica.
    pub(crate) fn bytes(&self) -> u64 {
        (0..=9).flat_map(|level| self.objects(level)).map(|object| object.size).sum()
    }

    /// Waits until the replica can be restored: a whole database (a file that starts at TXID 1)
    /// stands in it.
    pub(crate) fn await_snapshot(&self, replicator: &Running, limit: Duration) -> Result<Instant> {
        const FIRST: &str = "0000000000000001";
        let start = Instant::now();
        while start.elapsed() < limit {
            if [0, 9].into_iter().flat_map(|level| self.objects(level)).any(|o| o.min == FIRST) {
                return Ok(Instant::now());
            }
            if !replicator.is_alive()? {
                bail!("the replicator of {} ended early", self.0.display());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("no snapshot in {} after {limit:?}", self.0.display())
    }

    /// Reports each file as it appears in level 0, which must exist: its last TXID and the moment.
    pub(crate) fn watch(&self) -> Result<Receiver<(Instant, String)>> {
        let notifier = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        let appearances = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE;
        inotify::add_watch(&notifier, self.level(0), appearances)
            .with_context(|| format!("watch {}", self.0.display()))?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(notifier, &mut buffer);
            while let Ok(event) = events.next() {
                let now = Instant::now();
                let name = event.file_name().and_then(|name| name.to_str().ok());
                let Some((_, max)) = name.and_then(range) else { continue };
                if sender.send((now, max)).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn level(&self, level: u8) -> PathBuf {
        self.0.join("ltx").join(level.to_string())
    }
}

/// The two TXIDs of a complete file's name.
fn range(name: &str) -> Option<(String, String)> {
    let (min, max) = name.strip_suffix(".ltx")?.split_once('-')?;
    (min.len() == 16 && max.len() == 16).then(|| (min.to_owned(), max.to_owned()))
}
