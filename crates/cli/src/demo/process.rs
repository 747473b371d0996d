//! A part of the demo that runs as a process of its own, as in real life, and as SQLite's locks
//! want it: they belong to a process, not to a connection. It tells what it does, line by line.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A process, and all that it has told.
#[derive(Debug)]
pub struct Process<T> {
    child: Child,
    told: Arc<Mutex<Vec<T>>>,
    reader: Option<JoinHandle<()>>,
}

impl<T: Clone + Send + 'static> Process<T> {
    /// Runs this program with other arguments; `read` understands its lines.
    pub fn start<I, S>(args: I, read: fn(&str) -> Option<T>) -> io::Result<Process<T>>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(BufReader::new);
        let mut process = Process { child, told: Arc::default(), reader: None };
        let told = process.told.clone();
        let reader = thread::Builder::new().name("reader".into()).spawn(move || {
            for line in lines.into_iter().flat_map(BufRead::lines) {
                let one = line.ok().as_deref().and_then(read);
                told.lock().unwrap_or_else(PoisonError::into_inner).extend(one);
            }
        })?;
        process.reader = Some(reader);
        Ok(process)
    }

    /// Looks at what it has told so far.
    pub fn told<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        look(&self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it runs, as it should.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it in the middle of whatever it is doing, without asking.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl<T> Drop for Process<T> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment as processes tell it to each other: microseconds since 1970.
pub fn written(moment: SystemTime) -> String {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().to_string()
}

/// Reads such a moment.
pub fn read(micros: &str) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_micros(micros.parse().ok()?))
}
