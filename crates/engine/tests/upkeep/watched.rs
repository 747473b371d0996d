//! A storage that counts what is asked of it, may refuse to do it, and may have lost what it held.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, FileStorage, Object, Result, Storage, Upload};

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: FileStorage,
    pub(crate) lists: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) puts: [AtomicU64; 10],
    pub(crate) deletes: AtomicU64,
    pub(crate) refuses_deletes: AtomicBool,
    pub(crate) refuses_puts: AtomicBool,
    /// Held by who wants uploads to hang.
    pub(crate) hang: Mutex<()>,
    pub(crate) hanging: AtomicU64,
    /// Held by who wants listings to hang.
    pub(crate) silent: Mutex<()>,
    /// The captured file that the disk has lost.
    pub(crate) lost: Mutex<Option<TxidRange>>,
}

/// An object on bad sectors.
struct Bad(String);

impl Bad {
    fn error(&self) -> Error {
        Error::Lost { object: self.0.clone(), source: io::Error::from_raw_os_error(5) }
    }
}

impl Read for Bad {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(self.error()))
    }
}

impl Watched {
    pub(crate) fn new(root: PathBuf) -> Watched {
        Watched {
            inner: FileStorage::new(root),
            lists: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            puts: Default::default(),
            deletes: AtomicU64::new(0),
            refuses_deletes: AtomicBool::new(false),
            refuses_puts: AtomicBool::new(false),
            hang: Mutex::default(),
            hanging: AtomicU64::new(0),
            silent: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    fn has_lost(&self, level: Level, txids: TxidRange) -> bool {
        level == Level::L0 && *self.lost.lock().unwrap() == Some(txids)
    }

    pub(crate) fn requests(&self) -> u64 {
        let singles = [&self.lists, &self.reads, &self.deletes];
        singles.into_iter().chain(&self.puts).map(|it| it.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn stored_at(&self, level: usize) -> u64 {
        self.puts[level].load(Ordering::Relaxed)
    }

    fn count_put(&self, level: Level) {
        self.puts[usize::from(level.get())].fetch_add(1, Ordering::Relaxed);
    }
}

impl Storage for Watched {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn name(&self, level: Level, txids: TxidRange) -> String {
        self.inner.name(level, txids)
    }

    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        drop(self.silent.lock().unwrap());
        self.inner.list(level, from)
    }

    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.has_lost(level, txids) {
            return Err(Bad(self.name(level, txids)).error());
        }
        self.inner.read_at(level, txids, offset, buf)
    }

    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.has_lost(level, txids) {
            return Ok(Box::new(Bad(self.name(level, txids))));
        }
        self.inner.open(level, txids, offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.count_put(level);
        if self.has_lost(level, txids) {
            *self.lost.lock().unwrap() = None;
        }
        self.inner.create(level, txids, created)
    }

    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        if self.refuses_puts.load(Ordering::Relaxed) {
            let (object, reason) = ("everything".to_string(), "out of order".to_string());
            return Err(Error::Unreachable { object, reason });
        }
        self.hanging.fetch_add(1, Ordering::SeqCst);
        drop(self.hang.lock().unwrap());
        self.hanging.fetch_sub(1, Ordering::SeqCst);
        self.count_put(level);
        self.inner.put_file(level, txids, created, source)
    }

    fn still_holds(&self, _: Level, _: TxidRange) -> Result<bool> {
        Ok(true) // as a storage answers that would have to be asked
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()> {
        self.deletes.fetch_add(1, Ordering::Relaxed);
        if self.refuses_deletes.load(Ordering::Relaxed) {
            let (object, reason) = ("everything".to_string(), "locked".to_string());
            return Err(Error::Denied { object, reason });
        }
        self.inner.delete(objects)
    }

    fn unknown(&self) -> Result<Vec<String>> {
        self.inner.unknown()
    }
}
