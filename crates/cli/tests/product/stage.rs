//! What nearly every test here has: a database, a replica, and the oracle for both.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rusqlite::Connection;
use testkit::oracle::{open_immutable, same_content};
use testkit::sweep::sweep_of;
use testkit::tool::PATIENCE;
use testkit::{
    Layout, Mismatch, Mix, Oracle, Replica, Replicator, Scratch, Tool, Workload, Writer, seed,
    sweep, wait,
};

pub(crate) struct Stage {
    pub(crate) scratch: Scratch,
    pub(crate) tool: Tool,
    pub(crate) db: PathBuf,
    pub(crate) replica: Replica,
    pub(crate) workload: Workload,
    pub(crate) rng: Rng,
}

pub(crate) fn brooklet() -> Tool {
    Tool::under_test(env!("CARGO_BIN_EXE_brooklet"))
}

impl Stage {
    pub(crate) fn new(name: &str, mix: Mix) -> Stage {
        let seed = seed(name);
        let scratch = Scratch::new(name);
        Stage {
            tool: brooklet(),
            db: scratch.path("app.db"),
            replica: Replica::new(scratch.path("replica")),
            workload: Workload { seed, mix },
            rng: Rng::with_seed(seed),
            scratch,
        }
    }

    /// A database at transaction 0, and a connection that an application keeps open.
    pub(crate) fn create(&self, layout: Layout) -> Connection {
        self.workload.create(&self.db, layout)
    }

    /// Removes the database, which nobody may have open.
    pub(crate) fn remove_database(&self) {
        for file in [&self.db, &self.wal(), &self.shm()] {
            let _ = fs::remove_file(file);
        }
    }

    /// Where the replicator keeps its own files.
    pub(crate) fn local_state(&self) -> PathBuf {
        self.scratch.path(".app.db-litestream")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.scratch.path("app.db-wal")
    }

    pub(crate) fn shm(&self) -> PathBuf {
        self.scratch.path("app.db-shm")
    }

    pub(crate) fn replicate(&self) -> Replicator {
        self.tool.replicate(&self.db, &self.replica)
    }

    /// Starts to replicate, and returns when the first snapshot is there.
    pub(crate) fn replicate_first(&self) -> Replicator {
        let mut replicator = self.replicate();
        replicator.await_first_file(&self.replica);
        replicator
    }

    /// Has nobody write to the replica, until it is [brought back](Stage::bring_replica_back).
    pub(crate) fn take_replica_away(&self) {
        fs::rename(self.replica.path(), self.scratch.path("away")).expect("take the replica away");
        fs::write(self.replica.path(), b"not a directory").expect("put a file in its place");
    }

    pub(crate) fn bring_replica_back(&self) {
        fs::remove_file(self.replica.path()).expect("remove the file in its place");
        fs::rename(self.scratch.path("away"), self.replica.path()).expect("bring the replica back");
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::new(&self.db, self.workload)
    }

    pub(crate) fn oracle(&self) -> Oracle {
        Oracle::new(self.workload)
    }

    /// Every TXID restores to a committed state, the last one to transaction `n`; and the source
    /// has come to no harm.
    pub(crate) fn expect_all_right(&self, n: u64) {
        let mut oracle = self.oracle();
        oracle.committed(n);
        let source = Connection::open(&self.db).expect("open the source");
        assert_eq!(oracle.check(&source), Ok(n), "the source itself");
        drop(source);
        let found = sweep(&self.tool, &self.replica, &mut oracle);
        println!("{} TXIDs swept, {n} transactions", found.txids);
        found.expect_all_right(n);
    }

    /// The same of a few TXIDs, where there are many, and the last one.
    pub(crate) fn expect_some_right(&self, n: u64, count: usize) {
        let txids: Vec<_> = self.replica.txids().into_iter().collect();
        let some = txids.iter().rev().step_by(txids.len().div_ceil(count)).rev().copied();
        let some: Vec<_> = some.collect();
        sweep_of(&self.tool, &self.replica, &mut self.oracle(), &some).expect_all_right(n);
    }

    /// Restores by our program and by another one have the same bytes, at every TXID.
    pub(crate) fn expect_same_restores(&self, other: &Tool) {
        let (ours, theirs) = (self.scratch.path("ours"), self.scratch.path("theirs"));
        for txid in self.replica.txids() {
            for (tool, output) in [(&self.tool, &ours), (other, &theirs)] {
                let restored = tool.restore(&self.replica, Some(txid), output);
                restored.unwrap_or_else(|why| panic!("{tool:?} at TXID {txid:016x}: {why}"));
            }
            let same = read(&ours) == read(&theirs);
            assert!(same, "TXID {txid:016x}: {} and {} differ", ours.display(), theirs.display());
            for output in [&ours, &theirs] {
                fs::remove_file(output).expect("remove a restored file");
            }
        }
    }

    /// Waits until a restore of the latest state has the same content as the open database.
    pub(crate) fn await_same(&self, app: &Connection) {
        let output = self.scratch.path("latest");
        let mut last = None;
        let same = wait::within(PATIENCE, || {
            let restored = self.tool.restore(&self.replica, None, &output);
            let compared = restored.map_err(Mismatch::NotRestored).and_then(|()| {
                let db = open_immutable(&output).map_err(|e| Mismatch::Unreadable(e.to_string()));
                same_content(&db?, app)
            });
            let _ = fs::remove_file(&output);
            last = Some(compared.clone());
            compared.ok()
        });
        assert!(same.is_some(), "the replica never had the database's content: {last:?}");
    }

    /// Waits until the log has one of the words after `from` bytes.
    pub(crate) fn await_logged(&self, replicator: &Replicator, from: usize, words: &[&str]) {
        wait::until(&format!("one of {words:?} in the log"), PATIENCE, || {
            let log = replicator.log().get(from..).unwrap_or_default().to_lowercase();
            words.iter().any(|word| log.contains(word)).then_some(())
        });
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("read a restored file")
}
