//! An object on its way: its bytes first, and then what it is.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ltx::Timestamp;
use tokio::sync::Mutex;

use super::bucket::Said;
use super::link::Link;
use super::meta::{self, Meta, Sum};
use super::{Nats, damaged};
use crate::{Condition, Error, Result, Version};

/// More leftovers than these stay where they are.
const MOST_DOUBTS: usize = 64;

/// An object that is being sent.
#[derive(Debug)]
pub(crate) struct Session {
    key: String,
    created: Option<Timestamp>,
    nuid: String,
    sent: Mutex<Sent>,
    /// Whether the object may show already.
    may_show: AtomicBool,
}

#[derive(Debug, Default)]
struct Sent {
    sum: Sum,
    /// The number of the last message.
    last: u64,
    /// Whether some of it may be stored and some not.
    is_torn: bool,
}

impl Nats {
    pub(super) fn session(&self, key: &str, created: Option<Timestamp>) -> Session {
        Session {
            key: key.to_owned(),
            created,
            nuid: meta::nuid(),
            sent: Mutex::default(),
            may_show: AtomicBool::new(false),
        }
    }

    /// Stores the next bytes of an object, those from `offset` on.
    pub(super) async fn send(&self, session: &Session, offset: u64, bytes: Bytes) -> Result<()> {
        let object = self.object(&session.key);
        let link = self.link(&object).await?;
        let mut sent = session.sent.lock().await;
        if std::mem::replace(&mut sent.is_torn, true) {
            return Err(damaged(&object, "an upload went on after it had failed".into()));
        }
        let Sent { sum, last, .. } = &mut *sent;
        if sum.size != offset {
            let reason = format!("{offset} bytes were to be sent, {} were", sum.size);
            return Err(damaged(&object, reason));
        }
        link.send(&object, &self.chunk_subject(&session.nuid), bytes, sum, last).await?;
        sent.is_torn = false;
        Ok(())
    }

    /// Makes the object that was sent visible, if the condition holds. May be asked again.
    pub(super) async fn show(
        &self,
        session: &Session,
        condition: Option<&Condition>,
    ) -> Result<Version> {
        let (object, subject) = (self.object(&session.key), self.meta_subject(&session.key));
        let link = self.link(&object).await?;
        let sum = session.sent.lock().await.sum.clone();
        let (bucket, name) = (&self.settings.bucket, self.name(&session.key));
        let meta = Meta::new(bucket, &name, &session.nuid, sum, link.chunk_size());
        let meta = meta.created(session.created);
        let over = match condition {
            Some(Condition::Unchanged(Version(version))) => {
                version.parse().map_err(|_| Error::Conflict { object: object.clone() })?
            }
            _ => 0,
        };
        session.may_show.store(true, Ordering::Relaxed);
        let mut old = None;
        let shown = match link.say(&object, &subject, &meta, over).await {
            Err(Error::Conflict { .. }) => {
                old = link.said(&object, &subject).await?;
                match (&old, condition) {
                    // The answer to an earlier try was lost.
                    (Some(said), _) if said.meta.nuid == session.nuid => {
                        return Ok(Version(said.number.to_string()));
                    }
                    (Some(said), Some(Condition::Absent)) if said.meta.deleted => {
                        link.say(&object, &subject, &meta, said.number).await
                    }
                    (Some(said), None) => link.say(&object, &subject, &meta, said.number).await,
                    (None, None) => link.say(&object, &subject, &meta, 0).await,
                    _ => Err(Error::Conflict { object: object.clone() }),
                }
            }
            shown => shown,
        };
        match shown {
            Ok(number) => {
                self.clear(&link, &session.key, old).await;
                Ok(Version(number.to_string()))
            }
            Err(error) => {
                let is_refused = matches!(error, Error::Conflict { .. });
                session.may_show.store(!is_refused, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Removes the bytes that a new object has taken the place of, as far as that works.
    async fn clear(&self, link: &Link, key: &str, old: Option<Said>) {
        let mut nuids: Vec<String> = old.into_iter().map(|old| old.meta.nuid).collect();
        {
            let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
            doubtful.retain(|(it, nuid)| {
                let is_over = it == key;
                nuids.extend(is_over.then(|| nuid.clone()));
                !is_over
            });
        }
        for nuid in nuids {
            let _ = link.purge(&self.object(key), &self.chunk_subject(&nuid)).await;
        }
    }

    /// Removes what was sent, unless it may be that the object shows: then a later one of its name
    /// will do it.
    pub(super) async fn give_up(&self, session: &Session) -> Result<()> {
        if session.may_show.load(Ordering::Relaxed) {
            self.doubt(session);
            return Ok(());
        }
        let object = self.object(&session.key);
        let (link, subject) = (self.link(&object).await?, self.chunk_subject(&session.nuid));
        // What is still on its way would come after the purge: let it come first.
        let (last, mut sum, mut number) = (Bytes::from_static(b"end"), Sum::default(), 0);
        link.send(&object, &subject, last, &mut sum, &mut number).await?;
        link.purge(&object, &subject).await
    }

    /// Notes what may or may not be stored.
    pub(super) fn doubt(&self, session: &Session) {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        doubtful.truncate(MOST_DOUBTS - 1);
        doubtful.push_front((session.key.clone(), session.nuid.clone()));
    }
}
