//! NATS: an object store in `JetStream`, laid out as all its clients lay it out.
//!
//! An object shows once its last message is stored, which says what it is; its bytes come before.
//! That message is stored only over the one that we know, so no write is lost or comes too late.

mod bucket;
mod link;
mod meta;
mod settings;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ltx::Timestamp;

use crate::address::{Address, Kind};
use crate::layout::{self, Layout};
use crate::remote::{Body, Client, Entry, Page, Part, Parts, Put, insist};
use crate::{Environment, Error, Options, Result, Version};
use bucket::{Chunks, Known, Said, Which, damaged};
use link::Link;
use meta::Meta;
use settings::Settings;
use upload::Session;

/// Larger objects are sent while they are being made.
const PART: usize = 4 << 20;
/// Chunks that are asked for ahead.
const AHEAD: usize = 8;

/// A replica in a bucket.
#[derive(Debug)]
pub(crate) struct Nats {
    address: Address,
    settings: Settings,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    known: Known,
    /// Objects, and bytes that may or may not have become theirs before an answer was lost.
    doubtful: Mutex<VecDeque<(String, String)>>,
}

/// Where an address leads to, spelled one way.
pub(crate) fn place(address: &Address, options: &Options, env: &Environment) -> Result<String> {
    Ok(Settings::of(address, options, env)?.spelled())
}

impl Nats {
    /// The bucket of an address. Nothing is asked of the server yet.
    pub(crate) fn new(address: &Address, options: &Options, env: &Environment) -> Result<Nats> {
        Ok(Nats {
            address: address.clone(),
            settings: Settings::of(address, options, env)?,
            link: tokio::sync::Mutex::default(),
            known: Known::default(),
            doubtful: Mutex::default(),
        })
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.url().trim_end_matches('/'))
    }

    /// The name of an object in the bucket.
    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.settings.base)
    }

    fn meta_subject(&self, key: &str) -> String {
        meta::meta_subject(&self.settings.bucket, &self.name(key))
    }

    fn chunk_subject(&self, nuid: &str) -> String {
        meta::chunk_subject(&self.settings.bucket, nuid)
    }

    /// The connection; a new one if there is none, or none of use.
    async fn link(&self, object: &str) -> Result<Arc<Link>> {
        let mut link = self.link.lock().await;
        match &*link {
            Some(link) if !link.is_gone() => Ok(Arc::clone(link)),
            _ => {
                *link = None;
                let new = Arc::new(Link::connect(&self.settings, object).await?);
                Ok(Arc::clone(link.insert(new)))
            }
        }
    }

    /// What is said of an object that is there.
    async fn find(&self, link: &Link, key: &str) -> Result<Said> {
        let object = self.object(key);
        match link.said(&object, &self.meta_subject(key)).await? {
            Some(said) if !said.meta.deleted => Ok(said),
            _ => Err(Error::NotFound { object }),
        }
    }

    async fn chunks(&self, link: &Link, object: &str, said: &Said) -> Result<Chunks> {
        let nuid = &said.meta.nuid;
        if let Some(chunks) = self.known.get(nuid) {
            return Ok(chunks);
        }
        let chunks = link.chunks(object, &self.chunk_subject(nuid), &said.meta).await?;
        self.known.note(nuid, &chunks);
        Ok(chunks)
    }

    /// The bytes of an object that is one chunk, or none.
    async fn only_chunk(&self, link: &Link, object: &str, meta: &Meta) -> Result<Bytes> {
        let bytes = match meta.chunks {
            0 => Bytes::new(),
            _ => link.bytes(object, Which::Last(&self.chunk_subject(&meta.nuid))).await?,
        };
        match bytes.len() as u64 == meta.size {
            true => Ok(bytes),
            false => {
                Err(damaged(object, format!("{} of {} bytes are there", bytes.len(), meta.size)))
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let (object, subject) = (self.object(key), self.meta_subject(key));
        let link = self.link(&object).await?;
        let Some(said) = link.said(&object, &subject).await? else { return Ok(()) };
        link.purge(&object, &subject).await?;
        match said.meta.chunks {
            0 => Ok(()),
            _ => link.purge(&object, &self.chunk_subject(&said.meta.nuid)).await,
        }
    }
}

impl Client for Nats {
    type Session = Session;

    fn kind(&self) -> Kind {
        Kind::Nats
    }

    fn url(&self) -> String {
        self.address.to_string()
    }

    fn layout(&self) -> Layout {
        Layout::Ltx
    }

    fn parts(&self) -> Parts {
        Parts { size: PART, most: u32::MAX, at_once: 1, equal: true, repeatable: false }
    }

    fn most_deletes(&self) -> usize {
        1
    }

    /// Servers can only tell all names, so that is what each listing costs.
    async fn list(&self, prefix: &str, _from: Option<&str>, _page: Option<&str>) -> Result<Page> {
        let (object, base) = (self.object(prefix), &self.settings.base);
        let link = self.link(&object).await?;
        let all = link.all_said(&object, &self.settings.bucket).await?;
        let is_ours = |name: &str| name.starts_with(base.as_str());
        let at_root = |name: &str| name.starts_with(layout::ROOT) && !base.is_empty();
        if !all.iter().any(|(it, _)| is_ours(&it.name))
            && all.iter().any(|(it, _)| at_root(&it.name))
        {
            return Err(Error::Unsupported {
                url: self.url(),
                reason: "there is no replica under this path, but one at the bucket's root, where \
                         Litestream keeps it whatever its path; \
                         hint: leave out the path, or take another bucket"
                    .into(),
            });
        }
        let mut entries = Vec::new();
        for (meta, stored) in all {
            let Some(name) = meta.name.strip_prefix(base.as_str()) else { continue };
            if name.starts_with(prefix) {
                let created = meta.when(&object)?.unwrap_or(stored);
                entries.push(Entry { name: name.to_owned(), size: meta.size, created });
            }
        }
        Ok(Page { entries, next: None })
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<Body> {
        let object = self.object(key);
        let link = self.link(&object).await?;
        let said = self.find(&link, key).await?;
        let (size, version) = (said.meta.size, Some(Version(said.number.to_string())));
        if offset >= size && offset > 0 {
            return Err(Error::Short { object, offset, wanted: length.unwrap_or(0) });
        }
        let end = length.map_or(size, |length| size.min(offset.saturating_add(length)));
        if said.meta.chunks <= 1 {
            let bytes = self.only_chunk(&link, &object, &said.meta).await?;
            let bytes = stream::iter([Ok(bytes.slice(offset as usize..end as usize))]);
            return Ok(Body::new(object, Some(size), bytes).with_version(version));
        }
        let chunks = self.chunks(&link, &object, &said).await?;
        let bytes = slices(&chunks, offset, end).map({
            let object = object.clone();
            move |slice| slice.fetch(Arc::clone(&link), object.clone())
        });
        let bytes = stream::iter(bytes.collect::<Vec<_>>()).buffered(AHEAD);
        Ok(Body::new(object, Some(size), bytes).with_version(version))
    }

    async fn put(&self, put: Put<'_>) -> Result<Option<Version>> {
        let session = self.session(put.key, put.created);
        let stored = async {
            self.send(&session, 0, put.body).await?;
            self.show(&session, put.condition).await
        };
        match stored.await {
            Ok(version) => Ok(Some(version)),
            Err(error) => {
                // What stays shows to nobody.
                match error {
                    Error::Unreachable { .. } => self.doubt(&session),
                    _ => drop(self.give_up(&session).await),
                }
                Err(error)
            }
        }
    }

    async fn begin(&self, key: &str, created: Timestamp) -> Result<Session> {
        Ok(self.session(key, Some(created)))
    }

    async fn put_part(&self, session: &Session, part: Part) -> Result<()> {
        self.send(session, part.offset, part.body).await
    }

    async fn finish(&self, session: &Session, _parts: u32, size: u64) -> Result<()> {
        self.send(session, size, Bytes::new()).await?;
        insist(|| async { self.show(session, None).await.map(|_| ()) }).await
    }

    async fn abort(&self, session: &Session) -> Result<()> {
        self.give_up(session).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            self.remove(key).await?;
        }
        Ok(())
    }
}

/// A part of a chunk: the number of its message, and which of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    number: u64,
    from: usize,
    to: usize,
}

