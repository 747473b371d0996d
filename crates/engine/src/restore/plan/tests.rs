//! The planner against hand-made replicas, and against a model that tries everything.

use std::collections::BTreeSet;

use ltx::{Level, TxidRange};
use proptest::prelude::*;

use super::*;

fn txid(number: u64) -> Txid {
    Txid::new(number).expect("a TXID is at least 1")
}

/// A file made at `max` seconds.
fn file(level: usize, min: u64, max: u64) -> Object {
    made_at(level, min, max, max)
}

fn made_at(level: usize, min: u64, max: u64, seconds: u64) -> Object {
    let level = Level::all().nth(level).expect("a level is 0 to 9");
    let created = moment(seconds);
    Object { level, txids: TxidRange { min: txid(min), max: txid(max) }, size: 1000, created }
}

fn moment(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds as i64 * 1000)
}

fn ranges(plan: &Plan) -> Vec<(u64, u64)> {
    plan.files().iter().map(|file| (file.txids.min.get(), file.txids.max.get())).collect()
}

fn latest_ranges(objects: &[Object]) -> Vec<(u64, u64)> {
    ranges(&plan(objects, Target::Latest).expect("plan"))
}

#[test]
fn the_newest_snapshot_then_what_reaches_furthest() {
    let objects = [
        file(9, 1, 5),
        file(9, 1, 9),
        file(2, 1, 8),
        file(1, 7, 10),
        file(0, 10, 10),
        file(0, 11, 11),
        file(1, 9, 11),
        file(0, 12, 12),
    ];
    assert_eq!(latest_ranges(&objects), [(1, 9), (9, 11), (12, 12)]);
}

#[test]
fn no_snapshot_is_needed_where_a_level_begins_at_one() {
    let objects = [file(0, 1, 1), file(0, 2, 2), file(1, 1, 2), file(0, 3, 3)];
    assert_eq!(latest_ranges(&objects), [(1, 2), (3, 3)]);
}

#[test]
fn a48_a_moment_is_found_by_few_looks() {
    let objects: Vec<Object> = (1..=10_000).map(|at| file(0, at, at)).collect();
    let mut looks = 0;
    let found = at_moment(&objects, moment(4_321), |file| {
        looks += 1;
        Ok::<_, Infallible>(file.created)
    });
    let Ok(found) = found;
    assert_eq!(found, Ok(txid(4_321)));
    assert!(looks <= 14, "{looks} looks at 10,000 files");
}

