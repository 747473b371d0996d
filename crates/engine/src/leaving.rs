//! When checkpoints are left to the application: a pure decision.
//!
//! One that never pauses, and does not ask the disk to sync, checkpoints cheaper than anybody else
//! could for it. So a barrier takes the pin's place (see `sqlite::Live::give_way`), and each time that
//! the application has copied its WAL back and all of that is kept, the WAL may start anew.

use std::time::{Duration, Instant};

use sqlite::{Restart, Tip};

use crate::checkpointer::{FAST_GROWTH, Pace};

/// Fast looks in a row after which it is tried.
const FAST_LOOKS: u32 = 8;
/// Growth is measured over this time at least.
const WINDOW: Duration = Duration::from_millis(50);
/// How long the WAL may take to start anew once it may.
const RESTART_PATIENCE: Duration = Duration::from_millis(10);
/// Vain tries in a row after which the application is not one to leave it to.
const MOST_MISSES: u32 = 64;
/// How many of its checkpoints may be slow: it may have had to wait for a processor.
const MOST_SLOW: u32 = 8;
/// Quick ones that make up for a slow one.
const QUICK: u32 = 4;
/// WAL bytes that are left to no application. One of half as many is let start anew by us first.
const MOST_WAL: u64 = 24 << 20;
/// After which time another attempt is made, the first time; and what went well for as long was no
/// mistake.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The part of the frames that it takes until the application copies back, after which that is
/// waited for.
const NEARLY: f64 = 0.93;
/// Who came too late comes sooner the next time.
const SOONER: f64 = 0.9;
/// Between looks while something is awaited.
const NEAR: Duration = Duration::from_micros(100);
/// The longest time between looks.
const FAR: Duration = Duration::from_millis(10);

/// Whose the checkpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ours,
    /// The application's.
    Left,
    /// The WAL may start anew from this tip on.
    Parked {
        since: Instant,
        tip: Tip,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// Leave checkpoints to the application.
    GiveWay,
    /// Let the WAL start anew.
    LetRestart,
    /// Checkpoints are ours again.
    TakeBack,
}

/// What is known of the application's own checkpoints.
#[derive(Debug)]
pub(crate) struct Leaving {
    stage: Stage,
    /// Since when they are not ours.
    begun: Option<Instant>,
    fast_looks: u32,
    /// Frames after which the application copies back, as far as was seen.
    threshold: u32,
    /// Whether that was waited for, and came too late.
    tried: bool,
    late: bool,
    last: Option<Tip>,
    /// Since when growth is measured, and how many frames there were since then.
    window: (Instant, u32),
    /// Frames in a millisecond.
    rate: f64,
    misses: u32,
    /// Slow checkpoints, times [`QUICK`], less the quick ones.
    slowness: u32,
    not_before: Instant,
    pause: Duration,
}

impl Leaving {
    pub(crate) fn new(threshold: u32, now: Instant) -> Leaving {
        Leaving {
            stage: Stage::Ours,
            begun: None,
            fast_looks: 0,
            threshold,
            tried: false,
            late: false,
            last: None,
            window: (now, 0),
            rate: 0.0,
            misses: 0,
            slowness: 0,
            not_before: now,
            pause: FIRST_PAUSE,
        }
    }

    /// Takes note of how fast commits come in while checkpoints are ours.
    pub(crate) fn note(&mut self, pace: Pace) {
        self.fast_looks = if pace == Pace::Fast { self.fast_looks + 1 } else { 0 };
    }

    /// Whether they are left to the application.
    pub(crate) fn is_on(&self) -> bool {
        self.stage != Stage::Ours
    }

    /// Whether a database is to be looked at with [`Leaving::plan`].
    pub(crate) fn is_wanted(&self, now: Instant) -> bool {
        self.is_on() || (self.fast_looks >= FAST_LOOKS && now >= self.not_before)
    }

    /// What to do with a WAL that ends at `tip`, takes `bytes` and is copied back that far.
    pub(crate) fn plan(&mut self, tip: &Tip, bytes: u64, backfilled: u32, now: Instant) -> Step {
        self.measure(tip, now);
        let slow = self.is_slow(now);
        match self.stage {
            Stage::Ours if bytes >= MOST_WAL / 2 => Step::TakeBack,
            Stage::Ours => Step::GiveWay,
            Stage::Parked { tip: parked, .. } if parked.salts != tip.salts => {
                self.misses = 0;
                Step::GiveWay
            }
            // A commit was faster.
            Stage::Parked { tip: parked, .. } if parked != *tip => self.missed(now),
            Stage::Parked { since, .. } if now >= since + RESTART_PATIENCE => Step::TakeBack,
            Stage::Parked { .. } => Step::Wait,
            Stage::Left if slow => Step::TakeBack,
            Stage::Left if bytes >= MOST_WAL => self.give_up(now),
            Stage::Left if backfilled == 0 && f64::from(tip.frame) < self.near() => Step::Wait,
            Stage::Left => {
                self.late |= backfilled > 0 && !self.tried;
                self.tried = true;
                Step::LetRestart
            }
        }
    }

