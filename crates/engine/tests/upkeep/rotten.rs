//! Files that rot, here and in the replica.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::{DatabaseOptions, Replicator, Validation};
use ltx::{Level, Txid, TxidRange};
use storage::{FileStorage, Object, Storage};

use crate::watched::Watched;
use crate::{PATIENCE, Stage, until};

const SECOND: Duration = Duration::from_secs(1);

/// A database that is replicated.
struct Replicated {
    stage: Stage,
    replicator: Replicator,
}

impl Replicated {
    /// Compacted to levels so often, and verified if so often.
    fn new(levels: &[Duration], verified: Option<Duration>) -> Replicated {
        let stage = Stage::new();
        let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
        let mut options = DatabaseOptions::new(&stage.db, vec![storage]);
        options.history.levels = levels.to_vec();
        options.history.validation = verified.map(|interval| Validation { interval, full: true });
        let replicator = Replicator::start(vec![options]).unwrap();
        Replicated { stage, replicator }
    }

    /// One that was just compacted: until that is due again, there is time.
    fn compacted() -> Replicated {
        let it = Replicated::new(&[2 * SECOND], None);
        until("a compaction", || {
            it.commit();
            !it.level(1).is_empty()
        });
        it
    }

    /// Commits; the range of the file that is in the replica then.
    fn commit(&self) -> TxidRange {
        self.stage.commit();
        self.replicator.sync(Instant::now() + PATIENCE).unwrap();
        TxidRange::single(self.replicator.statuses()[0].local_txid.unwrap())
    }

    /// Commits until something captured after now is compacted.
    fn await_compaction(&self) {
        let through = self.commit().max;
        until("compaction to go on", || {
            self.commit();
            self.level(1).iter().any(|it| it.txids.max >= through)
        });
    }

    fn level(&self, level: u8) -> Vec<Object> {
        self.stage.storage.list(Level::new(level).unwrap(), Txid::FIRST).unwrap()
    }

    fn rotten(&self) -> u64 {
        self.replicator.statuses()[0].counts.rotten
    }

    fn local(&self) -> FileStorage {
        FileStorage::new(self.stage.db.with_file_name(".app.db-litestream"))
    }

    fn stored(&self) -> &FileStorage {
        &self.stage.storage.inner
    }

    /// Has a captured file rot in the replica.
    fn rot(&self, txids: TxidRange) {
        rot(&self.stored().path(Level::L0, txids));
    }

    /// Has the disk of the replica lose one.
    fn lose(&self, txids: TxidRange) {
        *self.stage.storage.lost.lock().unwrap() = Some(txids);
    }
}

fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap(); // it may have another name
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Reading it is what it is on a disk that has lost it: an input/output error.
fn lose(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink("/proc/self/mem", path).unwrap();
    assert_eq!(fs::read(path).unwrap_err().raw_os_error(), Some(5));
}

#[test]
fn what_rots_before_its_upload_is_captured_again() {
    captured_again(rot);
}

#[test]
fn what_the_disk_loses_before_its_upload_is_captured_again() {
    captured_again(lose);
}

fn captured_again(harm: fn(&Path)) {
    let it = Replicated::new(&[], None);
    it.commit();
    let first = it.stage.stage_files(&it.replicator, 20);
    let harmed = TxidRange::single(Txid::new(first + 10).unwrap());
    harm(&it.local().path(Level::L0, harmed));
    it.stage.storage.refuses_puts.store(false, Ordering::Relaxed);
    it.commit();
    it.stage.expect_restored();
}

#[test]
fn what_rots_after_its_upload_is_compacted_from_the_replica() {
    let it = Replicated::compacted();
    let rotten = it.commit();
    it.commit();
    rot(&it.local().path(Level::L0, rotten));
    it.await_compaction();
    assert!(it.stage.storage.reads.load(Ordering::Relaxed) > 0, "{:?}", it.stage.storage);
    assert!(it.level(1).iter().any(|file| file.txids.holds(rotten)));
    it.stage.expect_restored();
}

#[test]
fn what_rots_in_the_replica_is_left_behind_by_a_snapshot() {
    left_behind(Replicated::rot);
}

#[test]
fn what_the_disk_of_a_replica_loses_is_left_behind_by_a_snapshot() {
    left_behind(Replicated::lose);
}

/// Neither compaction nor restores of the newest state wait for the next snapshot that is due.
fn left_behind(harm: fn(&Replicated, TxidRange)) {
    let it = Replicated::compacted();
    let harmed = it.commit();
    it.commit();
    fs::remove_file(it.local().path(Level::L0, harmed)).unwrap();
    harm(&it, harmed);
    it.await_compaction();
    assert!(!it.level(1).iter().any(|file| file.txids.holds(harmed)));
    it.stage.expect_restored();
    assert_eq!(it.rotten(), 1);
    assert_eq!(it.level(9).len(), 2, "the first one, and the one that was needed");
}

#[test]
fn what_is_damaged_on_a_level_is_made_again_of_what_is_below() {
    let it = Replicated::new(&[SECOND / 20, 5 * SECOND], None);
    it.commit();
    let mut newest = it.commit();
    until("enough files to be compacted again", || {
        let pair = [it.commit(), it.commit()];
        until("a pair to be compacted", || {
            it.level(1).last().is_some_and(|file| file.txids.max == pair[1].max)
        });
        newest = it.level(1).last().unwrap().txids;
        it.level(1).len() >= 8
    });
    assert_eq!(it.level(2), []);
    let level = Level::new(1).unwrap();
    let path = it.stored().path(level, newest);
    let compacted_here =
        FileStorage::new(it.stage.db.with_file_name(".app.db-litestream/brooklet"));
    fs::remove_file(compacted_here.path(level, newest)).unwrap();
    let whole = fs::read(&path).unwrap();
    cut(&path);
    until("the same file again", || fs::read(&path).unwrap_or_default() == whole);
    until("files of the next level", || !it.level(2).is_empty());
    assert_eq!(it.rotten(), 1);
    it.stage.expect_restored();
}

