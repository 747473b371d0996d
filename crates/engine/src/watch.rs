//! Wakes a database's job when its WAL is written to.
//!
//! A watch fires once and is gone: a busy writer pays for one event, not for one per commit. The
//! job arms it again when it finds nothing to do. What the kernel does not tell (a network share,
//! a full event queue) is found by the job's own slow look.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::scheduler::{JobId, Waker};

/// What happens to a file that is renamed, or loses a name.
const LOSS: WatchFlags =
    WatchFlags::ATTRIB.union(WatchFlags::DELETE_SELF).union(WatchFlags::MOVE_SELF);

/// Arms watches. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    inotify: OwnedFd,
    stop: OwnedFd,
    jobs: Mutex<HashMap<i32, JobId>>,
}

/// The thread that waits for events.
pub(crate) struct Watcher {
    watch: Watch,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Wakes `job` at the next write to the file at `path`, once.
    pub(crate) fn arm_write(&self, path: &Path, job: JobId) -> io::Result<()> {
        self.arm(path, job, WatchFlags::MODIFY | LOSS)
    }

    /// Wakes `job` when the file at `path` is renamed, removed or replaced, once.
    pub(crate) fn arm_loss(&self, path: &Path, job: JobId) -> io::Result<()> {
        self.arm(path, job, LOSS)
    }

    fn arm(&self, path: &Path, job: JobId, events: WatchFlags) -> io::Result<()> {
        let flags = events | WatchFlags::ONESHOT;
        // Held over the call, so that the event does not overtake the entry.
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = inotify::add_watch(&self.0.inotify, path, flags)?;
        jobs.insert(watch, job);
        Ok(())
    }

    fn run(&self, waker: &Waker) {
        let mut buf = [MaybeUninit::uninit(); 4096];
        loop {
            let mut fds = [
                PollFd::new(&self.0.inotify, PollFlags::IN),
                PollFd::new(&self.0.stop, PollFlags::IN),
            ];
            if poll(&mut fds, None).is_err() {
                continue;
            }
            if !fds[1].revents().is_empty() {
                return;
            }
            self.deliver(waker, &mut buf);
        }
    }

    fn deliver(&self, waker: &Waker, buf: &mut [MaybeUninit<u8>]) {
        let mut reader = inotify::Reader::new(&self.0.inotify, buf);
        while let Ok(event) = reader.next() {
            let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // Nobody knows whose events were lost.
                jobs.values().for_each(|job| waker.wake(*job));
            }
            let job = match event.events().contains(ReadFlags::IGNORED) {
                true => jobs.remove(&event.wd()), // the kernel has dropped the watch
                false => jobs.get(&event.wd()).copied(),
            };
            drop(jobs);
            if let Some(job) = job {
                waker.wake(job);
            }
            if reader.is_buffer_empty() {
                return;
            }
        }
    }
}

impl Watcher {
    pub(crate) fn start(waker: Waker) -> io::Result<Watcher> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let watch = Watch(Arc::new(Inner { inotify, stop, jobs: Mutex::default() }));
        let own = watch.clone();
        let thread =
            thread::Builder::new().name("watch".to_string()).spawn(move || own.run(&waker))?;
        Ok(Watcher { watch, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&self.watch.0.stop, &1u64.to_ne_bytes());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(JoinHandle::join);
    }
}