#[test]
fn a_copy_goes_on_by_what_leads_to_the_newest() {
    let objects = [file(9, 1, 9), file(1, 3, 6), file(0, 7, 7), file(0, 8, 8), file(0, 9, 9)];
    let ranges = |after| -> Vec<(u64, u64)> {
        match onward(&objects, txid(after)) {
            Onward::Files(files) => {
                files.iter().map(|file| (file.txids.min.get(), file.txids.max.get())).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    let expected = [(3, 6), (7, 7), (8, 8), (9, 9)];
    assert_eq!(ranges(4), expected);
    assert_eq!(ranges(2), expected);
    assert_eq!(ranges(8), [(9, 9)]);
    assert_eq!(onward(&objects, txid(9)), Onward::Nothing);
    assert_eq!(onward(&objects, txid(10)), Onward::Ahead);
    assert_eq!(onward(&objects, txid(1)), Onward::Broken, "a snapshot is no way on");
    assert_eq!(onward(&[], txid(1)), Onward::Broken);
}

#[test]
fn an_empty_replica_is_no_backup() {
    assert_eq!(plan(&[], Target::Latest), Err(PlanError::Empty));
    assert_eq!(plan(&[], Target::Txid(txid(1))), Err(PlanError::Empty));
    assert_eq!(plan(&[], Target::Timestamp(moment(1))), Err(PlanError::Empty));
}

#[test]
fn a_gap_is_an_error_that_names_the_missing_range() {
    let objects = [file(9, 1, 4), file(0, 5, 5), file(0, 8, 8), file(0, 9, 9)];
    let gap = PlanError::Gap {
        first: txid(6),
        last: txid(7),
        before: Some(txid(5)),
        next: file(0, 8, 8),
    };
    assert_eq!(plan(&objects, Target::Latest), Err(gap.clone()));
    assert_eq!(plan(&objects, Target::Txid(txid(9))), Err(gap.clone()));
    assert_eq!(plan(&objects, Target::Txid(txid(6))), Err(gap.clone()));
    assert_eq!(plan(&objects, Target::Timestamp(moment(9))), Err(gap.clone()));
    assert_eq!(
        gap.to_string(),
        "transactions 0000000000000006 to 0000000000000007 are missing from the replica, \
         ltx/0/0000000000000008-0000000000000008.ltx cannot be reached without them; the nearest \
         restorable is 0000000000000005"
    );
    let reached = plan(&objects, Target::Txid(txid(5))).expect("before the gap");
    assert_eq!(ranges(&reached), [(1, 4), (5, 5)]);
    let reached = plan(&objects, Target::Timestamp(moment(5))).expect("before the gap");
    assert_eq!(reached.txid(), txid(5));
}

#[test]
fn without_a_whole_database_the_gap_begins_at_one() {
    let objects = [file(0, 3, 3), file(0, 4, 4)];
    for target in [Target::Latest, Target::Txid(txid(4)), Target::Timestamp(moment(4))] {
        let error = plan(&objects, target).expect_err("no start");
        let PlanError::Gap { first, last, before, .. } = error else { panic!("{error}") };
        assert_eq!((first, last, before), (txid(1), txid(2), None));
    }
}

#[test]
fn a_transaction_inside_a_compacted_file_names_its_neighbours() {
    let objects = [file(9, 1, 4), file(1, 5, 9), file(0, 10, 10)];
    let error = plan(&objects, Target::Txid(txid(7))).expect_err("inside");
    let PlanError::InsideFile { object, before, after, .. } = error else { panic!("{error}") };
    assert_eq!((object, before, after), (objects[1], Some(txid(4)), Some(txid(9))));

    let error = plan(&objects, Target::Txid(txid(2))).expect_err("inside the snapshot");
    let PlanError::InsideFile { before, after, .. } = error else { panic!("{error}") };
    assert_eq!((before, after), (None, Some(txid(4))));

    let error = plan(&objects, Target::Txid(txid(11))).expect_err("not there");
    assert_eq!(error, PlanError::TooNew { txid: txid(11), newest: txid(10) });
}

#[test]
fn a_moment_means_the_last_state_at_or_before_it() {
    let objects = [made_at(9, 1, 2, 25), file(0, 1, 1), file(0, 2, 2), made_at(0, 3, 3, 30)];
    let at = |seconds| plan(&objects, Target::Timestamp(moment(seconds)));
    assert_eq!(at(1).expect("exactly then").txid(), txid(1));
    assert_eq!(at(24).expect("between").txid(), txid(2));
    assert_eq!(at(29).expect("between").txid(), txid(2));
    assert_eq!(at(30).expect("exactly then").txid(), txid(3));
    assert_eq!(at(1000).expect("after the last write").txid(), txid(3));
    let before = PlanError::BeforeFirst { moment: moment(0), first: moment(1), last: moment(30) };
    assert_eq!(at(0), Err(before));
}

#[test]
fn a_clock_set_back_ends_the_chain_instead_of_tearing_it() {
    let objects = [made_at(0, 1, 1, 10), made_at(0, 2, 2, 20), made_at(0, 3, 3, 11)];
    let at = |seconds| plan(&objects, Target::Timestamp(moment(seconds))).expect("plan").txid();
    assert_eq!(at(10), txid(1));
    assert_eq!(at(15), txid(1));
    assert_eq!(at(20), txid(3));
}

#[test]
fn a_file_shorter_than_a_header_is_named() {
    let mut objects = [file(0, 1, 1), file(0, 2, 2)];
    objects[1].size = 99;
    let error = plan(&objects, Target::Latest).expect_err("short");
    assert_eq!(error, PlanError::TooShort { object: objects[1] });
    plan(&objects, Target::Txid(txid(1))).expect("the short file is not needed");
}

/// Every transaction at which some chain of files ends: tries everything until nothing is new.
fn model(objects: &[Object]) -> BTreeSet<u64> {
    let mut ends = BTreeSet::from([0]);
    loop {
        let before = ends.len();
        for file in objects {
            let (min, max) = (file.txids.min.get(), file.txids.max.get());
            if ends.iter().any(|end| min <= end + 1 && max > *end) {
                ends.insert(max);
            }
        }
        if ends.len() == before {
            ends.remove(&0);
            return ends;
        }
    }
}

fn is_sound(plan: &Plan) -> bool {
    let mut end = 0;
    plan.files().iter().all(|file| {
        let joins = file.txids.min.get() <= end + 1 && file.txids.max.get() > end;
        end = file.txids.max.get();
        joins
    })
}

fn some_objects() -> impl Strategy<Value = Vec<Object>> {
    let any = (0..10_usize, 1..14_u64, 0..6_u64, 0..14_u64).prop_map(|(level, min, more, at)| {
        let min = if level == 9 { 1 } else { min };
        made_at(level, min, min + more, at)
    });
    proptest::collection::vec(any, 0..14)
}

proptest! {
    #[test]
    fn every_transaction_is_restorable_just_where_the_model_says(objects in some_objects()) {
        let ends = model(&objects);
        for number in 1..20 {
            match plan(&objects, Target::Txid(txid(number))) {
                Ok(plan) => {
                    prop_assert!(ends.contains(&number) && is_sound(&plan));
                    prop_assert_eq!(plan.txid(), txid(number));
                }
                Err(error) => {
                    prop_assert!(!ends.contains(&number), "{}", error);
                    if let PlanError::InsideFile { before, after, .. } = error {
                        let below = ends.range(..number).next_back().map(|end| txid(*end));
                        let above = ends.range(number..).next().map(|end| txid(*end));
                        prop_assert_eq!((before, after), (below, above));
                    }
                }
            }
        }
    }

    #[test]
    fn latest_is_the_newest_or_a_gap(objects in some_objects()) {
        let newest = objects.iter().map(|file| file.txids.max.get()).max();
        let end = model(&objects).last().copied();
        match plan(&objects, Target::Latest) {
            Ok(plan) => {
                prop_assert!(is_sound(&plan));
                prop_assert_eq!(Some(plan.txid().get()), newest);
            }
            Err(PlanError::Empty) => prop_assert!(objects.is_empty()),
            Err(PlanError::Gap { first, last, before, .. }) => {
                prop_assert_eq!(before.map(Txid::get), end);
                let held = |file: &Object| file.txids.min <= last && file.txids.max >= first;
                prop_assert!(first <= last && !objects.iter().any(held));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_moment_gives_a_state_that_the_next_one_is_too_new_for(
        objects in some_objects(),
        seconds in 0..15_u64,
    ) {
        let states = states(&objects);
        prop_assert!(states.iter().map(|it| it.txids.max.get()).eq(model(&objects)));
        let fits = |state: &Object| state.created <= moment(seconds);
        if let Ok(plan) = plan(&objects, Target::Timestamp(moment(seconds))) {
            prop_assert!(is_sound(&plan));
            let at = states.iter().position(|it| it.txids.max == plan.txid());
            let at = at.expect("one of the states");
            prop_assert!(fits(&states[at]) && !states.get(at + 1).is_some_and(fits));
        } else if states.is_sorted_by_key(|state| state.created) && states.iter().any(fits) {
            let end = states.iter().rfind(|state| fits(state)).map(|state| state.txids.max);
            let beyond = objects.iter().any(|file| fits(file) && Some(file.txids.max) > end);
            prop_assert!(beyond, "only a gap stops a moment that has a state");
        }
    }

    #[test]
    fn a_moment_is_found_with_few_looks(count in 1..5000_u64, at in 0..5000_u64) {
        let objects: Vec<Object> = (1..=count).map(|n| file(0, n, n)).collect();
        let mut looks = 0;
        let found = at_moment(&objects, moment(at + 1), |file| {
            looks += 1;
            Ok::<_, Infallible>(file.created)
        });
        let Ok(found) = found;
        prop_assert_eq!(found, Ok(txid(count.min(at + 1))));
        prop_assert!(looks <= 14);
    }
}
