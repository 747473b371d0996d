//! The bytes that a server sends.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::{Error, Result, Version};

/// How long a server may be silent, unless an option says otherwise.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// A server that sends less in that time counts as silent, too.
const TRICKLE: usize = 4096;

/// The bytes of an object, or of a part of it, as they come in.
pub(crate) struct Body {
    /// For messages.
    object: String,
    stream: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
    /// The object's whole size, if the server said it.
    pub(crate) size: Option<u64>,
    /// The object's version, if the server has such.
    pub(crate) version: Option<Version>,
    /// What arrived since `deadline` was set.
    arrived: usize,
    deadline: Instant,
    silence: Duration,
}

impl Body {
    /// The bytes of `object` that `stream` brings.
    pub(crate) fn new(
        object: String,
        size: Option<u64>,
        stream: impl Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Body {
        let deadline = Instant::now() + SILENCE;
        let (stream, silence) = (Box::pin(stream), SILENCE);
        Body { object, stream, size, version: None, arrived: 0, deadline, silence }
    }

    /// The same of a server that may be silent for so long.
    pub(crate) fn within(self, silence: Duration) -> Body {
        Body { silence, deadline: Instant::now() + silence, ..self }
    }

    /// The same with a version.
    pub(crate) fn with_version(self, version: Option<Version>) -> Body {
        Body { version, ..self }
    }

    /// The next bytes; none at the end. Fails if the server is silent, or all but silent.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.arrived == 0 {
            self.deadline = Instant::now() + self.silence;
        }
        let next = match timeout_at(self.deadline, self.stream.next()).await {
            Ok(next) => next.transpose()?,
            Err(_) => return Err(self.silent()),
        };
        self.arrived += next.as_ref().map_or(0, Bytes::len);
        if self.arrived >= TRICKLE {
            self.arrived = 0;
        }
        Ok(next)
    }

    /// All of it, of a small object.
    pub(crate) async fn collect(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    fn silent(&self) -> Error {
        let reason = format!("the server sent nothing for {:?}", self.silence);
        Error::Unreachable { object: self.object.clone(), reason }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("object", &self.object).finish_non_exhaustive()
    }
}
