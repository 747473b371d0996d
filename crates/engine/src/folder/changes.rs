//! Tells when names come and go in the directories of a folder.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::{Folder, STATE, is_beside};

/// Names that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Waits for changes.
#[derive(Debug)]
pub struct Changes {
    inotify: OwnedFd,
    stop: Arc<OwnedFd>,
}

/// Ends the wait, from another thread.
#[derive(Clone, Debug)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Ends it, once and for all.
    pub fn stop(&self) {
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Changes {
    /// Begins to listen, to nothing yet.
    pub fn listen() -> io::Result<Changes> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        Ok(Changes { inotify, stop })
    }

    /// What ends the wait.
    pub fn stopper(&self) -> Stop {
        Stop(Arc::clone(&self.stop))
    }

    /// Listens to all directories of a folder, those that came since the last time included.
    pub fn watch(&self, folder: &Folder) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for directory in folder.directories() {
            match inotify::add_watch(&self.inotify, directory?, flags) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for a change, but not for longer than `limit`; `false` once it is stopped.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.poll(left) {
                Awaited::Stop => return false,
                Awaited::Nothing => return true,
                Awaited::Event if self.drain() => break,
                Awaited::Event => {}
            }
        }
        let stopped = self.poll_stop(DEBOUNCE);
        self.drain();
        !stopped
    }

    fn poll(&self, limit: Duration) -> Awaited {
        let mut fds =
            [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.inotify, PollFlags::IN)];
        let polled = poll(&mut fds, Timespec::try_from(limit).ok().as_ref());
        match polled {
            Ok(0) | Err(_) => Awaited::Nothing,
            Ok(_) if !fds[0].revents().is_empty() => Awaited::Stop,
            Ok(_) => Awaited::Event,
        }
    }

    fn poll_stop(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.stop, PollFlags::IN)];
        poll(&mut fds, Timespec::try_from(limit).ok().as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Takes all events; says whether one of them may be about a database.
    fn drain(&self) -> bool {
        let mut buf = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buf);
        let mut matters = false;
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let name = name.map(OsStr::to_string_lossy).unwrap_or_default();
            let overflow = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            matters |= overflow || !is_beside(&name) && !name.ends_with(STATE);
        }
        matters
    }
}

enum Awaited {
    Event,
    Nothing,
    Stop,
}
