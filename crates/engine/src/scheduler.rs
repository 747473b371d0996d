//! A few threads that run many jobs, each when it is due or woken, never one twice at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// When a job wants to run again, unless it is woken earlier.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    At(Instant),
    WhenWoken,
}

/// Something to run again and again.
pub(crate) trait Job: Send + Sync {
    fn run(&self) -> Next;
}

/// Names a job of one scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobId(usize);

struct Slot {
    job: Arc<dyn Job>,
    due: Option<Instant>,
    running: bool,
    woken: bool,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    queue: BinaryHeap<Reverse<(Instant, JobId)>>,
    stopping: bool,
}

/// Wakes jobs. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Waker(Arc<(Mutex<State>, Condvar)>);

/// The threads.
pub(crate) struct Scheduler {
    waker: Waker,
    threads: Vec<JoinHandle<()>>,
}

impl State {
    fn plan(&mut self, id: JobId, due: Instant) {
        let slot = &mut self.slots[id.0];
        if slot.running {
            slot.woken = true;
        } else if slot.due.is_none_or(|planned| due < planned) {
            slot.due = Some(due);
            self.queue.push(Reverse((due, id)));
        }
    }
}

impl Waker {
    pub(crate) fn wake(&self, id: JobId) {
        self.lock().plan(id, Instant::now());
        self.0.1.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until a job is due and takes it; `None` when the scheduler stops.
    fn take(&self) -> Option<(JobId, Arc<dyn Job>)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            let now = Instant::now();
            let Some(&Reverse((due, id))) = state.queue.peek() else {
                state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if due > now {
                let waited = self.0.1.wait_timeout(state, due - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.queue.pop();
            let slot = &mut state.slots[id.0];
            if slot.due == Some(due) && !slot.running {
                slot.due = None;
                slot.running = true;
                return Some((id, Arc::clone(&slot.job)));
            }
        }
    }

    fn give_back(&self, id: JobId, next: Next) {
        let mut state = self.lock();
        let slot = &mut state.slots[id.0];
        slot.running = false;
        if std::mem::take(&mut slot.woken) {
            state.plan(id, Instant::now());
        } else if let Next::At(due) = next {
            state.plan(id, due);
        }
        self.0.1.notify_one();
    }

    fn work(&self) {
        while let Some((id, job)) = self.take() {
            let next = job.run();
            self.give_back(id, next);
        }
    }
}

impl Scheduler {
    pub(crate) fn start(name: &str, threads: usize) -> io::Result<Scheduler> {
        let waker = Waker::default();
        let threads = (0..threads)
            .map(|_| {
                let waker = waker.clone();
                thread::Builder::new().name(name.to_string()).spawn(move || waker.work())
            })
            .collect::<io::Result<_>>()?;
        Ok(Scheduler { waker, threads })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Adds a job; it runs at once.
    pub(crate) fn add(&self, job: Arc<dyn Job>) -> JobId {
        self.add_named(job, |_| ())
    }

    /// Adds a job that is told its name before it runs.
    pub(crate) fn add_named(&self, job: Arc<dyn Job>, named: impl FnOnce(JobId)) -> JobId {
        let mut state = self.waker.lock();
        let id = JobId(state.slots.len());
        named(id);
        state.slots.push(Slot { job, due: None, running: false, woken: false });
        state.plan(id, Instant::now());
        drop(state);
        self.waker.0.1.notify_one();
        id
    }

    /// Ends the threads when their jobs come back, without waiting for that.
    pub(crate) fn abandon(self) {
        self.waker.lock().stopping = true;
        self.waker.0.1.notify_all();
    }

    /// Waits for the jobs that run, then ends the threads and drops the jobs.
    pub(crate) fn stop(self) {
        self.waker.lock().stopping = true;
        self.waker.0.1.notify_all();
        for thread in self.threads {
            let _ = thread.join();
        }
        let jobs = std::mem::take(&mut self.waker.lock().slots);
        drop(jobs);
    }
}
