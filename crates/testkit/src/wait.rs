//! Awaiting a condition, never a duration.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);

/// Asks until there is an answer; panics, naming what was awaited, after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    match within(limit, &mut ask) {
        Some(answer) => answer,
        None => panic!("waited {limit:?} for {what}"),
    }
}

/// Asks until there is an answer, or for `limit`.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

/// Looks at something again and again for a span of time: what must hold all the while.
pub fn throughout(span: Duration, mut look: impl FnMut()) {
    within(span, || -> Option<()> {
        look();
        None
    });
}
