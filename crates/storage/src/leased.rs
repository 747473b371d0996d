//! A replica that is written to only while its lease is ours.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::{Condition, Key, Lease, Object, Result, Storage, Upload, Usage, Version};

/// A storage whose listings and changes fail with [`Error::Unleased`](crate::Error::Unleased)
/// without a lease: what is decided from a listing is only true while nobody else writes.
#[derive(Debug)]
pub struct Leased {
    storage: Arc<dyn Storage>,
    lease: Arc<Lease>,
}

impl Leased {
    /// A storage, and the lease on it.
    pub fn new(storage: Arc<dyn Storage>, lease: Arc<Lease>) -> Leased {
        Leased { storage, lease }
    }
}

impl Storage for Leased {
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
        self.lease.check()?;
        self.storage.list(level, from)
    }

    fn list_all(&self) -> Result<Vec<Object>> {
        self.lease.check()?;
        self.storage.list_all()
    }

    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.storage.read_at(level, txids, offset, buf)
    }

    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>> {
        self.storage.open(level, txids, offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.lease.check_to_write()?;
        let upload = self.storage.create(level, txids, created)?;
        Ok(Box::new(LeasedUpload { upload, lease: Arc::clone(&self.lease) }))
    }

    fn create_new(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.lease.check_to_write()?;
        let upload = self.storage.create_new(level, txids, created)?;
        Ok(Box::new(LeasedUpload { upload, lease: Arc::clone(&self.lease) }))
    }

    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        self.lease.check_to_write()?;
        self.storage.put_file(level, txids, created, source)
    }

    fn is_metered(&self) -> bool {
        self.storage.is_metered()
    }

    fn still_holds(&self, level: Level, txids: TxidRange) -> Result<bool> {
        self.lease.check()?;
        self.storage.still_holds(level, txids)
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()> {
        self.lease.check_to_write()?;
        self.storage.delete(objects)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        self.storage.keys(prefix)
    }

    fn open_key(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        self.storage.open_key(key)
    }

    fn put_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Version> {
        self.lease.check_to_write()?;
        self.storage.put_if(key, body, condition)
    }

    fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
        self.storage.get_versioned(key)
    }

    fn remove_key(&self, key: &str) -> Result<()> {
        self.lease.check_to_write()?;
        self.storage.remove_key(key)
    }

    fn usage(&self) -> Option<Usage> {
        self.storage.usage()
    }

    fn holds_lease(&self) -> Option<bool> {
        Some(self.lease.check().is_ok())
    }

    fn has_other_writer(&self) -> bool {
        self.lease.has_other_writer()
    }

    fn unknown(&self) -> Result<Vec<String>> {
        self.storage.unknown()
    }
}

struct LeasedUpload {
    upload: Box<dyn Upload>,
    lease: Arc<Lease>,
}

impl Write for LeasedUpload {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.upload.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for LeasedUpload {
    fn commit(self: Box<Self>) -> Result<Object> {
        self.lease.check()?;
        self.upload.commit()
    }
}
