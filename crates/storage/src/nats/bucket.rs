//! What is asked of a bucket's stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::header::NATS_ROLLUP;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    ConsumerErrorKind, DirectGetErrorKind, PurgeErrorKind, RawMessageErrorKind,
};
use bytes::Bytes;
use futures_util::StreamExt;
use ltx::Timestamp;
use tokio::time::timeout;

use super::link::{Link, refused, unreachable};
use super::meta::{self, Meta, Sum};
use crate::remote::SILENCE;
use crate::{Error, Result};

/// How large a message is of which only the head is sent.
const SIZE: &str = "Nats-Msg-Size";
/// As other clients cut objects.
const CHUNK: usize = 128 * 1024;
/// What the head of a message may need beside its bytes.
const HEAD: usize = 4096;
/// Objects whose chunks we know by heart.
const KNOWN: usize = 16;

/// What is said of an object, and the number of the message that says it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) meta: Meta,
    pub(super) number: u64,
}

/// A message of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    Number(u64),
    /// The last of a subject.
    Last(&'a str),
}

/// The chunks of an object, in order: the number of each message, and where in the object it ends.
pub(super) type Chunks = Arc<Vec<(u64, u64)>>;

/// The chunks of objects that were read last.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<VecDeque<(String, Chunks)>>);

impl Link {
    /// How large a chunk may be.
    pub(super) fn chunk_size(&self) -> usize {
        CHUNK.min(self.most_bytes().saturating_sub(HEAD)).max(1)
    }

    /// What is said of an object; none if it is not there. The leader of the stream is asked, who
    /// knows what was stored a moment ago.
    pub(super) async fn said(&self, object: &str, subject: &str) -> Result<Option<Said>> {
        let ask = self.stream.raw_message_builder().last_by_subject(subject).send();
        let message = self.during(object, async {
            match ask.await {
                Ok(message) => Ok(Some(message)),
                Err(error) => match error.kind() {
                    RawMessageErrorKind::NoMessageFound => Ok(None),
                    RawMessageErrorKind::JetStream(error) => Err(refused(object, &error)),
                    _ => Err(unreachable(object, &error)),
                },
            }
        });
        let Some(message) = message.await? else { return Ok(None) };
        let meta = Meta::read(object, &message.payload)?;
        Ok(Some(Said { meta, number: message.sequence }))
    }

    /// All that is said of objects, and when it was said, by name.
    pub(super) async fn all_said(
        &self,
        object: &str,
        bucket: &str,
    ) -> Result<Vec<(Meta, Timestamp)>> {
        let mut metas = BTreeMap::new();
        let take = |message: &Message| {
            let meta = Meta::read(object, &message.payload)?;
            let info = message.info().map_err(|error| damaged(object, error.to_string()))?;
            let millis = info.published.unix_timestamp_nanos() / 1_000_000;
            let said = Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
            metas.insert(meta.name.clone(), (meta, said));
            Ok(())
        };
        self.read_through(object, meta::all_metas(bucket), false, take).await?;
        Ok(metas.into_values().filter(|(meta, _)| !meta.deleted).collect())
    }

    /// Where the bytes of an object are.
    pub(super) async fn chunks(&self, object: &str, subject: &str, meta: &Meta) -> Result<Chunks> {
        let (mut chunks, mut end) = (Vec::new(), 0);
        let take = |message: &Message| {
            let info = message.info().map_err(|error| damaged(object, error.to_string()))?;
            let size = message.headers.as_ref().and_then(|headers| headers.get(SIZE));
            let size = size.and_then(|size| size.as_str().parse::<u64>().ok());
            end += size.ok_or_else(|| damaged(object, "a chunk has no size".into()))?;
            chunks.push((info.stream_sequence, end));
            Ok(())
        };
        self.read_through(object, subject.to_owned(), true, take).await?;
        match (chunks.len() as u64, end) == (meta.chunks, meta.size) {
            true => Ok(Arc::new(chunks)),
            false => Err(damaged(object, format!("{end} of {} bytes are there", meta.size))),
        }
    }

