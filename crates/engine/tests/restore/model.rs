//! Our own replicas, of random histories, against a plain model of the database.

use std::path::Path;
use std::sync::Arc;

use engine::restore::{self, Request, Target};
use ltx::{
    Decoder, Encoder, Header, Level, PageSize, Pgno, RollingSum, Tag, Timestamp, TxidRange, merge,
    page_sum,
};
use storage::{FileStorage, Storage};

use crate::support::{scratch, txid};

/// A database as a list of pages, and every state that it had.
struct Model {
    size: PageSize,
    pages: Vec<Vec<u8>>,
    states: Vec<Vec<Vec<u8>>>,
    storage: Arc<dyn Storage>,
}

impl Model {
    fn new(size: PageSize, root: &Path) -> Model {
        let storage = Arc::new(FileStorage::new(root));
        Model { size, pages: Vec::new(), states: Vec::new(), storage }
    }

    fn tag(&self) -> Tag {
        let mut sum = RollingSum::new();
        for (pgno, page) in (1..).filter_map(Pgno::new).zip(&self.pages) {
            sum.add(page_sum(pgno, page));
        }
        Tag { sum: sum.checksum(), lineage: 7 }
    }

    /// Writes some pages, grows or shrinks, and stores that as the next transaction.
    fn commit(&mut self, random: &mut fastrand::Rng, is_tagged: bool) {
        let length = random.usize(1..60);
        let old = self.pages.len();
        self.pages.resize(length, Vec::new());
        let mut changed = Vec::new();
        for (number, page) in self.pages.iter_mut().enumerate() {
            if number >= old || random.u8(..) < 40 {
                *page = vec![random.u8(0..4); self.size.bytes()];
                let noise = random.usize(0..self.size.bytes());
                random.fill(&mut page[..noise]);
                changed.push(number);
            }
        }
        self.states.push(self.pages.clone());
        let id = txid(self.states.len() as u64);
        let timestamp = Timestamp::from_millis(self.states.len() as i64 * 1000);
        let mut header = Header::new(self.size, length as u32, TxidRange::single(id), timestamp);
        if is_tagged {
            header.set_tag(self.tag());
        }
        let upload = self.storage.create(Level::L0, header.txids, timestamp).expect("create");
        let mut encoder = Encoder::new(upload, header).expect("encoder");
        for number in changed {
            let pgno = Pgno::new(number as u32 + 1).expect("page");
            encoder.write_page(pgno, &self.pages[number]).expect("write");
        }
        encoder.finish().expect("finish").0.commit().expect("commit");
    }

    /// Merges the files of one level into the next.
    fn compact(&self, from: u8, to: u8, min: u64, max: u64) {
        let level = |number| Level::new(number).expect("level");
        let inputs = self.storage.list(level(from), txid(min)).expect("list");
        let inputs: Vec<_> =
            inputs.into_iter().filter(|object| object.txids.max <= txid(max)).collect();
        let Some(last) = inputs.last() else { return };
        let txids = TxidRange { min: inputs[0].txids.min, max: last.txids.max };
        let open = |object: &storage::Object| {
            let reader = self.storage.open(object.level, object.txids, 0).expect("open");
            Decoder::new(reader).expect("decoder")
        };
        let upload = self.storage.create(level(to), txids, last.created).expect("create");
        let merged = merge(inputs.iter().map(open).collect(), upload).expect("merge");
        merged.out.commit().expect("commit");
        if to < 9 {
            let gone: Vec<_> = inputs.iter().map(|it| (it.level, it.txids)).collect();
            self.storage.delete(&gone).expect("delete");
        }
    }

    /// The restored bytes of every state that can be restored; the others must say so.
    fn check(&self, is_tagged: bool) -> usize {
        let directory = scratch();
        let mut restorable = 0;
        for (number, pages) in self.states.iter().enumerate() {
            let output = directory.path().join(format!("{number}.db"));
            let mut request = Request::new(Arc::clone(&self.storage), &output);
            request.target = Target::Txid(txid(number as u64 + 1));
            match restore::run(&request, &()) {
                Ok(outcome) => {
                    assert_eq!(outcome.proven, is_tagged);
                    let bytes = std::fs::read(&output).expect("output");
                    assert!(bytes == pages.concat(), "state {}", number + 1);
                    restorable += 1;
                }
                Err(restore::Error::NotRestorable { .. }) => {}
                Err(error) => panic!("state {}: {error}", number + 1),
            }
        }
        restorable
    }
}

