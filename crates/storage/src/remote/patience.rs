//! How long what fails is tried again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{Error, Result};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(30);
/// Nobody waits for longer without being told why.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Counts failures since the last progress.
#[derive(Debug)]
pub(super) struct Patience {
    failures: u32,
    since: Instant,
    /// Credentials that had expired were looked up anew.
    renewed: bool,
    /// Somebody was told.
    told: bool,
    /// However long they took, so many failures are allowed.
    at_least: u32,
    /// However many they are, they may take so long.
    within: Duration,
}

impl Patience {
    /// For a call that somebody tries again later, too, of a server that may be silent for so long.
    pub(super) fn of_calls(silence: Duration) -> Patience {
        Patience::new(1, silence)
    }

    /// For a read in the middle of an object: giving it up loses what was read.
    pub(super) fn of_reads(silence: Duration) -> Patience {
        Patience::new(4, 3 * silence)
    }

    fn new(at_least: u32, within: Duration) -> Patience {
        let (failures, since) = (0, Instant::now());
        Patience { failures, since, renewed: false, told: false, at_least, within }
    }

    /// What was asked for has come, or a part of it.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
        self.since = Instant::now();
        (self.renewed, self.told) = (false, false);
    }

    /// Waits before the next try; fails with `error` if there shall be none.
    pub(super) async fn wait(&mut self, error: Error) -> Result<()> {
        if matches!(error, Error::Expired { .. }) {
            // Who is asked again with new credentials, and says the same, will not change its mind.
            let again = !std::mem::replace(&mut self.renewed, true);
            return if again { Ok(()) } else { Err(error) };
        }
        self.failures += 1;
        let wait = error.retry_after().map_or_else(|| self.pause(), |it| it.min(LONGEST_ASKED));
        if self.failures >= self.at_least && self.since.elapsed() + wait > self.within {
            return Err(error);
        }
        if !self.told && self.since.elapsed() + wait >= TELL_AFTER {
            tracing::warn!(%error, "no success yet: it is tried again");
            self.told = true;
        }
        sleep(wait).await;
        Ok(())
    }

    /// Longer from failure to failure, and by chance, so that many do not come back at once.
    fn pause(&self) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(10).saturating_sub(1));
        doubled.min(LONGEST_WAIT).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Tries a step of a request that must not be tried again as a whole, as long as nobody answers.
pub(crate) async fn insist<T, F: Future<Output = Result<T>>>(step: impl Fn() -> F) -> Result<T> {
    let mut patience = Patience::of_calls(super::SILENCE);
    loop {
        match step().await {
            Err(error @ (Error::Unreachable { .. } | Error::Throttled { .. })) => {
                patience.wait(error).await?;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Error {
        Error::Unreachable { object: "o".into(), reason: "gone".into() }
    }

    #[test]
    fn patience_ends_without_progress_and_begins_anew_with_it() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut patience = Patience::new(1, Duration::from_millis(300));
            let began = Instant::now();
            while patience.wait(unreachable()).await.is_ok() {}
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
            assert!(patience.failures > 1);
            patience.progress();
            patience.wait(unreachable()).await.expect("another try after progress");
            let asked = Error::Throttled {
                object: "o".into(),
                reason: "slow down".into(),
                after: Some(Duration::from_secs(9)),
            };
            patience.wait(asked).await.expect_err("not before the server wants it");
        });
    }

    #[test]
    fn credentials_that_stay_expired_are_told_at_once() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let expired = || Error::Expired { object: "o".into(), reason: "over".into() };
            let mut patience = Patience::new(1, Duration::from_secs(3600));
            patience.wait(expired()).await.expect("once with new ones");
            patience.wait(expired()).await.expect_err("no more");
            patience.progress();
            patience.wait(expired()).await.expect("they may run out again");
        });
    }
}