    /// Reads all messages of a subject that are there now, or only their heads.
    async fn read_through(
        &self,
        object: &str,
        filter_subject: String,
        headers_only: bool,
        mut take: impl FnMut(&Message) -> Result<()>,
    ) -> Result<()> {
        let deliver_subject = self.inbox();
        let config = OrderedConfig {
            deliver_subject,
            filter_subject,
            headers_only,
            ..OrderedConfig::default()
        };
        let work = async {
            let consumer = self.stream.create_consumer(config).await;
            let consumer = consumer.map_err(|error| match error.kind() {
                ConsumerErrorKind::JetStream(error) => refused(object, &error),
                _ => unreachable(object, &error),
            })?;
            let (name, mut left) =
                (consumer.cached_info().name.clone(), consumer.cached_info().num_pending);
            let messages = consumer.messages().await;
            let mut messages = messages.map_err(|error| unreachable(object, &error))?;
            while left > 0 {
                let silent = |_| unreachable(object, &std::io::Error::other("no message came"));
                let message = timeout(SILENCE, messages.next()).await.map_err(silent)?;
                let ended = || unreachable(object, &std::io::Error::other("messages ended early"));
                let message = message.ok_or_else(ended)?;
                let message = message.map_err(|error| unreachable(object, &error))?;
                take(&message)?;
                left = message.info().map_err(|error| damaged(object, error.to_string()))?.pending;
            }
            drop(messages);
            // It would go by itself after a while.
            let _ = self.stream.delete_consumer(&name).await;
            Ok(())
        };
        self.during(object, work).await
    }

    /// The bytes of one message. Any server that has the stream may be asked, and if it does not
    /// have the message yet, the leader.
    pub(super) async fn bytes(&self, object: &str, which: Which<'_>) -> Result<Bytes> {
        let work = async {
            if self.stream.cached_info().config.allow_direct {
                let ask = self.stream.direct_get_builder();
                let ask = match which {
                    Which::Number(number) => ask.sequence(number),
                    Which::Last(subject) => ask.last_by_subject(subject),
                };
                match ask.send().await {
                    Ok(message) => return Ok(message.payload),
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
                    Err(error) => return Err(unreachable(object, &error)),
                }
            }
            let ask = self.stream.raw_message_builder();
            let ask = match which {
                Which::Number(number) => ask.sequence(number),
                Which::Last(subject) => ask.last_by_subject(subject),
            };
            ask.send().await.map(|message| message.payload).map_err(|error| match error.kind() {
                RawMessageErrorKind::NoMessageFound => {
                    damaged(object, "a chunk was not there".into())
                }
                RawMessageErrorKind::JetStream(error) => refused(object, &error),
                _ => unreachable(object, &error),
            })
        };
        self.during(object, work).await
    }

    /// Stores bytes as further chunks of an object, `last` being the number of the one before.
    /// Chunks that are on their way together must arrive in order.
    pub(super) async fn send(
        &self,
        object: &str,
        subject: &str,
        mut bytes: Bytes,
        sum: &mut Sum,
        last: &mut u64,
    ) -> Result<()> {
        let most = self.chunk_size();
        let work = async {
            let mut sent = Vec::new();
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(most));
                sum.add(&chunk);
                let message = PublishMessage::build().payload(chunk);
                let sending = self.context.send_publish(subject.to_owned(), message).await;
                sent.push(sending.map_err(|error| self.not_published(object, &error))?);
            }
            for stored in sent {
                let stored = stored.await.map_err(|error| self.not_published(object, &error))?;
                if stored.sequence <= *last {
                    return Err(damaged(object, "chunks were stored in another order".into()));
                }
                *last = stored.sequence;
            }
            Ok(())
        };
        self.during(object, work).await
    }

    /// Says what an object is, if the last that was said of it has this number. Gives the number of
    /// the new message.
    pub(super) async fn say(
        &self,
        object: &str,
        subject: &str,
        meta: &Meta,
        over: u64,
    ) -> Result<u64> {
        let json = serde_json::to_vec(meta).map_err(|error| damaged(object, error.to_string()))?;
        let message = PublishMessage::build()
            .payload(json.into())
            .header(NATS_ROLLUP, "sub")
            .expected_last_subject_sequence(over);
        let work = async {
            let sending = self.context.send_publish(subject.to_owned(), message).await;
            let stored = sending.map_err(|error| self.not_published(object, &error))?.await;
            stored.map(|it| it.sequence).map_err(|error| self.not_published(object, &error))
        };
        self.during(object, work).await
    }

    /// Removes all messages of a subject.
    pub(super) async fn purge(&self, object: &str, subject: &str) -> Result<()> {
        let work = async {
            let purged = self.stream.purge().filter(subject).await;
            purged.map(|_| ()).map_err(|error| match error.kind() {
                PurgeErrorKind::JetStream(error) => refused(object, &error),
                _ => unreachable(object, &error),
            })
        };
        self.during(object, work).await
    }
}

impl Known {
    pub(super) fn get(&self, nuid: &str) -> Option<Chunks> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(it, _)| it == nuid).map(|(_, chunks)| Arc::clone(chunks))
    }

    pub(super) fn note(&self, nuid: &str, chunks: &Chunks) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.truncate(KNOWN - 1);
        known.push_front((nuid.to_owned(), Arc::clone(chunks)));
    }
}

pub(super) fn damaged(object: &str, reason: String) -> Error {
    Error::Corrupt { object: object.to_owned(), reason }
}