#[test]
fn random_histories_come_back_at_every_transaction() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..12 {
        let directory = scratch();
        let size = PageSize::new(512 << random.u32(0..8)).expect("page size");
        let mut model = Model::new(size, directory.path());
        let is_tagged = round % 2 == 0;
        for _ in 0..20 {
            model.commit(&mut random, is_tagged);
        }
        assert_eq!(model.check(is_tagged), 20);
        let [a, b, c] = [random.u64(1..10), random.u64(10..15), random.u64(15..20)];
        model.compact(0, 1, 1, a);
        model.compact(0, 1, a + 1, b);
        model.compact(0, 1, b + 1, c);
        model.compact(1, 9, 1, b);
        model.compact(1, 2, 1, b);
        let ends = [a, b, c].into_iter().filter(|end| *end != a).collect::<Vec<_>>();
        assert_eq!(model.check(is_tagged), ends.len() + (20 - c) as usize);
    }
}

#[test]
fn a_database_that_is_not_the_captured_one_is_not_handed_over() {
    let directory = scratch();
    let size = PageSize::new(512).expect("page size");
    let mut model = Model::new(size, directory.path());
    model.commit(&mut fastrand::Rng::with_seed(1), true);
    // The same transaction with other content, as a capture with a hole would have made it: whole
    // and well-formed, but not what its tag was computed from.
    let mut header = Header::new(size, 1, TxidRange::single(txid(2)), Timestamp::from_millis(0));
    header.set_tag(model.tag());
    let upload = model.storage.create(Level::L0, header.txids, header.timestamp).expect("create");
    let mut encoder = Encoder::new(upload, header).expect("encoder");
    encoder.write_page(Pgno::FIRST, &[1; 512]).expect("write");
    encoder.finish().expect("finish").0.commit().expect("commit");

    let output = directory.path().join("restored.db");
    let error = restore::run(&Request::new(Arc::clone(&model.storage), &output), &());
    let error = error.expect_err("not that database");
    assert!(matches!(error, restore::Error::Unproven { .. }), "{error}");
    assert!(!output.exists());
}

#[test]
fn a14_beyond_the_lock_page_the_database_is_sparse_and_right() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(directory.path().join("replica")));
    let size = PageSize::new(65536).expect("page size");
    let lock = size.lock_page();
    let txids = TxidRange::single(txid(1));
    let header = Header::new(size, lock.get() + 1, txids, Timestamp::from_millis(0));
    let upload = storage.create(Level::L0, txids, header.timestamp).expect("create");
    let mut encoder = Encoder::new(upload, header).expect("encoder");
    let mut page = vec![0; size.bytes()];
    for pgno in (1..=lock.get() + 1).filter_map(Pgno::new).filter(|pgno| *pgno != lock) {
        page.fill(u8::from(pgno == Pgno::FIRST || pgno > lock));
        encoder.write_page(pgno, &page).expect("write");
    }
    encoder.finish().expect("finish").0.commit().expect("commit");

    let output = directory.path().join("restored.db");
    let outcome = restore::run(&Request::new(storage, &output), &()).expect("restore");
    assert_eq!(outcome.bytes, (1 << 30) + 2 * 65536);
    let file = std::fs::File::open(&output).expect("output");
    let at = |pgno: u32| {
        let mut page = vec![9; size.bytes()];
        let offset = Pgno::new(pgno).expect("page").offset(size);
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, offset).expect("read");
        page
    };
    for (pgno, byte) in [(1, 1), (2, 0), (lock.get() - 1, 0), (lock.get(), 0), (lock.get() + 1, 1)]
    {
        assert!(at(pgno) == vec![byte; size.bytes()], "page {pgno}");
    }
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().expect("metadata"));
    assert!(blocks * 512 < 100 << 20, "zero pages take no space");
}
