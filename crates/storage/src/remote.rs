//! A replica on a server: what is common to all of them.
//!
//! A backend implements [`Client`], the few requests that its server understands, each tried once.
//! [`Remote`] makes a [`Storage`] of it: retries, reads that go on where a connection broke,
//! uploads in parallel parts within bounded memory, deadlines, and counts.

mod body;
mod client;
mod memory;
mod meter;
mod patience;
mod read;
mod runtime;
mod upload;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::{Condition, Error, Key, Object, Result, Storage, Upload, Version};

pub(crate) use body::{Body, SILENCE};
pub(crate) use client::{Client, Entry, Page, Part, Parts, Put};
use meter::Meter;
pub use meter::{DURATION_BOUNDS, Operation, Tally, Usage};
use patience::Patience;
pub(crate) use patience::insist;
use read::Reading;
pub(crate) use runtime::block_on;
use upload::Uploading;

/// Requests to delete that are made at once.
const DELETES: usize = 8;

/// A replica on a server.
#[derive(Debug)]
pub(crate) struct Remote<C> {
    place: String,
    shared: Arc<Shared<C>>,
}

/// What its reads and uploads share.
#[derive(Debug)]
struct Shared<C> {
    client: C,
    meter: Meter,
}

impl<C: Client> Remote<C> {
    pub(crate) fn new(client: C, place: String) -> Remote<C> {
        Remote { place, shared: Arc::new(Shared { client, meter: Meter::default() }) }
    }

    fn key(&self, level: Level, txids: TxidRange) -> String {
        self.shared.client.layout().key(level, txids)
    }

    /// All names that begin with `prefix`, from `from` on where the server can.
    fn entries(&self, prefix: &str, from: Option<&str>) -> Result<Vec<Entry>> {
        block_on(async {
            let (mut entries, mut next) = (Vec::new(), None);
            loop {
                let page = self
                    .shared
                    .persist(Operation::List, || {
                        self.shared.client.list(prefix, from, next.as_deref())
                    })
                    .await?;
                entries.extend(page.entries);
                match page.next {
                    None => return Ok(entries),
                    token if token == next => {
                        return Err(Error::Corrupt {
                            object: self.shared.name(prefix),
                            reason: "the listing gives the same page again".into(),
                        });
                    }
                    token => next = token,
                }
            }
        })
    }

    fn read(&self, key: String, offset: u64) -> Result<Box<dyn Read + Send>> {
        let mut reading = Reading::new(Arc::clone(&self.shared), key, offset);
        reading.open()?;
        Ok(Box::new(reading))
    }
}

impl<C: Client> Shared<C> {
    /// An object's full name, for messages.
    fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.client.url().trim_end_matches('/'))
    }

    /// Tries a call until it succeeds, or fails for good, or patience runs out.
    async fn persist<T, F: Future<Output = Result<T>>>(
        &self,
        operation: Operation,
        call: impl Fn() -> F,
    ) -> Result<T> {
        let mut patience = Patience::of_calls(self.client.silence());
        loop {
            match self.meter.measure(operation, call()).await {
                Err(error) if error.is_passing() => patience.wait(error).await?,
                result => return result,
            }
        }
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let _memory = memory::take(put.body.len()).await;
        let bytes = put.body.len() as u64;
        let version = self.persist(Operation::Put, || self.client.put(put.clone())).await?;
        self.meter.moved(Operation::Put, bytes);
        Ok(version)
    }
}