impl Slice {
    async fn fetch(self, link: Arc<Link>, object: String) -> Result<Bytes> {
        let bytes = link.bytes(&object, Which::Number(self.number)).await?;
        match self.to <= bytes.len() {
            true => Ok(bytes.slice(self.from..self.to)),
            false => Err(damaged(&object, "a chunk is too short".into())),
        }
    }
}

/// What holds the bytes from `offset` to `end`.
fn slices(chunks: &[(u64, u64)], offset: u64, end: u64) -> impl Iterator<Item = Slice> {
    let begins = [0].into_iter().chain(chunks.iter().map(|&(_, end)| end));
    let within = |at: u64, begin: u64, stop: u64| (at.clamp(begin, stop) - begin) as usize;
    chunks
        .iter()
        .zip(begins)
        .map(move |(&(number, stop), begin)| Slice {
            number,
            from: within(offset, begin, stop),
            to: within(end, begin, stop),
        })
        .filter(|slice| slice.from < slice.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_from_its_chunks_alone() {
        let chunks = [(3, 10), (7, 20), (8, 25)];
        let cut = |offset, end| {
            slices(&chunks, offset, end).map(|it| (it.number, it.from, it.to)).collect::<Vec<_>>()
        };
        assert_eq!(cut(0, 25), [(3, 0, 10), (7, 0, 10), (8, 0, 5)]);
        assert_eq!(cut(10, 20), [(7, 0, 10)]);
        assert_eq!(cut(9, 21), [(3, 9, 10), (7, 0, 10), (8, 0, 1)]);
        assert_eq!(cut(12, 13), [(7, 2, 3)]);
        assert_eq!(cut(25, 25), []);
    }
}
