//! Which files of a level become one file of the next: a pure decision over an inventory.
//!
//! A file that stood alone for as long as its level's interval stays where it is until another
//! follows it: moving it up would only store it once more. Above level 1, where nothing but the
//! number of files is to be gained, it takes some more. Whole databases are never moved up; they
//! are what snapshots are for.

use std::time::{Duration, Instant};

use ltx::{Level, Txid};
use storage::Object;

use crate::inventory::{Entry, Inventory};

/// Most files that one compaction reads: each costs memory while it is open.
const MAX_SOURCES: usize = 256;
/// A state that stood this long before the next commit stays a state of its own on level 1, so
/// that it can be restored as long as that level is kept.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);
/// Fewest files that go to level 1.
const MIN_SOURCES: usize = 2;
/// Fewest files that go to a higher level.
const MIN_COMPACTED: usize = 8;

/// When to compact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// These files, oldest first.
    Now(Vec<Object>),
    /// Not before this moment, if no more files come.
    At(Instant),
    /// Only after another file has come.
    Later,
}

impl Due {
    /// When to look again, though nothing comes.
    pub(crate) fn moment(&self) -> Option<Instant> {
        match self {
            Due::At(moment) => Some(*moment),
            Due::Now(_) | Due::Later => None,
        }
    }
}

/// Plans the next file of `level` from the level below it.
pub(crate) fn plan(inventory: &Inventory, level: Level, interval: Duration, now: Instant) -> Due {
    let batch = Batch::gather(inventory, level);
    let Some(first) = batch.entries.first() else { return Due::Later };
    let due = first.since + interval;
    let enough = if level.get() == 1 { MIN_SOURCES } else { MIN_COMPACTED };
    match batch.entries.len() {
        few if few < enough && !batch.is_closed => Due::Later,
        len if len == MAX_SOURCES || due <= now => Due::Now(batch.objects()),
        _ => Due::At(due),
    }
}

/// The first transaction of a level that the level above does not hold yet.
pub(crate) fn next(inventory: &Inventory, level: Level) -> Option<Txid> {
    let above = Level::new(level.get() + 1).and_then(|above| inventory.last(above));
    let mut waiting = inventory.level(level).iter().map(|entry| entry.object.txids);
    let first = waiting.find(|txids| txids.min != Txid::FIRST && Some(txids.max) > above);
    first.map(|txids| txids.min)
}

/// Files of a level that continue each other.
#[derive(Default)]
struct Batch<'a> {
    entries: Vec<&'a Entry>,
    /// Nothing will follow the last one: the next file begins behind a hole.
    is_closed: bool,
}

