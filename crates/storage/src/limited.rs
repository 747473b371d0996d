//! A storage that is asked no faster than somebody wants to pay for.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::{Condition, Error, Key, Object, Result, Storage, Upload, Usage, Version, copy_file};

/// After a pause, so much may go out at once.
const BURST: Duration = Duration::from_secs(1);
/// Bytes of an upload that is being made that are waited for at once.
const PIECE: usize = 64 * 1024;

/// Limits that all storages of a process share.
#[derive(Debug, Default)]
pub struct Limits {
    upload: Option<Rate>,
    requests: Option<Rate>,
}

/// So many in a second, on average.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    /// When all that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    fn new(per_second: u64) -> Rate {
        Rate { per_second: per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until what was taken before is paid for, and takes more.
    fn take(&self, count: u64) {
        let wait = self.charge(count, Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
    }

    /// How long to wait before it may be used.
    fn charge(&self, count: u64, now: Instant) -> Duration {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = now.checked_sub(BURST).map_or(*paid, |earliest| earliest.max(*paid));
        *paid = begins + Duration::from_secs_f64(count as f64 / self.per_second as f64);
        begins.saturating_duration_since(now)
    }
}

impl Limits {
    /// Bytes that are uploaded, and requests that are made, in a second.
    #[must_use]
    pub fn new(upload: Option<u64>, requests: Option<u64>) -> Limits {
        Limits { upload: upload.map(Rate::new), requests: requests.map(Rate::new) }
    }

    /// A storage under these limits.
    #[must_use]
    pub fn apply(self: &Arc<Limits>, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        if self.upload.is_none() && self.requests.is_none() {
            return storage;
        }
        Arc::new(Limited { storage, limits: Arc::clone(self) })
    }

    /// Whether the upload of so many bytes takes longer than others shall wait for it.
    fn is_long(&self, bytes: u64) -> bool {
        self.upload.as_ref().is_some_and(|rate| bytes > rate.per_second)
    }

    fn request(&self) {
        self.requests.iter().for_each(|rate| rate.take(1));
    }

    fn upload(&self, bytes: u64) {
        self.upload.iter().for_each(|rate| rate.take(bytes));
    }
}

#[derive(Debug)]
struct Limited {
    storage: Arc<dyn Storage>,
    limits: Arc<Limits>,
}

impl Storage for Limited {
    fn url(&self) -> String {
        self.storage.url()
    }

    fn place(&self) -> String {
        self.storage.place()
    }

    fn name(&self, level: Level, txids: TxidRange) -> String {
        self.storage.name(level, txids)
    }

    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>> {
        self.limits.request();
        self.storage.list(level, from)
    }

    fn list_all(&self) -> Result<Vec<Object>> {
        self.limits.request();
        self.storage.list_all()
    }

    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.limits.request();
        self.storage.read_at(level, txids, offset, buf)
    }

    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>> {
        self.limits.request();
        self.storage.open(level, txids, offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.limits.request();
        let upload = self.storage.create(level, txids, created)?;
        Ok(Box::new(LimitedUpload { upload, limits: Arc::clone(&self.limits) }))
    }

    fn create_new(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.limits.request();
        let upload = self.storage.create_new(level, txids, created)?;
        Ok(Box::new(LimitedUpload { upload, limits: Arc::clone(&self.limits) }))
    }

    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        let size = std::fs::metadata(source)
            .map_err(|error| Error::from_io(source.display().to_string(), error))?
            .len();
        if self.limits.is_long(size) {
            // Piece by piece, so that others have their turns in between.
            let create = || self.create_new(level, txids, created);
            return copy_file(source, &self.name(level, txids), create);
        }
        self.limits.request();
        self.limits.upload(size);
        self.storage.put_file(level, txids, created, source)
    }

    fn is_metered(&self) -> bool {
        self.limits.requests.is_some() || self.storage.is_metered()
    }

    fn still_holds(&self, level: Level, txids: TxidRange) -> Result<bool> {
        self.storage.still_holds(level, txids)
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()> {
        self.limits.request();
        self.storage.delete(objects)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.limits.request();
        self.storage.keys(prefix)
    }

    fn open_key(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        self.limits.request();
        self.storage.open_key(key)
    }

    fn put_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Version> {
        self.limits.request();
        self.storage.put_if(key, body, condition)
    }

    fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
        self.limits.request();
        self.storage.get_versioned(key)
    }

    fn remove_key(&self, key: &str) -> Result<()> {
        self.limits.request();
        self.storage.remove_key(key)
    }

    fn holds_lease(&self) -> Option<bool> {
        self.storage.holds_lease()
    }

    fn has_other_writer(&self) -> bool {
        self.storage.has_other_writer()
    }

    fn usage(&self) -> Option<Usage> {
        self.storage.usage()
    }

    fn unknown(&self) -> Result<Vec<String>> {
        self.limits.request();
        self.storage.unknown()
    }
}

struct LimitedUpload {
    upload: Box<dyn Upload>,
    limits: Arc<Limits>,
}

impl Write for LimitedUpload {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let piece = &buf[..buf.len().min(PIECE)];
        self.limits.upload(piece.len() as u64);
        self.upload.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for LimitedUpload {
    fn commit(self: Box<Self>) -> Result<Object> {
        self.upload.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileStorage;

    #[test]
    fn a_large_file_holds_no_small_one_up() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Arc::new(Limits::new(Some(1 << 20), None));
        let open = |name: &str| limits.apply(Arc::new(FileStorage::new(folder.path().join(name))));
        let put = |storage: &dyn Storage, source: &Path| {
            let one = TxidRange::single(Txid::FIRST);
            storage.put_file(Level::L0, one, Timestamp::from_millis(1), source).unwrap()
        };
        let source = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![7; bytes]).unwrap();
            path
        };
        let (large, small) = (source("large", 4 << 20), source("small", 1 << 10));
        let (first, second) = (open("first"), open("second"));
        thread::scope(|scope| {
            let sent = scope.spawn(|| put(&*first, &large));
            // Its beginning is paid for by what was saved up, and then it has to wait.
            while limits.upload.as_ref().unwrap().charge(0, Instant::now()).is_zero() {
                thread::yield_now();
            }
            put(&*second, &small);
            assert!(!sent.is_finished(), "the small one waited for the large one");
            assert_eq!(sent.join().unwrap().size, 4 << 20);
        });
    }

    #[test]
    fn a_large_file_takes_the_place_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Arc::new(Limits::new(Some(1 << 20), None));
        let storage = limits.apply(Arc::new(FileStorage::new(folder.path().join("replica"))));
        let put = |byte: u8| {
            let source = folder.path().join("source");
            std::fs::write(&source, vec![byte; (1 << 20) + 1]).unwrap();
            let one = TxidRange::single(Txid::FIRST);
            storage.put_file(Level::L0, one, Timestamp::from_millis(1), &source)
        };
        assert!(limits.is_long((1 << 20) + 1));
        put(7).unwrap();
        assert!(matches!(put(8), Err(Error::Conflict { .. })));
        put(7).unwrap();
    }

    #[test]
    fn what_was_taken_is_paid_for_before_more_is() {
        let rate = Rate::new(100);
        let now = Instant::now() + Duration::from_secs(10);
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(rate.charge(200, at(0)), Duration::ZERO, "a second's worth is in hand");
        assert_eq!(rate.charge(100, at(0)), Duration::from_secs(1));
        assert_eq!(rate.charge(1, at(500)), Duration::from_millis(1500));
        assert_eq!(rate.charge(1, at(60_000)), Duration::ZERO);
    }
}
