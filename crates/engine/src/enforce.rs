//! Retention by itself, for a process that does not stay.

use std::time::Instant;

use storage::{Object, Storage};

use crate::inventory::Inventory;
use crate::restore;
use crate::retention::{self, GRACE, Retention};
use crate::shared::Moment;

/// Deletes the snapshots that are older than the retention, but for the newest of those, and all
/// files that end before it. Returns what was deleted.
///
/// How long files of a level stay after they were compacted is none of its business: only who
/// stays knows since when they are.
pub fn enforce(
    storage: &dyn Storage,
    retention: &Retention,
) -> Result<Vec<Object>, restore::Error> {
    let objects = restore::list(storage)?;
    let expired = expired(&objects, retention, Moment::now());
    let names: Vec<_> = expired.iter().map(|object| (object.level, object.txids)).collect();
    storage.delete(&names)?;
    Ok(expired)
}

/// What was listed has stood for long enough.
fn expired(objects: &[Object], retention: &Retention, now: Moment) -> Vec<Object> {
    let listed = Instant::now();
    let later = Moment { instant: listed + GRACE, time: now.time };
    let snapshots_only = Retention { levels: Vec::new(), ..retention.clone() };
    retention::plan(&Inventory::listed(objects, listed), &snapshots_only, later).objects
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::inventory::tests::objects;

    /// Levels and ranges of what goes, `seconds` after the epoch. An object is as old as its last
    /// transaction.
    fn gone(named: &[(u8, u64, u64)], seconds: u64, retention: u64) -> Vec<(u8, u64, u64)> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let snapshots = Duration::from_secs(retention);
        let retention = Retention { snapshots, ..Retention::default() };
        let now = Moment { instant: Instant::now(), time };
        let shown = |it: Object| (it.level.get(), it.txids.min.get(), it.txids.max.get());
        expired(&objects(named), &retention, now).into_iter().map(shown).collect()
    }

    #[test]
    fn old_snapshots_go_with_what_led_to_them() {
        let all =
            [(9, 1, 10), (9, 1, 20), (9, 1, 30), (1, 1, 15), (1, 16, 30), (0, 29, 29), (0, 30, 30)];
        assert_eq!(gone(&all, 100, 75), [(1, 1, 15), (9, 1, 10)]);
        assert_eq!(gone(&all, 100, 95), []);
        assert_eq!(gone(&all, 100, 1), [(0, 29, 29), (9, 1, 20), (1, 1, 15), (9, 1, 10)]);
    }
}