impl<'a> Batch<'a> {
    /// The files below `level` that it does not cover yet, up to the first hole.
    fn gather(inventory: &'a Inventory, level: Level) -> Batch<'a> {
        let mut batch = Batch::default();
        let Some(below) = level.get().checked_sub(1).and_then(Level::new) else { return batch };
        let covered = inventory.last(level);
        let range = |entry: &Entry| entry.object.txids;
        let is_open =
            |entry: &&Entry| range(entry).min != Txid::FIRST && Some(range(entry).max) > covered;
        let mut ahead = inventory.level(below).iter().filter(is_open).peekable();
        let Some(first) = ahead.peek().map(|entry| range(entry).min) else { return batch };
        let mut wanted = match covered.map(Txid::next) {
            Some(next) if first <= next => next,
            Some(_) if !is_bridged(inventory, first) => return batch,
            _ => first,
        };
        while batch.entries.len() < MAX_SOURCES {
            let mut furthest: Option<&Entry> = None;
            if below == Level::L0 && batch.ends_in_pause(ahead.peek().copied()) {
                break;
            }
            while let Some(entry) = ahead.next_if(|entry| range(entry).min <= wanted) {
                if range(entry).max >= furthest.map_or(wanted, |best| range(best).max.next()) {
                    furthest = Some(entry);
                }
            }
            let Some(furthest) = furthest else { break };
            batch.entries.push(furthest);
            wanted = range(furthest).max.next();
        }
        batch.is_closed = ahead.peek().is_some();
        batch
    }

    /// Whether nothing came for a while after the last file.
    fn ends_in_pause(&self, next: Option<&Entry>) -> bool {
        let created = |entry: &Entry| entry.object.created.as_millis();
        let stood = |(last, next): (&&Entry, &Entry)| created(next).saturating_sub(created(last));
        let stood = self.entries.last().zip(next).map(stood);
        stood.is_some_and(|stood| i128::from(stood) >= PAUSE.as_millis() as i128)
    }

    fn objects(&self) -> Vec<Object> {
        self.entries.iter().map(|entry| entry.object).collect()
    }
}

/// Whether restores get over a hole that ends before `first`.
fn is_bridged(inventory: &Inventory, first: Txid) -> bool {
    inventory.newest_snapshot().is_some_and(|entry| entry.object.txids.max.next() >= first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::{object, objects};

    const INTERVAL: Duration = Duration::from_secs(30);

    fn planned(now: Instant, listed: &[(u8, u64, u64)], level: u8, waited: u64) -> Due {
        let inventory = Inventory::listed(&objects(listed), now);
        let level = Level::new(level).unwrap();
        plan(&inventory, level, INTERVAL, now + Duration::from_secs(waited))
    }

    fn sources(of: &[(u8, u64, u64)]) -> Due {
        Due::Now(objects(of))
    }

    #[test]
    fn files_move_up_when_the_oldest_has_stood_long_enough() {
        let (now, listed) = (Instant::now(), [(0, 2, 2), (0, 3, 3)]);
        assert_eq!(planned(now, &listed, 1, 29), Due::At(now + INTERVAL));
        assert_eq!(planned(now, &listed, 1, 30), sources(&listed));
    }

    #[test]
    fn what_would_only_be_stored_once_more_stays() {
        let now = Instant::now();
        assert_eq!(planned(now, &[(0, 1, 1), (9, 1, 1)], 1, 99), Due::Later);
        assert_eq!(planned(now, &[(0, 1, 1), (0, 2, 2)], 1, 99), Due::Later);
        assert_eq!(planned(now, &[(1, 2, 9), (2, 2, 9)], 2, 99), Due::Later);
        let few: Vec<_> = (2..9).map(|n| (1, n, n)).collect();
        assert_eq!(planned(now, &few, 2, 99), Due::Later);
        let enough: Vec<_> = (2..10).map(|n| (1, n, n)).collect();
        assert_eq!(planned(now, &enough, 2, 99), sources(&enough));
    }

    #[test]
    fn a_state_that_stood_for_long_ends_a_file() {
        let listed = [(0, 2, 2), (0, 3, 3), (0, 90, 90), (0, 91, 91)];
        let mut listed = objects(&listed);
        for (number, object) in (2..).zip(&mut listed) {
            object.txids = crate::inventory::tests::object(0, number, number).txids;
        }
        let inventory = Inventory::listed(&listed, Instant::now());
        let due = plan(&inventory, Level::new(1).unwrap(), Duration::ZERO, Instant::now());
        assert_eq!(due, Due::Now(listed[..2].to_vec()));
    }

    #[test]
    fn what_the_level_above_holds_does_not_move_again() {
        let listed = [(0, 2, 2), (0, 3, 3), (0, 4, 4), (0, 5, 5), (1, 2, 3)];
        assert_eq!(planned(Instant::now(), &listed, 1, 30), sources(&listed[2..4]));
    }

    #[test]
    fn overlapping_files_are_taken_as_far_as_they_reach() {
        let listed = [(0, 2, 5), (0, 2, 9), (0, 6, 9), (0, 8, 12)];
        let taken = [(0, 2, 9), (0, 8, 12)];
        assert_eq!(planned(Instant::now(), &listed, 1, 30), sources(&taken));
    }

    #[test]
    fn a_hole_ends_a_file_and_is_passed_only_under_a_snapshot() {
        let now = Instant::now();
        let before = [(0, 2, 2), (0, 5, 5), (0, 6, 6)];
        assert_eq!(planned(now, &before, 1, 30), sources(&before[..1]));
        let after = [(0, 2, 2), (0, 5, 5), (0, 6, 6), (1, 2, 2)];
        assert_eq!(planned(now, &after, 1, 30), Due::Later);
        let bridged = [(0, 2, 2), (0, 5, 5), (0, 6, 6), (1, 2, 2), (9, 1, 4)];
        assert_eq!(planned(now, &bridged, 1, 30), sources(&bridged[1..3]));
    }

    #[test]
    fn a_burst_is_cut_into_files_of_so_many_sources() {
        let now = Instant::now();
        let burst: Vec<Object> = (2..1000).map(|n| object(0, n, n)).collect();
        let inventory = Inventory::listed(&burst, now);
        let due = plan(&inventory, Level::new(1).unwrap(), INTERVAL, now);
        assert_eq!(due, Due::Now(burst[..MAX_SOURCES].to_vec()));
    }
}
