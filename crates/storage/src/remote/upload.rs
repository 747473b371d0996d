//! An object on its way to a server: whole if it is small, else in parts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Client, Operation, Part, Parts, Put, Shared, block_on, memory};
use crate::{Error, Object, Result, Upload};

/// After each tenth of the parts that an object of unknown size may have, they grow by so many
/// times the first, so that their number stays below.
const STEP: usize = 4;

/// An object on its way.
pub(super) struct Uploading<C: Client> {
    shared: Arc<Shared<C>>,
    object: Object,
    key: String,
    parts: Parts,
    /// Bytes that the object will have, if that is known.
    expected: Option<u64>,
    buffer: Vec<u8>,
    /// Parts that were handed out.
    number: u32,
    session: Option<Arc<C::Session>>,
    tasks: JoinSet<Result<()>>,
    /// A part is lost: whatever the caller makes of the error, there is no object to be had.
    broken: bool,
}

impl<C: Client> Uploading<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, object: Object, expected: Option<u64>) -> Self {
        let (key, parts) =
            (shared.client.layout().key(object.level, object.txids), shared.client.parts());
        Uploading {
            shared,
            object,
            key,
            parts,
            expected,
            buffer: Vec::new(),
            number: 0,
            session: None,
            tasks: JoinSet::new(),
            broken: false,
        }
    }

    /// Takes all of a file. An error is the file's; the server's come out at the commit.
    pub(super) fn take_from(&mut self, file: &mut File) -> io::Result<()> {
        loop {
            let room = self.part_size() - self.buffer.len();
            let came = file.take(room as u64).read_to_end(&mut self.buffer)?;
            if came < room {
                return Ok(());
            }
            if let Err(error) = self.send() {
                self.tasks.abort_all();
                return Err(io::Error::other(error));
            }
        }
    }

    fn part_size(&self) -> usize {
        part_size(&self.parts, self.number, self.expected)
    }

    /// Hands the buffer out as the next part.
    fn send(&mut self) -> Result<()> {
        let sent = self.try_send();
        self.broken |= sent.is_err();
        sent
    }

    fn try_send(&mut self) -> Result<()> {
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        let part = Part { number: self.number, offset: self.object.size, body };
        self.object.size += part.body.len() as u64;
        self.number += 1;
        block_on(async {
            let session = match &self.session {
                Some(session) => Arc::clone(session),
                None => {
                    let begun = self.begin().await?;
                    Arc::clone(self.session.insert(Arc::new(begun)))
                }
            };
            while self.tasks.len() >= self.parts.at_once.max(1) {
                joined(self.tasks.join_next().await)?;
            }
            let memory = memory::take(part.body.len()).await;
            let (shared, repeatable) = (Arc::clone(&self.shared), self.parts.repeatable);
            self.tasks.spawn(async move {
                let _memory = memory;
                let bytes = part.body.len() as u64;
                let put = || shared.client.put_part(&session, part.clone());
                match repeatable {
                    true => shared.persist(Operation::Put, put).await?,
                    false => shared.meter.measure(Operation::Put, put()).await?,
                }
                shared.meter.moved(Operation::Put, bytes);
                Ok(())
            });
            Ok(())
        })
    }

    async fn begin(&self) -> Result<C::Session> {
        let begin = || self.shared.client.begin(&self.key, self.object.created);
        self.shared.persist(Operation::Put, begin).await
    }

    /// A small object.
    fn put_whole(&mut self) -> Result<Object> {
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        self.object.size = body.len() as u64;
        let created = Some(self.object.created);
        block_on(self.shared.put(Put { key: &self.key, body, created, condition: None }))?;
        Ok(self.object)
    }

    async fn finish(&mut self, session: Arc<C::Session>) -> Result<()> {
        while let Some(task) = self.tasks.join_next().await {
            joined(Some(task))?;
        }
        let (parts, size) = (self.number, self.object.size);
        let finish = || self.shared.client.finish(&session, parts, size);
        match self.parts.repeatable {
            true => self.shared.persist(Operation::Put, finish).await,
            false => self.shared.meter.measure(Operation::Put, finish()).await,
        }
    }
}

fn joined(task: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match task {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            Err(Error::Io { object: "an upload".into(), source: io::Error::other(error) })
        }
    }
}

/// How large the part of this number is.
fn part_size(parts: &Parts, number: u32, expected: Option<u64>) -> usize {
    let least = expected.map_or(0, |size| {
        usize::try_from(size.div_ceil(u64::from(parts.most.max(2) - 1))).unwrap_or(usize::MAX)
    });
    match parts.equal || expected.is_some() {
        true => parts.size.max(least),
        false => parts.size * (1 + STEP * (number / (parts.most / 10).max(1)) as usize),
    }
}