impl<C: Client> Storage for Remote<C> {
    fn url(&self) -> String {
        self.shared.client.url()
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn name(&self, level: Level, txids: TxidRange) -> String {
        self.shared.name(&self.key(level, txids))
    }

    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>> {
        let layout = self.shared.client.layout();
        let directory = format!("{}/", layout.level_directory(level));
        let from = (from > Txid::FIRST).then_some(from);
        let first = from.map(|from| format!("{directory}{from}"));
        let mut objects: Vec<Object> = self
            .entries(&directory, first.as_deref())?
            .into_iter()
            .filter_map(|entry| {
                let (_, txids) = layout.parse(&entry.name).filter(|(found, _)| *found == level)?;
                Some(Object { level, txids, size: entry.size, created: entry.created })
            })
            .filter(|object| from.is_none_or(|from| object.txids.min >= from))
            .collect();
        objects.sort_unstable_by_key(|object| object.txids);
        Ok(objects)
    }

    /// The names of all levels come in a few pages, where levels would take one each.
    fn list_all(&self) -> Result<Vec<Object>> {
        let layout = self.shared.client.layout();
        let mut objects: Vec<Object> = self
            .entries(layout.all_levels(), None)?
            .into_iter()
            .filter_map(|entry| {
                let (level, txids) = layout.parse(&entry.name)?;
                Some(Object { level, txids, size: entry.size, created: entry.created })
            })
            .collect();
        objects.sort_unstable_by_key(|object| (object.level, object.txids));
        Ok(objects)
    }

    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()> {
        Reading::new(Arc::clone(&self.shared), self.key(level, txids), offset).fill(buf)
    }

    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>> {
        self.read(self.key(level, txids), offset)
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        let object = Object { level, txids, size: 0, created };
        Ok(Box::new(Uploading::new(Arc::clone(&self.shared), object, None)))
    }

    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &std::path::Path,
    ) -> Result<Object> {
        let local = |error| Error::from_io(source.display().to_string(), error);
        let mut file = std::fs::File::open(source).map_err(local)?;
        let size = file.metadata().map_err(local)?.len();
        let object = Object { level, txids, size: 0, created };
        let mut upload = Uploading::new(Arc::clone(&self.shared), object, Some(size));
        upload.take_from(&mut file).map_err(local)?;
        Box::new(upload).commit()
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()> {
        let keys: Vec<String> =
            objects.iter().map(|&(level, txids)| self.key(level, txids)).collect();
        let (client, shared) = (&self.shared.client, &self.shared);
        let several = keys.chunks(client.most_deletes().max(1));
        let deletes =
            several.map(|keys| shared.persist(Operation::Delete, move || client.delete(keys)));
        block_on(stream::iter(deletes).buffer_unordered(DELETES).try_collect())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let to_key = |it: Entry| Key { name: it.name, size: it.size, modified: it.created };
        let mut keys: Vec<Key> = self.entries(prefix, None)?.into_iter().map(to_key).collect();
        keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    fn open_key(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        self.read(key.to_owned(), 0)
    }

    fn unknown(&self) -> Result<Vec<String>> {
        let layout = self.shared.client.layout();
        let mut names: Vec<String> =
            self.entries("", None)?.into_iter().map(|it| it.name).collect();
        names.retain(|name| layout.parse(name).is_none() && !crate::layout::is_beside(name));
        Ok(names)
    }

    fn put_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Version> {
        let body = Bytes::copy_from_slice(body);
        let put = Put { key, body, created: None, condition: Some(condition) };
        let unsupported = || Error::Unsupported {
            url: self.url(),
            reason: "this storage has no conditional writes".into(),
        };
        block_on(self.shared.put(put))?.ok_or_else(unsupported)
    }

    fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
        let (client, shared) = (&self.shared.client, &self.shared);
        block_on(shared.persist(Operation::Get, || async {
            let body = client.get(key, 0, None).await?;
            let version = body.version.clone();
            let bytes = body.collect().await?;
            shared.meter.moved(Operation::Get, bytes.len() as u64);
            let missing = || Error::Unsupported {
                url: client.url(),
                reason: "this storage gives its objects no versions".into(),
            };
            Ok((bytes, version.ok_or_else(missing)?))
        }))
    }

    fn remove_key(&self, key: &str) -> Result<()> {
        let keys = [key.to_owned()];
        block_on(self.shared.persist(Operation::Delete, || self.shared.client.delete(&keys)))
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.shared.meter.usage(self.shared.client.kind()))
    }
}