#[test]
fn what_a_verification_finds_damaged_is_left_behind_by_a_snapshot() {
    verified(Replicated::rot);
}

#[test]
fn what_a_verification_cannot_read_is_left_behind_by_a_snapshot() {
    verified(Replicated::lose);
}

fn verified(harm: fn(&Replicated, TxidRange)) {
    let it = Replicated::new(&[], Some(SECOND / 20));
    until("the first snapshot", || it.level(9).len() == 1);
    let harmed = it.commit();
    harm(&it, harmed);
    until("another snapshot", || it.level(9).len() == 2);
    it.stage.expect_restored();
}

#[test]
fn a_snapshot_that_a_verification_finds_damaged_is_made_again() {
    let it = Replicated::new(&[], Some(SECOND / 20));
    until("the first snapshot", || it.level(9).len() == 1);
    rot(&it.stored().path(Level::SNAPSHOT, it.level(9)[0].txids));
    let output = it.stage.db.with_extension("again");
    let storage = Arc::clone(&it.stage.storage) as Arc<dyn Storage>;
    let request = engine::restore::Request::new(storage, &output);
    until("it to be made again", || engine::restore::run(&request, &()).is_ok());
    it.stage.expect_restored();
}

/// A replica whose newest file came to harm while nobody ran, and files that wait for it.
fn restarted(harm: fn(&Stage, TxidRange)) -> (Replicated, TxidRange) {
    let it = Replicated::new(&[], None);
    until("a snapshot and a file", || it.commit().min > Txid::FIRST && it.level(9).len() == 1);
    let captured = it.stage.stage_files(&it.replicator, 3);
    let Replicated { mut stage, replicator } = it;
    replicator.stop(Instant::now(), &true.into()).unwrap_err();
    drop(replicator);
    // A request that was under way is refused by the former one.
    stage.storage = Arc::new(Watched::new(stage.db.with_file_name("replica")));
    let newest = stage.storage.list(Level::L0, Txid::FIRST).unwrap().last().unwrap().txids;
    harm(&stage, newest);
    let replicator = stage.replicate_untouched();
    let it = Replicated { stage, replicator };
    it.commit();
    // What waited is there under the names that it had.
    for txid in captured + 1..=captured + 3 {
        let staged = TxidRange::single(Txid::new(txid).unwrap());
        assert!(it.level(0).iter().any(|it| it.txids.holds(staged)), "{staged}");
    }
    (it, newest)
}

fn lose_newest(stage: &Stage, newest: TxidRange) {
    *stage.storage.lost.lock().unwrap() = Some(newest);
}

#[test]
fn a_start_stores_again_what_the_disk_of_a_replica_has_lost() {
    let (it, newest) = restarted(lose_newest);
    assert_eq!(*it.stage.storage.lost.lock().unwrap(), None, "{newest} is readable");
    assert_eq!(it.level(9).len(), 1, "nothing is missing");
    it.stage.expect_restored();
}

#[test]
fn a_start_stores_again_what_is_cut_in_the_replica() {
    let (it, newest) = restarted(|stage, newest| {
        cut(&stage.storage.inner.path(Level::L0, newest));
    });
    let local = it.local().path(Level::L0, newest);
    let stored = fs::metadata(it.stored().path(Level::L0, newest)).unwrap().len();
    assert!(fs::metadata(local).map_or(true, |it| it.len() == stored));
    assert_eq!(it.level(9).len(), 1, "nothing is missing");
    it.stage.expect_restored();
}

#[test]
fn a_start_gets_past_what_is_lost_there_and_rotten_here() {
    let (it, newest) = restarted(|stage, newest| {
        lose_newest(stage, newest);
        let local = FileStorage::new(stage.db.with_file_name(".app.db-litestream"));
        rot(&local.path(Level::L0, newest));
    });
    until("a snapshot", || it.level(9).last().is_some_and(|it| it.txids.max >= newest.max));
    it.stage.expect_restored();
}

/// What is rotten on one side is read from the other.
#[test]
fn files_that_rot_here_and_files_that_rot_there_are_compacted_together() {
    let it = Replicated::compacted();
    let [here, there] = [it.commit(), it.commit()];
    rot(&it.local().path(Level::L0, here));
    rot(&it.stored().path(Level::L0, there));
    it.await_compaction();
    assert!(
        [here, there].iter().all(|harmed| it.level(1).iter().any(|it| it.txids.holds(*harmed)))
    );
    assert_eq!(it.rotten(), 0);
}

#[test]
fn what_is_cut_in_the_replica_is_left_behind_though_it_is_whole_here() {
    let it = Replicated::compacted();
    let harmed = it.commit();
    it.commit();
    let Replicated { stage, replicator } = it;
    replicator.stop(Instant::now() + PATIENCE, &false.into()).unwrap();
    drop(replicator);
    cut(&stage.storage.inner.path(Level::L0, harmed));
    let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
    let mut options = DatabaseOptions::new(&stage.db, vec![storage]);
    options.history.levels = vec![SECOND / 20];
    let replicator = Replicator::start(vec![options]).unwrap();
    let it = Replicated { stage, replicator };
    it.await_compaction();
    assert_eq!(it.rotten(), 1);
    it.stage.expect_restored();
}