    /// Checkpoints are the application's from now on; or were not to be left to it.
    pub(crate) fn gave_way(&mut self, done: bool, now: Instant) {
        match done {
            true => {
                self.begun = self.begun.or(Some(now));
                self.stage = Stage::Left;
            }
            false => _ = self.give_up(now),
        }
    }

    /// What came of [`Step::LetRestart`].
    pub(crate) fn restarted(&mut self, restart: Restart, now: Instant) -> Step {
        match restart {
            Restart::Allowed(tip) => {
                self.stage = Stage::Parked { since: now, tip };
                self.threshold = match self.late {
                    false => tip.frame,
                    true => (f64::from(self.threshold) * SOONER) as u32,
                };
                self.slowness = self.slowness.saturating_sub(1);
            }
            Restart::Early => {}
            Restart::Missed => return self.missed(now),
            Restart::Slow => self.slowness += QUICK,
        }
        match self.slowness < MOST_SLOW * QUICK {
            true => Step::Wait,
            false => self.give_up(now),
        }
    }

    fn missed(&mut self, now: Instant) -> Step {
        self.misses += 1;
        match self.stage {
            _ if self.misses >= MOST_MISSES => self.give_up(now),
            Stage::Parked { .. } => Step::GiveWay,
            _ => Step::Wait,
        }
    }

    /// Checkpoints are ours again.
    pub(crate) fn took_back(&mut self) {
        (self.stage, self.fast_looks, self.misses, self.slowness) = (Stage::Ours, 0, 0, 0);
        (self.begun, self.last, self.tried, self.late) = (None, None, false, false);
    }

    /// When to look again.
    pub(crate) fn next_look(&self, tip: &Tip, now: Instant) -> Instant {
        let ahead = self.near() - f64::from(tip.frame);
        let wait = match self.stage {
            Stage::Left if ahead > 0.0 && self.rate > 0.0 => {
                Duration::from_secs_f64((ahead / self.rate / 1000.0).min(FAR.as_secs_f64()))
            }
            _ => NEAR,
        };
        now + wait.max(NEAR)
    }

    /// A little before the application is expected to copy back.
    fn near(&self) -> f64 {
        f64::from(self.threshold) * NEARLY
    }

    fn measure(&mut self, tip: &Tip, now: Instant) {
        let before = self.last.replace(*tip);
        let same = before.filter(|before| before.salts == tip.salts && before.frame <= tip.frame);
        let (since, frames) = &mut self.window;
        match (before, same) {
            (None, _) => (*since, *frames) = (now, 0),
            (_, Some(same)) => *frames += tip.frame - same.frame,
            (_, None) => {
                *frames += tip.frame;
                (self.tried, self.late) = (false, false);
            }
        }
    }

    /// Whether the application has slowed down since it was measured last.
    fn is_slow(&mut self, now: Instant) -> bool {
        let (since, frames) = self.window;
        let elapsed = now.saturating_duration_since(since);
        if elapsed < WINDOW {
            return false;
        }
        self.window = (now, 0);
        self.rate = f64::from(frames) / (elapsed.as_secs_f64() * 1000.0);
        self.rate < FAST_GROWTH as f64
    }

