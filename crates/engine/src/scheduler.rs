//! A few threads that run many jobs, each when it is due or woken, never one twice at a time.
//!
//! There are as many threads as jobs ran at once, up to a limit: jobs that hang on a dead storage
//! do not keep the others from running.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// When a job wants to run again, unless it is woken earlier.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    At(Instant),
    /// Then or up to [`GRID`] later: many such jobs run one after the other, and a thread wakes
    /// for all of them.
    About(Instant),
    WhenWoken,
}

const GRID: Duration = Duration::from_secs(1);
/// Most jobs of a scheduler that are outside at once.
const MOST_OUTSIDE: usize = 64;

/// Something to run again and again.
pub(crate) trait Job: Send + Sync {
    fn run(&self) -> Next;
}

/// Names a job of one scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobId(usize);

struct Slot {
    /// None once it is dismissed.
    job: Option<Arc<dyn Job>>,
    due: Option<Instant>,
    running: bool,
    woken: bool,
}

struct State {
    /// The first point of the grid.
    began: Instant,
    slots: Vec<Slot>,
    /// Slots of dismissed jobs.
    free: Vec<JobId>,
    queue: BinaryHeap<Reverse<(Instant, JobId)>>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that run no job.
    idle: usize,
    /// Jobs that wait for somebody else, each with another thread in its place.
    outside: usize,
    /// Runs that came to their end.
    runs: u64,
    stopping: bool,
}

/// Wakes jobs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Waker(Arc<Pool>);

struct Pool {
    name: &'static str,
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// The run of a dismissed job is over.
    ended: Condvar,
}

/// Wakes one job.
#[derive(Clone)]
pub(crate) struct Bell {
    waker: Waker,
    id: JobId,
}

impl Bell {
    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    pub(crate) fn ring(&self) {
        self.waker.wake(self.id);
    }

    /// Has a job wait for somebody who may not answer, without keeping the others from their turns.
    /// `None`: too many do that already.
    pub(crate) fn outside<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        self.waker.outside(wait)
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bell({:?})", self.id)
    }
}

/// The threads.
pub(crate) struct Scheduler {
    waker: Waker,
}

impl State {
    fn new() -> State {
        State {
            began: Instant::now(),
            slots: Vec::new(),
            free: Vec::new(),
            queue: BinaryHeap::new(),
            threads: Vec::new(),
            idle: 0,
            outside: 0,
            runs: 0,
            stopping: false,
        }
    }

    /// The next point of the grid.
    fn aligned(&self, moment: Instant) -> Instant {
        let since = moment.saturating_duration_since(self.began);
        self.began + GRID * u32::try_from(since.as_secs() + 1).unwrap_or(u32::MAX)
    }

    fn plan(&mut self, id: JobId, due: Instant) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
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
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outside<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        let mut state = self.lock();
        if state.outside == MOST_OUTSIDE {
            return None;
        }
        state.outside += 1;
        self.grow_if_busy(&mut state);
        drop(state);
        let result = wait();
        self.lock().outside -= 1;
        Some(result)
    }

    /// How many threads there may be.
    fn limit(&self, state: &State) -> usize {
        self.0.limit + state.outside
    }

    fn grow_if_busy(&self, state: &mut State) {
        if state.idle == 0 && state.threads.len() < self.limit(state) {
            // Without one more, the others wait for a job that runs: slower, but right.
            let _ = self.grow(state);
        }
    }

    /// Ends this thread, which came in the place of one that is back.
    fn leave(&self, state: &mut State) {
        let this = thread::current().id();
        state.threads.retain(|it| it.thread().id() != this);
        state.idle -= 1;
        // Whoever was woken for us.
        self.0.changed.notify_one();
    }

    /// Starts one thread more.
    fn grow(&self, state: &mut State) -> io::Result<()> {
        let waker = self.clone();
        let named = thread::Builder::new().name(self.0.name.to_string());
        state.threads.push(named.spawn(move || waker.work())?);
        state.idle += 1;
        Ok(())
    }

    /// Blocks until a job is due and takes it; `None` when the scheduler stops.
    fn take(&self) -> Option<(JobId, Arc<dyn Job>)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if state.threads.len() > self.limit(&state) {
                self.leave(&mut state);
                return None;
            }
            let now = Instant::now();
            let Some(&Reverse((due, id))) = state.queue.peek() else {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if due > now {
                let waited = self.0.changed.wait_timeout(state, due - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.queue.pop();
            let Some(slot) = state.slots.get_mut(id.0) else { continue };
            if slot.due == Some(due)
                && !slot.running
                && let Some(job) = slot.job.clone()
            {
                slot.due = None;
                slot.running = true;
                state.idle -= 1;
                self.grow_if_busy(&mut state);
                return Some((id, job));
            }
        }
    }

    fn give_back(&self, id: JobId, next: Next) {
        let mut state = self.lock();
        state.idle += 1;
        state.runs += 1;
        let Some(slot) = state.slots.get_mut(id.0) else { return };
        slot.running = false;
        let woken = std::mem::take(&mut slot.woken);
        if slot.job.is_none() {
            state.free.push(id);
            self.0.ended.notify_all();
            return;
        }
        match next {
            _ if woken => state.plan(id, Instant::now()),
            Next::At(due) => state.plan(id, due),
            Next::About(due) => {
                let due = state.aligned(due);
                state.plan(id, due);
            }
            Next::WhenWoken => {}
        }
        self.0.changed.notify_one();
    }

    fn work(&self) {
        while let Some((id, job)) = self.take() {
            let next = job.run();
            // A dismissed job ends here, with all that it holds.
            drop(job);
            self.give_back(id, next);
        }
    }
}

