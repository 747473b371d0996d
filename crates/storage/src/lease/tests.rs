use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::FileStorage;

/// Short enough to be waited for, and long enough that a busy disk does not end it.
const SHORT: Duration = Duration::from_secs(2);
/// Its renewals are waited for.
const RENEWED: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(60);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a directory"))
    }

    fn lease(&self, time: Duration) -> Arc<Lease> {
        self.lease_of("w", time)
    }

    fn lease_of(&self, writer: &str, time: Duration) -> Arc<Lease> {
        let storage = Arc::new(FileStorage::new(self.0.path().join("replica")));
        Arc::new(Lease::new(storage, time, writer.to_owned(), || ()))
    }
}

fn acquire(lease: &Lease) -> Result<()> {
    lease.acquire(&AtomicBool::new(false))
}

#[test]
fn a_lease_that_is_given_back_is_free_at_once() {
    let place = Place::new();
    let first = place.lease(LONG);
    acquire(&first).expect("free");
    first.check().expect("ours");
    drop(first);
    let second = place.lease(LONG);
    let began = Instant::now();
    acquire(&second).expect("free again");
    assert!(began.elapsed() < LONG / 10);
}

#[test]
fn a_lease_that_is_renewed_is_refused_to_others() {
    let place = Place::new();
    let (first, second) = (place.lease(RENEWED), place.lease(RENEWED));
    acquire(&first).expect("free");
    first.keep(false).expect("a thread");
    let error = acquire(&second).expect_err("taken").to_string();
    assert!(error.contains(&process::owner()), "{error}");
    assert!(second.is_lost());
    second.check().expect_err("not ours");
    first.check().expect("ours all the while");
}

#[test]
fn a_lease_that_nobody_renews_is_taken_over_and_its_owner_told() {
    let place = Place::new();
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let storage = Arc::new(FileStorage::new(place.0.path().join("replica")));
    let told = || {
        TOLD.fetch_add(1, Ordering::SeqCst);
    };
    let first = Lease::new(storage, SHORT, "w".to_owned(), told);
    acquire(&first).expect("free");
    let began = Instant::now();
    let second = place.lease(SHORT);
    acquire(&second).expect("it has run out");
    assert!(began.elapsed() >= SHORT, "it was waited for");
    first.check().expect_err("it had run out before another came");
    assert!(!first.is_lost());
    first.renew();
    assert!(first.is_lost());
    assert_eq!(TOLD.load(Ordering::SeqCst), 1);
    first.renew();
    assert_eq!(TOLD.load(Ordering::SeqCst), 1);
    second.check().expect("ours");
}

/// Its clock may be years behind, and it may be about to renew it.
#[test]
fn a_lease_that_ran_out_by_another_machines_clock_is_waited_for_by_ours() {
    let place = Place::new();
    let lease = place.lease(SHORT);
    let long_ago =
        br#"{"generation":7,"expires_at":"2001-01-01T00:00:00Z","owner":"db1:42","milliseconds":1}"#;
    lease.storage.put_if(layout::LEASE, long_ago, &Condition::Absent).expect("written");
    let began = Instant::now();
    acquire(&lease).expect("nobody renews it");
    assert!(began.elapsed() >= SHORT, "it was waited for");
}

#[test]
fn one_that_ran_out_is_ours_again_if_nobody_took_it() {
    let place = Place::new();
    let lease = place.lease(SHORT);
    acquire(&lease).expect("free");
    while lease.check().is_ok() {
        thread::yield_now();
    }
    assert!(!lease.is_lost());
    lease.renew();
    lease.check().expect("ours again");
}

#[test]
fn a_renewal_whose_answer_was_lost_is_still_ours() {
    let place = Place::new();
    let lease = place.lease(LONG);
    acquire(&lease).expect("free");
    // As a request that arrived without our hearing of it.
    let (body, version) = lease.storage.get_versioned(layout::LEASE).expect("a lease");
    let mut record = Record::parse(&body);
    record.generation += 1;
    let condition = Condition::Unchanged(version);
    lease.storage.put_if(layout::LEASE, &record.to_json(), &condition).expect("written");
    lease.renew();
    assert!(!lease.is_lost());
    lease.renew();
    lease.check().expect("ours");
}