impl<C: Client> Write for Uploading<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.part_size() - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if taken == room {
            self.send().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<C: Client> Upload for Uploading<C> {
    fn commit(mut self: Box<Self>) -> Result<Object> {
        if self.broken {
            return Err(Error::Io {
                object: self.shared.name(&self.key),
                source: io::Error::other("a part of it could not be stored"),
            });
        }
        if self.session.is_none() {
            return self.put_whole();
        }
        if !self.buffer.is_empty() {
            self.send()?;
        }
        let Some(session) = self.session.clone() else { return self.put_whole() };
        block_on(self.finish(session))?;
        self.session = None;
        Ok(self.object)
    }
}

impl<C: Client> Drop for Uploading<C> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.tasks.abort_all();
        // What stays is billed, but harms nobody; the bucket's rules may remove it.
        let _ = block_on(async {
            while self.tasks.join_next().await.is_some() {}
            self.shared.meter.measure(Operation::Delete, self.shared.client.abort(&session)).await
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use ltx::{Level, Timestamp, Txid, TxidRange};

    use super::super::{Body, Page, Remote};
    use super::*;
    use crate::address::Kind;
    use crate::layout::Layout;
    use crate::{Storage, Version};

    const PARTS: Parts =
        Parts { size: 5 << 20, most: 10_000, at_once: 5, equal: false, repeatable: true };

    #[test]
    fn a31_parts_grow_so_that_their_number_has_no_end() {
        let reach: u64 = (0..10_000).map(|it| part_size(&PARTS, it, None) as u64).sum();
        assert!(reach > 900 << 30, "{reach} bytes in 10,000 parts");
        let known = part_size(&PARTS, 0, Some(100 << 30));
        assert!((known as u64) * 9_999 >= 100 << 30, "{known}");
        assert_eq!(part_size(&PARTS, 9_998, Some(100 << 30)), known);
        assert_eq!(part_size(&PARTS, 0, Some(3)), 5 << 20);
    }

    /// A server that takes 20 parts, of 1000 bytes as a rule.
    #[derive(Debug, Default)]
    struct Narrow(Mutex<BTreeMap<u32, Part>>);

    impl Narrow {
        fn parts(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Part>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn refused() -> Error {
        Error::Io { object: "o".into(), source: io::Error::other("not here") }
    }

    impl Client for Narrow {
        type Session = ();

        fn kind(&self) -> Kind {
            Kind::S3
        }

        fn url(&self) -> String {
            "s3://b".into()
        }

        fn layout(&self) -> Layout {
            Layout::Hex
        }

        fn parts(&self) -> Parts {
            Parts { size: 1000, most: 20, ..PARTS }
        }

        async fn list(&self, _: &str, _: Option<&str>, _: Option<&str>) -> Result<Page> {
            Err(refused())
        }

        async fn get(&self, _: &str, _: u64, _: Option<u64>) -> Result<Body> {
            Err(refused())
        }

        async fn put(&self, _: Put<'_>) -> Result<Option<Version>> {
            Err(refused())
        }

        async fn begin(&self, _: &str, _: Timestamp) -> Result<()> {
            Ok(())
        }

        async fn put_part(&self, (): &(), part: Part) -> Result<()> {
            match part.number < 20 {
                true => drop(self.parts().insert(part.number, part)),
                false => return Err(refused()),
            }
            Ok(())
        }

        async fn finish(&self, (): &(), parts: u32, _: u64) -> Result<()> {
            assert_eq!(parts as usize, self.parts().len());
            Ok(())
        }

        async fn abort(&self, (): &()) -> Result<()> {
            Ok(())
        }

        async fn delete(&self, _: &[String]) -> Result<()> {
            Err(refused())
        }
    }

    #[test]
    fn an_object_that_lost_a_part_is_never_stored_without_it() {
        let one = TxidRange { min: Txid::FIRST, max: Txid::FIRST };
        let remote = Remote::new(Narrow::default(), "s3://b".into());
        let created = Timestamp::from_millis(0);
        let mut upload = remote.create(Level::SNAPSHOT, one, created).expect("create");
        // More than 20 parts of growing sizes take: some write fails, and is not heeded.
        let failed = (0..1_000).any(|_| upload.write_all(&[7; 10_000]).is_err());
        assert!(failed);
        upload.commit().expect_err("the object is not whole");
    }

    #[test]
    fn a31_what_has_more_bytes_than_the_usual_parts_is_stored_all_the_same() {
        let bytes: Vec<u8> = (0..25_000_u32).map(|it| (it % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&bytes).expect("write");
        let (one, created) =
            (TxidRange { min: Txid::FIRST, max: Txid::FIRST }, Timestamp::from_millis(0));
        for size_is_known in [true, false] {
            let remote = Remote::new(Narrow::default(), "s3://b".into());
            if size_is_known {
                remote.put_file(Level::SNAPSHOT, one, created, file.path()).expect("put");
            } else {
                let mut upload = remote.create(Level::SNAPSHOT, one, created).expect("create");
                upload.write_all(&bytes).expect("write");
                upload.commit().expect("commit");
            }
            let parts = remote.shared.client.parts();
            let stored: Vec<u8> = parts.values().flat_map(|part| part.body.to_vec()).collect();
            assert!(stored == bytes, "in {} parts", parts.len());
        }
    }
}
