use std::collections::BTreeMap;

use ltx::TxidRange;
use proptest::prelude::*;

use super::*;
use crate::compaction::{self, Due};
use crate::inventory::tests::{object, objects};
use crate::restore::{self, Target};
use crate::snapshot;

/// Most seconds between two looks at a replica.
const MAX_STEP: u64 = 40;
const HOUR: Duration = Duration::from_secs(3600);

fn retention() -> Retention {
    Retention { snapshots: HOUR, ..Retention::default() }
}

/// A moment so many seconds after the first.
fn at(start: Instant, seconds: u64) -> Moment {
    let later = Duration::from_secs(seconds);
    Moment { instant: start + later, time: SystemTime::UNIX_EPOCH + later }
}

/// What goes `seconds` after all of these were listed.
fn expired(named: &[(u8, u64, u64)], seconds: u64) -> Vec<Object> {
    let start = Instant::now();
    let inventory = Inventory::listed(&objects(named), start);
    plan(&inventory, &retention(), at(start, seconds)).objects
}

#[test]
fn captured_files_go_some_time_after_they_were_compacted() {
    let listed = [(0, 2, 2), (0, 3, 3), (0, 4, 4), (1, 2, 3)];
    assert_eq!(expired(&listed, 299), []);
    // The newest first: what is left if that is cut off can be restored.
    assert_eq!(expired(&listed, 300), objects(&[listed[1], listed[0]]));
}

#[test]
fn the_newest_of_a_level_stays() {
    assert_eq!(expired(&[(0, 2, 2), (0, 3, 3), (1, 2, 3)], 999), objects(&[(0, 2, 2)]));
}

#[test]
fn no_hole_is_made() {
    assert_eq!(expired(&[(0, 2, 2), (0, 3, 3), (0, 4, 4), (1, 3, 4)], 999), []);
}

#[test]
fn a7_the_snapshot_that_the_retention_begins_in_stays() {
    let listed = [(0, 5000, 5000), (1, 2, 50), (1, 51, 120), (9, 1, 10), (9, 1, 60), (9, 1, 4000)];
    let gone = [(1, 2, 50), (9, 1, 10)];
    assert_eq!(expired(&listed, HOUR.as_secs() + 100), objects(&gone));
}

#[test]
fn a_file_from_the_future_is_not_old() {
    assert_eq!(expired(&[(9, 1, 10), (9, 1, 9_999_999)], 8000), []);
}

#[test]
fn what_is_damaged_goes_once_nobody_could_miss_it() {
    let listed = [(0, 12, 12), (1, 2, 9), (2, 2, 9), (2, 10, 11), (9, 1, 1), (9, 1, 10)];
    let goes = |(level, min, max), seconds, beside: &[(u8, u64, u64)]| {
        let (start, harmed) = (Instant::now(), object(level, min, max));
        let there = objects(&[&listed[..], beside].concat());
        let mut inventory = Inventory::listed(&there, start);
        inventory.damaged(&harmed);
        plan(&inventory, &retention(), at(start, seconds)).objects.contains(&harmed)
    };
    assert!(!goes((2, 10, 11), 0, &[]), "it may be readable again one day");
    assert!(!goes((2, 10, 11), 0, &[(2, 10, 10)]), "that is not all of it");
    assert!(goes((2, 10, 11), 0, &[(2, 10, 12)]), "a file of its level holds it");
    let expired = HOUR.as_secs() + 100;
    assert!(goes((1, 2, 9), expired, &[]), "no restore needs it any more");
    assert!(!goes((9, 1, 10), expired, &[]), "what is older has no snapshot but this");
    assert!(goes((9, 1, 10), expired, &[(9, 1, 20)]));
}

#[test]
fn nothing_goes_if_nothing_may() {
    let start = Instant::now();
    let listed = objects(&[(0, 2, 2), (0, 3, 3), (1, 2, 3), (9, 1, 1), (9, 1, 2)]);
    let never = Retention { enabled: false, ..retention() };
    let planned = plan(&Inventory::listed(&listed, start), &never, at(start, 1 << 20));
    assert_eq!(planned, Expired::default());
}

/// A replica on a clock of its own.
struct Replica {
    start: Instant,
    now: u64,
    last: u64,
    inventory: Inventory,
    /// When each transaction was captured.
    history: BTreeMap<u64, u64>,
}

impl Replica {
    const LEVELS: [u64; 3] = [30, 300, 1800];

    fn new() -> Replica {
        let (inventory, history) = (Inventory::default(), BTreeMap::new());
        let mut replica = Replica { start: Instant::now(), now: 0, last: 0, inventory, history };
        replica.capture();
        replica
    }

    fn moment(&self) -> Moment {
        at(self.start, self.now)
    }

    fn store(&mut self, level: u8, min: u64, max: u64) {
        let created = Timestamp::from_millis(self.history[&max] as i64 * 1000);
        let object = Object { created, ..object(level, min, max) };
        self.inventory.add(object, self.moment().instant);
    }

    fn capture(&mut self) {
        self.last += 1;
        self.history.insert(self.last, self.now);
        self.store(0, self.last, self.last);
    }

    fn keep(&mut self) {
        for (level, interval) in (1u8..).zip(Self::LEVELS) {
            let (number, interval) = (Level::new(level).unwrap(), Duration::from_secs(interval));
            let now = self.moment().instant;
            while let Due::Now(sources) = compaction::plan(&self.inventory, number, interval, now) {
                let TxidRange { min, .. } = sources[0].txids;
                let TxidRange { max, .. } = sources.last().unwrap().txids;
                self.store(level, min.get(), max.get());
            }
        }
        let due = snapshot::due(&self.inventory, HOUR / 2, self.moment());
        if due.is_some_and(|due| due <= self.moment().instant) {
            self.store(9, 1, self.last);
        }
        let expired = plan(&self.inventory, &retention(), self.moment());
        for object in expired.objects {
            self.inventory.remove(object.level, object.txids);
        }
    }

    /// The newest state can be restored, and so can a state near every moment of the retention.
    fn check(&self) {
        let objects: Vec<Object> = self.inventory.objects().copied().collect();
        let latest = restore::plan(&objects, Target::Latest).expect("the newest state");
        assert_eq!(latest.txid().get(), self.last);
        for back in [0, 60, 600, HOUR.as_secs()] {
            let Some(then) = self.now.checked_sub(back) else { break };
            let target = Target::Timestamp(Timestamp::from_millis(then as i64 * 1000));
            let plan = restore::plan(&objects, target).expect("a state of that time");
            let made = |txid: u64| self.history.get(&txid).copied();
            let (found, next) = (plan.txid().get(), made(plan.txid().get() + 1));
            assert!(made(found).unwrap() <= then, "{back} s back");
            // What stood for less than a minute may be gone after five: then it is a state that
            // was replaced shortly before.
            let coarse = if back <= 300 { 0 } else { 60 + MAX_STEP };
            assert!(next.is_none_or(|next| next + coarse > then), "{back} s back: {found}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_moment_of_the_retention_stays_restorable(
        steps in prop::collection::vec((1..MAX_STEP, 0u8..3), 100..600)
    ) {
        let mut replica = Replica::new();
        for (seconds, commits) in steps {
            replica.now += seconds;
            (0..commits).for_each(|_| replica.capture());
            replica.keep();
            replica.check();
        }
        prop_assert!(replica.inventory.objects().count() < 600, "{:?}", replica.inventory);
    }
}
