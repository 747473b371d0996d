use std::path::Path;
use std::sync::atomic::Ordering;

use ltx::{Timestamp, TxidRange};
use storage::Storage;

use super::*;

struct Stage {
    uploader: Uploader,
    shared: Arc<Shared>,
}

impl Stage {
    fn new(folder: &Path, limit: u64) -> Stage {
        let storage = Arc::new(storage::FileStorage::new(folder.join("replica")));
        Stage::of(folder, storage, limit, Duration::ZERO)
    }

    /// To a storage where requests have a price, so that no more than one begins in `interval`.
    fn metered(folder: &Path, interval: Duration) -> Stage {
        let storage = Arc::new(storage::FileStorage::new(folder.join("replica")));
        let limits = Arc::new(storage::Limits::new(None, Some(u64::from(u32::MAX))));
        Stage::of(folder, limits.apply(storage), u64::MAX, interval)
    }

    fn of(folder: &Path, storage: Arc<dyn Storage>, limit: u64, interval: Duration) -> Stage {
        let replica = Arc::new(Replica::new(0, storage, Level::L0));
        let local = Arc::new(Local::at(&folder.join("app.db"), None, limit));
        let urls = vec!["file:///replica".to_owned()];
        let shared = Shared::new("app.db".into(), urls, Default::default(), Arc::default());
        let shared = Arc::new(shared);
        let uploader = Uploader::new(replica, local, Arc::clone(&shared), interval);
        Stage { uploader, shared }
    }

    fn start(&self, pending: &[(u64, Option<Moment>)]) {
        let pending = pending.iter().map(|(txid, covers)| pending_file(*txid, *covers));
        self.uploader.restart(Some(&Remote::default()), pending.collect(), false, None);
    }

    /// Stages a file that nobody reads through.
    fn stage(&self, file: &Pending) {
        let path = self.uploader.local.path(file.level, file.txids);
        std::fs::create_dir_all(path.parent().expect("a level")).expect("a directory");
        std::fs::write(path, b"what was captured").expect("write");
    }

    fn upload(&self, txid: u64) {
        let (next, epoch) = self.uploader.next().expect("a file");
        assert_eq!(next[0].txids.max.get(), txid);
        let Pending { level, txids, created, .. } = next[0];
        let object = Object { level, txids, size: 1, created };
        self.uploader.done(&next, object, (epoch, 0));
    }
}

fn pending_file(txid: u64, covers: Option<Moment>) -> Pending {
    let txids = TxidRange::single(Txid::new(txid).expect("a TXID"));
    let created = Timestamp::from_millis(1);
    Pending { level: Level::L0, txids, created, since: Instant::now(), covers }
}

#[test]
fn nothing_is_covered_before_the_last_of_what_was_staged() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::new(folder.path(), u64::MAX);
    let moment = Moment::now();
    stage.start(&[(1, None), (2, None), (3, Some(moment))]);
    for txid in [1, 2] {
        stage.upload(txid);
        assert_eq!(stage.shared.covered(), None, "after {txid}");
    }
    stage.upload(3);
    assert_eq!(stage.shared.covered(), Some(moment.instant));
}

#[test]
fn a_file_that_rotted_while_it_waited_is_not_uploaded() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::new(folder.path(), u64::MAX);
    let since = Instant::now().checked_sub(AGED).expect("a machine that has run for a while");
    let file = Pending { since, ..pending_file(1, None) };
    stage.stage(&file);
    stage.uploader.restart(Some(&Remote::default()), vec![file], false, None);
    stage.uploader.run();
    assert!(stage.shared.broken.load(Ordering::SeqCst), "all starts over");
    assert_eq!(stage.uploader.replica.storage.list_all().expect("list"), []);
}