#[test]
fn of_two_that_come_at_once_one_gets_it() {
    let place = Place::new();
    let leases: Vec<_> = (0..8).map(|_| place.lease(RENEWED)).collect();
    let won: u32 = thread::scope(|scope| {
        let racing: Vec<_> = leases
            .iter()
            .map(|lease| {
                scope.spawn(move || {
                    let won = acquire(lease).is_ok();
                    if won {
                        lease.keep(false).expect("a thread");
                    }
                    u32::from(won)
                })
            })
            .collect();
        racing.into_iter().map(|it| it.join().expect("no panic")).sum()
    });
    assert_eq!(won, 1);
}

#[test]
fn conditions_are_found_kept_by_many_that_try_them_at_once() {
    let place = Place::new();
    let storage = FileStorage::new(place.0.path().join("replica"));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(storage.keeps_conditions().expect("no quarrel"));
                }
            });
        }
    });
    assert_eq!(storage.unknown().expect("a list"), [""; 0]);
    let left: Vec<_> = std::fs::read_dir(place.0.path().join("replica")).expect("it").collect();
    assert_eq!(left.len(), 1, "the lock alone: {left:?}");
}

#[test]
fn a_storage_without_conditions_has_no_leases() {
    #[derive(Debug)]
    struct Careless(FileStorage);
    impl Storage for Careless {
        fn url(&self) -> String {
            self.0.url()
        }
        fn list(&self, level: ltx::Level, from: ltx::Txid) -> Result<Vec<crate::Object>> {
            self.0.list(level, from)
        }
        fn read_at(
            &self,
            level: ltx::Level,
            txids: ltx::TxidRange,
            offset: u64,
            buf: &mut [u8],
        ) -> Result<()> {
            self.0.read_at(level, txids, offset, buf)
        }
        fn open(
            &self,
            level: ltx::Level,
            txids: ltx::TxidRange,
            offset: u64,
        ) -> Result<Box<dyn std::io::Read + Send>> {
            self.0.open(level, txids, offset)
        }
        fn create(
            &self,
            level: ltx::Level,
            txids: ltx::TxidRange,
            created: ltx::Timestamp,
        ) -> Result<Box<dyn crate::Upload>> {
            self.0.create(level, txids, created)
        }
        fn delete(&self, objects: &[(ltx::Level, ltx::TxidRange)]) -> Result<()> {
            self.0.delete(objects)
        }
        fn put_if(&self, key: &str, body: &[u8], _: &Condition) -> Result<Version> {
            self.0.remove_key(key)?;
            self.0.put_if(key, body, &Condition::Absent)
        }
        fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
            self.0.get_versioned(key)
        }
        fn remove_key(&self, key: &str) -> Result<()> {
            self.0.remove_key(key)
        }
        fn unknown(&self) -> Result<Vec<String>> {
            self.0.unknown()
        }
    }
    let place = Place::new();
    let storage = Careless(FileStorage::new(place.0.path().join("replica")));
    let lease = Lease::new(Arc::new(storage), LONG, "w".to_owned(), || ());
    let error = acquire(&lease).expect_err("no conditions");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn one_that_is_only_kept_is_sought_at_once() {
    let place = Place::new();
    let lease = place.lease(LONG);
    lease.keep(true).expect("a thread");
    let began = Instant::now();
    while lease.check().is_err() {
        assert!(began.elapsed() < LONG / RENEWALS, "it took as long as a renewal");
        thread::yield_now();
    }
}

#[test]
fn nothing_is_held_up_by_a_renewal() {
    let place = Place::new();
    let lease = place.lease(LONG);
    acquire(&lease).expect("free");
    let renewal = lease.one_change();
    let (checked, answer) = std::sync::mpsc::channel();
    let writing = Arc::clone(&lease);
    let writer = thread::spawn(move || checked.send(writing.check_to_write()));
    answer.recv_timeout(RENEWED).expect("it does not wait").expect("ours");
    drop(renewal);
    writer.join().expect("a thread").expect("a listener");
}

#[test]
fn who_wrote_last_is_known_until_somebody_else_writes() {
    let place = Place::new();
    let take = |writer: &str| {
        let lease = place.lease_of(writer, LONG);
        acquire(&lease).expect("free");
        lease
    };
    let first = take("a");
    assert!(!first.has_other_writer(), "nobody was here before");
    first.check_to_write().expect("ours");
    drop(first);
    let second = take("b");
    assert!(second.has_other_writer());
    drop(second);
    assert!(!take("a").has_other_writer(), "the other one has not written");
    let second = take("b");
    second.check_to_write().expect("ours");
    assert!(!second.has_other_writer());
    second.renew();
    drop(second);
    assert!(!take("b").has_other_writer());
    assert!(take("a").has_other_writer());
}