impl Scheduler {
    pub(crate) fn start(name: &'static str, limit: usize) -> io::Result<Scheduler> {
        let (state, changed, ended) = (Mutex::new(State::new()), Condvar::new(), Condvar::new());
        let waker = Waker(Arc::new(Pool { name, limit, state, changed, ended }));
        waker.grow(&mut waker.lock())?;
        Ok(Scheduler { waker })
    }

    /// Adds a job and returns what wakes it; it runs at once.
    pub(crate) fn hire(&self, job: Arc<dyn Job>) -> Bell {
        self.hire_named(job, |_| ())
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Adds a job that is told what wakes it before it runs.
    pub(crate) fn hire_named(&self, job: Arc<dyn Job>, named: impl FnOnce(&Bell)) -> Bell {
        let mut state = self.waker.lock();
        let slot = Slot { job: Some(job), due: None, running: false, woken: false };
        let id = state.free.pop().unwrap_or(JobId(state.slots.len()));
        let bell = Bell { waker: self.waker(), id };
        named(&bell);
        match state.slots.get_mut(id.0) {
            Some(free) => *free = slot,
            None => state.slots.push(slot),
        }
        state.plan(id, Instant::now());
        drop(state);
        self.waker.0.changed.notify_one();
        bell
    }

    /// Runs a job no more, from the end of its present run on.
    pub(crate) fn dismiss(&self, job: &Bell) {
        let id = job.id;
        let mut state = self.waker.lock();
        let Some(slot) = state.slots.get_mut(id.0) else { return };
        let job = slot.job.take();
        slot.due = None;
        if job.is_some() && !slot.running {
            state.free.push(id);
        }
        drop(state);
        drop(job);
    }

    /// Waits for the end of the present run of a job that was dismissed. Says whether it came.
    pub(crate) fn await_end(&self, job: &Bell, deadline: Instant) -> bool {
        let mut state = self.waker.lock();
        loop {
            let runs = |slot: &Slot| slot.running && slot.job.is_none();
            if !state.slots.get(job.id.0).is_some_and(runs) {
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            let waited = self.waker.0.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many runs have come to their end.
    pub(crate) fn runs(&self) -> u64 {
        self.waker.lock().runs
    }

    /// Ends the threads when their jobs come back, without waiting for that.
    pub(crate) fn abandon(&self) {
        drop(self.end());
    }

    /// Waits for the jobs that run, then ends the threads and drops the jobs.
    pub(crate) fn stop(&self) {
        let (jobs, threads) = self.end();
        for thread in threads {
            let _ = thread.join();
        }
        drop(jobs);
    }

    fn end(&self) -> (Vec<Slot>, Vec<JoinHandle<()>>) {
        let mut state = self.waker.lock();
        state.stopping = true;
        let left = (std::mem::take(&mut state.slots), std::mem::take(&mut state.threads));
        drop(state);
        self.waker.0.changed.notify_all();
        left
    }
}

#[cfg(test)]
mod tests;