/// Whoever goes to sleep until it is woken has nothing left: also one that looks at the very moment
/// at which the next upload may begin.
#[test]
fn what_waits_for_its_turn_is_never_left_behind() {
    const INTERVAL: Duration = Duration::from_millis(2);
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::metered(folder.path(), INTERVAL);
    stage.start(&[]);
    for txid in 1..=500 {
        let file = pending_file(txid, None);
        stage.stage(&file);
        stage.uploader.push([file].into_iter());
        let began = stage.uploader.lock().last;
        let ahead = Duration::from_micros(txid % 250);
        let early = began.map(|began| began + INTERVAL - ahead);
        while early.is_some_and(|early| Instant::now() < early) {}
        let mut next = stage.uploader.run();
        while let Next::At(due) = next {
            while Instant::now() < due {}
            next = stage.uploader.run();
        }
        assert_eq!(
            stage.uploader.backlog().files,
            0,
            "{txid} is asleep, {ahead:?} before its turn"
        );
    }
}

fn staged(stage: &Stage, txids: std::ops::RangeInclusive<u64>) {
    for txid in txids {
        let file = pending_file(txid, None);
        stage.stage(&file);
        stage.uploader.push([file].into_iter());
    }
}

#[test]
fn others_have_their_turn_between_many_uploads() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::new(folder.path(), u64::MAX);
    stage.start(&[]);
    staged(&stage, 1..=u64::from(2 * DROP_EVERY));
    let next = stage.uploader.run();
    assert!(matches!(next, Next::At(due) if due <= Instant::now()), "{next:?}");
    assert_eq!(stage.uploader.backlog().files, u64::from(DROP_EVERY));
}

#[test]
fn what_failed_is_tried_again_after_its_backoff_however_rare_uploads_are() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::metered(folder.path(), Duration::from_secs(3600));
    stage.start(&[]);
    let in_the_way = folder.path().join("replica");
    std::fs::write(&in_the_way, "no directory").expect("write");
    staged(&stage, 1..=1);
    let Next::At(due) = stage.uploader.run() else { panic!("it is not tried again") };
    assert!(due <= Instant::now() + MAX_BACKOFF);
    std::fs::remove_file(in_the_way).expect("remove");
    stage.uploader.run();
    assert_eq!(stage.uploader.backlog().files, 0);
}

/// Whose holder is asked something while it answers.
#[derive(Debug)]
struct Asking {
    inner: storage::FileStorage,
    asked: std::sync::Mutex<Option<Arc<Uploader>>>,
    /// Whether it is asked, or only told of a later look.
    asks: bool,
}

impl Storage for Asking {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn list(&self, level: Level, from: Txid) -> storage::Result<Vec<Object>> {
        self.inner.list(level, from)
    }

    fn read_at(
        &self,
        level: Level,
        txids: TxidRange,
        at: u64,
        buf: &mut [u8],
    ) -> storage::Result<()> {
        self.inner.read_at(level, txids, at, buf)
    }

