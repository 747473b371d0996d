//! How many databases may be attached at once.
//!
//! An attached database costs a dozen file descriptors and some memory. Where there are many, those
//! that are quiet are left alone until something changes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};

use crate::scheduler::{Bell, JobId};

/// File descriptors that an attached database takes.
const DESCRIPTORS: usize = 12;
/// Attached databases that nobody minds.
const COMFORTABLE: usize = 64;

/// The seats of one process.
#[derive(Debug)]
pub(crate) struct Seats {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Those who found none free.
    waiting: VecDeque<Bell>,
    queued: HashSet<JobId>,
}

/// A right to be attached.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Seats>);

impl Seats {
    /// As many as the process may open files for, and a quarter of them left for others.
    pub(crate) fn new() -> Seats {
        let limit = getrlimit(Resource::Nofile).current;
        let files = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Seats { most: (files / 4 * 3 / DESCRIPTORS).max(1), state: Mutex::default() }
    }

    /// A seat, if one is free. If none is, the bell rings when one may be.
    pub(crate) fn take(self: &Arc<Seats>, bell: Option<&Bell>) -> Option<Seat> {
        let mut state = self.lock();
        if state.taken < self.most {
            state.taken += 1;
            return Some(Seat(Arc::clone(self)));
        }
        if let Some(bell) = bell.filter(|bell| state.queued.insert(bell.id())) {
            state.waiting.push_back(bell.clone());
        }
        None
    }

    /// Whether somebody who does nothing should get up.
    pub(crate) fn are_scarce(&self) -> bool {
        self.lock().taken > COMFORTABLE.min(self.most / 2)
    }

    /// Whether somebody waits for one.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.taken -= 1;
        let (left, next) = (state.taken, state.waiting.pop_front());
        if let Some(next) = &next {
            state.queued.remove(&next.id());
        }
        drop(state);
        next.iter().for_each(Bell::ring);
        if left >= COMFORTABLE && left % COMFORTABLE == 0 {
            sqlite::memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many() {
        let seats = Arc::new(Seats { most: 2, state: Mutex::default() });
        let first = seats.take(None).expect("a seat");
        assert!(!seats.are_scarce());
        let second = seats.take(None).expect("a seat");
        assert!(seats.are_scarce());
        assert!(seats.take(None).is_none());
        drop((first, second));
        assert!(seats.take(None).is_some());
    }
}
