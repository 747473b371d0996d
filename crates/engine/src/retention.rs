//! What a replica need not keep any more: a pure decision over an inventory.
//!
//! A file that a file of the next level holds too stays for a while after that one appeared, so
//! that a restore which planned with it still finds it. A snapshot older than the retention stays
//! as long as it is the newest such: from it every later moment can be reached. The newest file of
//! each level always stays.

use std::cmp::Reverse;
use std::time::{Duration, Instant, SystemTime};

use ltx::{Level, Timestamp, Txid};
use storage::Object;

use crate::inventory::{Entry, Inventory};
use crate::shared::Moment;
use crate::status::Level0;

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whether anything is deleted from the replica at all.
    pub enabled: bool,
    /// For each level from 0 on: how long a file stays after it was compacted; `None`, or nothing:
    /// as long as the snapshot that it builds on.
    pub levels: Vec<Option<Duration>>,
    /// How far back every moment that was kept can be restored.
    pub snapshots: Duration,
}

impl Default for Retention {
    /// Litestream's defaults.
    fn default() -> Self {
        let levels = vec![Some(Duration::from_secs(5 * 60))];
        Retention { enabled: true, levels, snapshots: Duration::from_secs(24 * 3600) }
    }
}

/// A snapshot must have stood this long before what it replaces goes, however short the retention.
pub(crate) const GRACE: Duration = Duration::from_secs(5 * 60);

/// What to delete now, and when to look again if nothing happens meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) objects: Vec<Object>,
    pub(crate) next: Option<Instant>,
}

impl Expired {
    fn look_at(&mut self, moment: Instant) {
        self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
    }
}

/// Plans what goes.
pub(crate) fn plan(inventory: &Inventory, retention: &Retention, now: Moment) -> Expired {
    let mut expired = Expired::default();
    if !retention.enabled {
        return expired;
    }
    let floor = floor(inventory, retention, now, &mut expired);
    let snapshots = inventory.level(Level::SNAPSHOT).iter();
    let older = snapshots.filter(|entry| Some(entry.object.txids.max) < floor);
    expired.objects.extend(older.map(|entry| entry.object));
    let passed = |it: &&Object| Some(it.txids.max) <= floor || is_replaced(inventory, it);
    expired.objects.extend(inventory.all_damaged().iter().filter(passed));
    for level in Level::all().filter(|level| *level != Level::SNAPSHOT) {
        let kept = retention.levels.get(usize::from(level.get())).copied().flatten();
        expire_level(inventory, level, floor, kept, now.instant, &mut expired);
    }
    // Newest first, and what is built on last: if that is cut off, all that is left can be restored.
    expired.objects.sort_unstable_by_key(|it| (Reverse(it.txids.max), it.level));
    expired
}

/// The end of the newest snapshot that is older than the retention.
fn floor(
    inventory: &Inventory,
    retention: &Retention,
    now: Moment,
    expired: &mut Expired,
) -> Option<Txid> {
    let grace = retention.snapshots.min(GRACE);
    let mut floor = None;
    let mut snapshots: Vec<&Entry> = inventory.level(Level::SNAPSHOT).iter().collect();
    snapshots.sort_unstable_by_key(|entry| entry.object.txids.max);
    for Entry { object, since } in &snapshots {
        let left = retention.snapshots.saturating_sub(age(object.created, now.time));
        let left = left.max((*since + grace).saturating_duration_since(now.instant));
        if left.is_zero() {
            floor = floor.max(Some(object.txids.max));
        } else {
            expired.look_at(now.instant + left);
        }
    }
    floor
}

/// From the oldest file on, up to the first that is not held elsewhere for long enough.
fn expire_level(
    inventory: &Inventory,
    level: Level,
    floor: Option<Txid>,
    kept: Option<Duration>,
    now: Instant,
    expired: &mut Expired,
) {
    let newest = inventory.last(level);
    for Entry { object, .. } in inventory.level(level) {
        if Some(object.txids.max) == newest {
            return;
        }
        if Some(object.txids.max) <= floor {
            expired.objects.push(*object);
            continue;
        }
        let Some(gone) = kept.zip(held_since(inventory, object)).map(|(kept, it)| it + kept) else {
            return;
        };
        if gone > now {
            return expired.look_at(gone);
        }
        expired.objects.push(*object);
    }
}

/// Whether a file of its level holds all of a damaged one.
fn is_replaced(inventory: &Inventory, damaged: &Object) -> bool {
    let mut beside = inventory.level(damaged.level).iter();
    damaged.level != Level::SNAPSHOT && beside.any(|entry| entry.object.txids.holds(damaged.txids))
}

/// Since when another file makes this one superfluous: one of the next level that holds it, or
/// for a whole database a snapshot of the same moment.
fn held_since(inventory: &Inventory, object: &Object) -> Option<Instant> {
    let txids = object.txids;
    let snapshots = inventory.level(Level::SNAPSHOT).iter();
    let same = snapshots.filter(|entry| entry.object.txids == txids).map(|entry| entry.since).min();
    let above = || {
        let level = Level::new(object.level.get() + 1).filter(|it| *it != Level::SNAPSHOT)?;
        let entries = inventory.level(level);
        let at = entries.partition_point(|entry| entry.object.txids.min <= txids.min);
        let holder = entries[..at].last().filter(|entry| entry.object.txids.max >= txids.max);
        holder.map(|entry| entry.since)
    };
    same.or_else(above)
}

/// How the files of level 0 stand.
pub(crate) fn level_0(inventory: &Inventory, retention: &Retention, now: Instant) -> Level0 {
    let kept = retention.levels.first().copied().flatten().filter(|_| retention.enabled);
    let mut counts = Level0::default();
    for Entry { object, .. } in inventory.level(Level::L0) {
        match (held_since(inventory, object), kept) {
            (None, _) => counts.not_compacted += 1,
            (Some(since), Some(kept)) if since + kept <= now => counts.eligible += 1,
            (Some(_), _) => counts.too_recent += 1,
        }
    }
    counts
}

/// How old an object is by the clock on the wall; nothing if it seems to come from the future.
pub(crate) fn age(created: Timestamp, now: SystemTime) -> Duration {
    now.duration_since(created.to_system_time()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
