//! What was asked of a server, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::address::Kind;
use crate::{Error, Result};

/// The kinds of requests, as providers bill them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A page of names.
    List,
    /// An object, or a part of it.
    Get,
    /// An object, or a part of it; also the beginning and the end of an upload in parts.
    Put,
    /// Objects removed together.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 4] =
        [Operation::List, Operation::Get, Operation::Put, Operation::Delete];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::List => "LIST",
            Operation::Get => "GET",
            Operation::Put => "PUT",
            Operation::Delete => "DELETE",
        }
    }
}

/// What was asked of a server so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The kind of server.
    pub kind: Kind,
    /// One for each kind of request.
    pub tallies: Vec<(Operation, Tally)>,
}

/// The bounds of the groups by duration, in seconds: Litestream's.
pub const DURATION_BOUNDS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// Requests of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests, tries in vain included.
    pub requests: u64,
    /// Those that failed, other than for want of the object.
    pub errors: u64,
    /// Bytes of objects that were moved.
    pub bytes: u64,
    /// Time that the requests took.
    pub took: Duration,
    /// How many took no longer than each of [`DURATION_BOUNDS`].
    pub within: [u64; DURATION_BOUNDS.len()],
    /// The errors by their kind.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.took += other.took;
        for (within, more) in self.within.iter_mut().zip(other.within) {
            *within += more;
        }
        for (code, count) in &other.failures {
            *self.failures.entry(code).or_default() += count;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Meter([Counters; Operation::ALL.len()]);

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    within: [AtomicU64; DURATION_BOUNDS.len()],
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    fn failed(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.failures().entry(error.code()).or_default() += 1;
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        let reached = DURATION_BOUNDS.iter().zip(&self.within);
        for (_, within) in reached.filter(|(bound, _)| took.as_secs_f64() <= **bound) {
            within.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Meter {
    /// Counts one request.
    pub(super) async fn measure<T>(
        &self,
        operation: Operation,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (counters, began) = (&self.0[operation as usize], Instant::now());
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let result = request.await;
        if let Some(error) = result.as_ref().err().filter(|error| !error.is_not_found()) {
            counters.failed(error);
        }
        counters.took(began.elapsed());
        result
    }

    /// Counts bytes of objects.
    pub(super) fn moved(&self, operation: Operation, bytes: u64) {
        self.0[operation as usize].bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn usage(&self, kind: Kind) -> Usage {
        let tally = |counters: &Counters| Tally {
            requests: counters.requests.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            took: Duration::from_nanos(counters.nanoseconds.load(Ordering::Relaxed)),
            within: std::array::from_fn(|it| counters.within[it].load(Ordering::Relaxed)),
            failures: counters.failures().clone(),
        };
        let tallies = Operation::ALL.map(|it| (it, tally(&self.0[it as usize])));
        Usage { kind, tallies: tallies.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_grouped_by_their_duration_and_failures_by_their_kind() {
        let counters = Counters::default();
        counters.took(Duration::from_millis(60));
        counters.took(Duration::from_secs(61));
        let (object, reason) = (String::new(), String::new());
        counters.failed(&Error::Denied { object, reason });
        let within = counters.within.each_ref().map(|it| it.load(Ordering::Relaxed));
        assert_eq!(within, [0, 0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(*counters.failures(), BTreeMap::from([("AccessDenied", 1)]));
        let (mut sum, one) = (
            Tally::default(),
            Tally { within, failures: counters.failures().clone(), ..Tally::default() },
        );
        sum.add(&one);
        sum.add(&one);
        assert_eq!((sum.within[2], sum.failures["AccessDenied"]), (2, 2));
    }
}