    fn give_up(&mut self, now: Instant) -> Step {
        if self.begun.is_some_and(|begun| now >= begun + FIRST_PAUSE) {
            self.pause = FIRST_PAUSE;
        }
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.fast_looks = 0;
        Step::TakeBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlite::{Salts, WalChecksum};

    const PAGE: u64 = 4096;

    fn tip(generation: u32, frame: u32) -> Tip {
        let salts = Salts(generation, 7);
        Tip { salts, frame, checksum: WalChecksum(1, frame), pages: 9, change: frame }
    }

    struct Clock(Instant);

    impl Clock {
        fn after(&mut self, micros: u64) -> Instant {
            self.0 += Duration::from_micros(micros);
            self.0
        }
    }

    /// A fast application, and the decision to leave checkpoints to it.
    fn left() -> (Leaving, Clock) {
        let mut clock = Clock(Instant::now());
        let mut leaving = Leaving::new(1000, clock.0);
        for _ in 0..FAST_LOOKS {
            assert!(!leaving.is_wanted(clock.0));
            leaving.note(Pace::Fast);
        }
        assert!(leaving.is_wanted(clock.0));
        assert_eq!(leaving.plan(&tip(1, 900), 900 * PAGE, 0, clock.after(100)), Step::GiveWay);
        leaving.gave_way(true, clock.0);
        (leaving, clock)
    }

    #[test]
    fn the_wal_starts_anew_once_it_is_copied_back() {
        let (mut leaving, mut clock) = left();
        assert_eq!(leaving.plan(&tip(1, 920), 920 * PAGE, 0, clock.after(500)), Step::Wait);
        let step = leaving.plan(&tip(1, 1010), 1010 * PAGE, 1005, clock.after(500));
        assert_eq!(step, Step::LetRestart);
        assert_eq!(leaving.restarted(Restart::Allowed(tip(1, 1010)), clock.0), Step::Wait);
        assert_eq!(leaving.plan(&tip(1, 1010), 1010 * PAGE, 1010, clock.after(100)), Step::Wait);
        assert_eq!(leaving.plan(&tip(2, 20), 20 * PAGE, 0, clock.after(100)), Step::GiveWay);
    }

    #[test]
    fn who_does_not_write_on_gets_its_pin_back() {
        let (mut leaving, mut clock) = left();
        leaving.restarted(Restart::Allowed(tip(1, 900)), clock.0);
        assert_eq!(
            leaving.plan(&tip(1, 900), 900 * PAGE, 900, clock.after(11_000)),
            Step::TakeBack
        );
        leaving.took_back();
        assert!(!leaving.is_wanted(clock.0));
    }

    #[test]
    fn who_slows_down_gets_its_pin_back() {
        let (mut leaving, mut clock) = left();
        assert_eq!(leaving.plan(&tip(1, 910), 910 * PAGE, 0, clock.after(45_000)), Step::Wait);
        assert_eq!(leaving.plan(&tip(1, 920), 920 * PAGE, 0, clock.after(6000)), Step::TakeBack);
    }

    #[test]
    fn who_never_copies_back_is_not_asked_again_soon() {
        let (mut leaving, mut clock) = left();
        let frames = (MOST_WAL / PAGE) as u32;
        let step = leaving.plan(&tip(1, frames), MOST_WAL, 0, clock.after(15_000));
        assert_eq!(step, Step::TakeBack);
        leaving.took_back();
        (0..FAST_LOOKS).for_each(|_| leaving.note(Pace::Fast));
        assert!(!leaving.is_wanted(clock.after(900_000)));
        assert!(leaving.is_wanted(clock.after(200_000)));
        for seconds in [2, 4, 8] {
            leaving.give_up(clock.0);
            leaving.took_back();
            (0..FAST_LOOKS).for_each(|_| leaving.note(Pace::Fast));
            assert!(!leaving.is_wanted(clock.after(seconds * 1_000_000 - 1)));
            assert!(leaving.is_wanted(clock.after(2)));
        }
    }

    #[test]
    fn who_waits_for_the_disk_is_found_out() {
        let (mut leaving, clock) = left();
        for _ in 1..MOST_SLOW {
            assert_eq!(leaving.restarted(Restart::Slow, clock.0), Step::Wait);
        }
        assert_eq!(leaving.restarted(Restart::Slow, clock.0), Step::TakeBack);
    }

    #[test]
    fn a_commit_that_was_faster_is_not_taken_for_a_pause() {
        let (mut leaving, mut clock) = left();
        leaving.restarted(Restart::Allowed(tip(1, 1010)), clock.0);
        assert_eq!(
            leaving.plan(&tip(1, 1012), 1012 * PAGE, 1010, clock.after(9000)),
            Step::GiveWay
        );
    }

    #[test]
    fn the_threshold_is_learnt() {
        let (mut leaving, mut clock) = left();
        let step = leaving.plan(&tip(1, 960), 960 * PAGE, 0, clock.after(500));
        assert_eq!(step, Step::LetRestart);
        leaving.restarted(Restart::Allowed(tip(1, 1020)), clock.0);
        assert_eq!(leaving.threshold, 1020);
        leaving.plan(&tip(2, 20), 20 * PAGE, 0, clock.after(100));
        leaving.gave_way(true, clock.0);
        leaving.plan(&tip(2, 1200), 1200 * PAGE, 1190, clock.after(500));
        leaving.restarted(Restart::Allowed(tip(2, 1300)), clock.0);
        assert_eq!(leaving.threshold, 918, "it came too late");
    }
}