    fn open(
        &self,
        level: Level,
        txids: TxidRange,
        offset: u64,
    ) -> storage::Result<Box<dyn std::io::Read + Send>> {
        self.inner.open(level, txids, offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> storage::Result<Box<dyn storage::Upload>> {
        self.inner.create(level, txids, created)
    }

    fn still_holds(&self, level: Level, txids: TxidRange) -> storage::Result<bool> {
        if let Some(uploader) = self.asked.lock().expect("no panic").take() {
            uploader.nothing_new(Moment::now(), self.asks);
        }
        self.inner.still_holds(level, txids)
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> storage::Result<()> {
        self.inner.delete(objects)
    }

    fn unknown(&self) -> storage::Result<Vec<String>> {
        self.inner.unknown()
    }
}

#[test]
fn what_waits_stays_though_a_snapshot_is_past_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::new(folder.path(), u64::MAX);
    let pending: Vec<Pending> = (3..=5).map(|txid| pending_file(txid, None)).collect();
    pending.iter().for_each(|file| stage.stage(file));
    let objects = crate::inventory::tests::objects(&[(0, 1, 1), (0, 2, 2), (9, 1, 5)]);
    let remote = Remote { last: Txid::new(5), objects, ..Remote::default() };
    stage.uploader.restart(Some(&remote), pending.clone(), false, None);
    std::fs::write(folder.path().join("replica"), "no directory").expect("write");
    stage.uploader.run();
    for Pending { level, txids, .. } in pending {
        assert!(stage.uploader.local.path(level, txids).exists(), "{txids}");
    }
}

#[test]
fn what_can_be_listed_but_not_read_is_not_looked_at_all_the_time() {
    let folder = tempfile::tempdir().expect("a directory");
    let Stage { uploader, shared } = Stage::new(folder.path(), u64::MAX);
    let level = folder.path().join("replica/ltx/5");
    std::fs::create_dir_all(level.parent().expect("a folder")).expect("a folder");
    std::fs::write(&level, "no level").expect("write");
    uploader.restart(None, Vec::new(), false, None);
    assert!(matches!(uploader.run(), Next::At(at) if at > Instant::now()));
    let starts_over = || shared.broken.load(Ordering::SeqCst);
    assert!(!starts_over(), "whoever does could not read it either");
    std::fs::remove_file(&level).expect("away with it");
    while !starts_over() {
        assert!(matches!(uploader.run(), Next::At(_) | Next::WhenWoken));
        std::thread::yield_now();
    }
    // Should starting over come to the same, the next look is not at once.
    uploader.pause();
    uploader.restart(None, Vec::new(), false, None);
    assert!(matches!(uploader.run(), Next::At(at) if at > Instant::now()));
}

/// One that has stored a file, and is asked again while it answers.
fn asked_while_it_answers(folder: &Path, asks: bool) -> (Arc<Uploader>, Arc<Shared>, Arc<Asking>) {
    let inner = storage::FileStorage::new(folder.join("replica"));
    let storage = Arc::new(Asking { inner, asked: std::sync::Mutex::default(), asks });
    let stage = Stage::of(folder, Arc::clone(&storage) as _, u64::MAX, Duration::ZERO);
    stage.start(&[]);
    staged(&stage, 1..=1);
    stage.uploader.run();
    let uploader = Arc::new(stage.uploader);
    uploader.nothing_new(Moment::now(), true);
    *storage.asked.lock().expect("no panic") = Some(Arc::clone(&uploader));
    (uploader, stage.shared, storage)
}

#[test]
fn a_look_while_a_question_is_answered_counts_too() {
    let folder = tempfile::tempdir().expect("a directory");
    let (uploader, shared, storage) = asked_while_it_answers(folder.path(), false);
    let first = Instant::now();
    let scheduler = crate::scheduler::Scheduler::start("uploads", 1).expect("a thread");
    scheduler.hire_named(Arc::clone(&uploader) as _, |bell| uploader.named(bell.clone()));
    let deadline = first + Duration::from_secs(10);
    while shared.covered() < Some(first) {
        assert!(Instant::now() < deadline, "nobody looks again");
        std::thread::yield_now();
    }
    assert!(storage.asked.lock().expect("no panic").is_none());
    scheduler.stop();
}

#[test]
fn a_question_that_comes_while_one_is_answered_is_answered_too() {
    let folder = tempfile::tempdir().expect("a directory");
    let (uploader, shared, _) = asked_while_it_answers(folder.path(), true);
    let first = Instant::now();
    uploader.run();
    assert!(shared.covered() < Some(first), "the first one is answered");
    uploader.run();
    assert!(shared.covered() >= Some(first), "so is the second one");
}

#[test]
fn only_a_snapshot_of_all_that_was_given_up_bridges_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let stage = Stage::new(folder.path(), 0);
    let level_0 = folder.path().join(".app.db-litestream/ltx/0");
    std::fs::create_dir_all(&level_0).expect("a directory");
    let name = |txid: u64| TxidRange::single(Txid::new(txid).expect("a TXID")).file_name();
    for txid in [5, 6] {
        std::fs::write(level_0.join(name(txid)), b"staged").expect("write");
    }
    stage.start(&[(5, None), (6, Some(Moment::now()))]);
    stage.uploader.give_up_if_full();
    let bridged = |txid| {
        stage.uploader.bridged(Txid::new(txid).expect("a TXID"));
        !stage.uploader.is_behind()
    };
    assert!(stage.uploader.is_behind());
    assert!(!bridged(5), "6 is nowhere");
    assert!(bridged(6));
}
