//! Moments, as LTX headers state them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment so many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch; negative before it.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment, cut to whole milliseconds (never later than `time`).
    pub fn from_system_time(time: SystemTime) -> Timestamp {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(error) => {
                let before = error.duration();
                let partial = before.subsec_nanos() % 1_000_000 != 0;
                -millis(before) - i64::from(partial)
            }
        })
    }

    /// The same moment as the system clock counts it.
    pub fn to_system_time(self) -> SystemTime {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        let time = if self.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_both_ways_and_round_down() {
        for millis in [-1_500, -1, 0, 1, 1_795_382_352_998] {
            let timestamp = Timestamp::from_millis(millis);
            let time = timestamp.to_system_time();
            assert_eq!(Timestamp::from_system_time(time), timestamp);
            let later = time + Duration::from_micros(999);
            assert_eq!(Timestamp::from_system_time(later), timestamp);
        }
    }
}
