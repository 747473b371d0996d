//! How fast a server takes what was handed over.
//!
//! Megabytes of a body wait in this machine's own buffers, where nobody sees them move, and it takes
//! the next ones only when there is much room again. On a slow line that takes long, and a server
//! that cannot have all of it yet is not silent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::content::LOOKS;

/// What the system buffers of a connection at most.
const BUFFERED: u64 = 4 << 20;
/// Bytes a second that are expected of a line that nothing is known of.
const USUAL: u64 = 4 << 20;
/// The slowest line that is allowed for.
const SLOWEST: u64 = 64 << 10;

/// Bytes a second, as experience has it.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Pace {
        Pace(AtomicU64::new(USUAL))
    }
}

impl Pace {
    /// How long a part of a body of so many bytes may be on its way unseen.
    pub(super) fn time_of(&self, bytes: Option<usize>) -> Duration {
        let bytes = bytes.map_or(BUFFERED, |bytes| BUFFERED.min(bytes as u64));
        Duration::from_secs_f64(bytes as f64 / self.0.load(Ordering::Relaxed) as f64)
    }

    /// A body was given up: the next one gets twice the time.
    pub(super) fn given_up(&self) {
        self.change(|pace| (pace / 2).max(SLOWEST));
    }

    /// A large body has arrived, and so many of [`LOOKS`] saw nothing of it move: if none did, less
    /// time will do by and by; one more, and it had been given up.
    pub(super) fn arrived(&self, bytes: Option<usize>, quiet: u32) {
        if bytes.is_some_and(|bytes| (bytes as u64) < BUFFERED) {
            return;
        }
        match quiet {
            0 => self.change(|pace| (pace + pace / 8).min(USUAL)),
            quiet if quiet + 1 >= LOOKS => self.given_up(),
            _ => {}
        }
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pace| Some(to(pace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_is_given_more_and_more_time_up_to_a_limit() {
        let pace = Pace::default();
        assert_eq!(pace.time_of(Some(0)), Duration::ZERO);
        assert_eq!(pace.time_of(Some(64 << 20)), Duration::from_secs(1));
        pace.given_up();
        assert_eq!(pace.time_of(None), Duration::from_secs(2));
        (0..20).for_each(|_| pace.given_up());
        assert_eq!(pace.time_of(None), Duration::from_secs(64));
        assert_eq!(pace.time_of(Some(1024)), Duration::from_secs_f64(1.0 / 64.0));
        pace.arrived(Some(1024), 0);
        assert_eq!(pace.time_of(None), Duration::from_secs(64), "little says little");
        (0..100).for_each(|_| pace.arrived(None, 0));
        assert_eq!(pace.time_of(None), Duration::from_secs(1));
        (0..100).for_each(|_| pace.arrived(None, 1));
        assert_eq!(pace.time_of(None), Duration::from_secs(1), "what was learnt holds");
        pace.arrived(None, LOOKS - 1);
        assert_eq!(pace.time_of(None), Duration::from_secs(2), "it nearly was too late");
    }
}
