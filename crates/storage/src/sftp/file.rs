//! A file that is open on the server, read and written by many requests at once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::{join, join3, poll_immediate};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use ltx::Timestamp;
use russh_sftp::client::error::Error as Failure;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{Data, FileAttributes, OpenFlags, StatusCode};
use tokio::runtime::Handle as Runtime;

use super::connection::Connection;
use super::failure;
use crate::{Error, Result};

/// Bytes of a file that are on their way at once.
const ON_THE_WAY: usize = 2 << 20;

/// An open file. It is closed when it is dropped.
#[derive(Debug)]
pub(super) struct File {
    connection: Arc<Connection>,
    handle: String,
    /// For messages.
    object: String,
    path: String,
    is_closed: AtomicBool,
    runtime: Runtime,
}

impl File {
    pub(super) async fn open(
        connection: Arc<Connection>,
        object: &str,
        path: &str,
        flags: OpenFlags,
    ) -> Result<File> {
        let opened = connection.sftp().open(path, flags, FileAttributes::empty());
        let handle = connection.ask(object, opened).await?.handle;
        Ok(File {
            connection,
            handle,
            object: object.to_owned(),
            path: path.to_owned(),
            is_closed: AtomicBool::new(false),
            runtime: Runtime::current(),
        })
    }

    /// Its size in bytes.
    pub(super) async fn size(&self) -> Result<u64> {
        let asked = self.connection.sftp().fstat(&self.handle);
        let size = self.connection.ask(&self.object, asked).await?.attrs.size;
        size.ok_or_else(|| Error::Corrupt {
            object: self.object.clone(),
            reason: "the server does not say how large the file is".into(),
        })
    }

    /// Its size, and the first bytes from `offset` on, of which `length` are wanted.
    pub(super) async fn begin(&self, offset: u64, length: Option<u64>) -> Result<(u64, Bytes)> {
        let step = self.connection.can.read;
        let length = length.map_or(step, |it| u32::try_from(it).unwrap_or(step).min(step));
        let (size, first) = join(self.size(), self.read_once(offset, length)).await;
        Ok((size?, Bytes::from(first?)))
    }

    /// The bytes from `offset` to `end`, which is not after the file's end.
    pub(super) fn read(
        self: Arc<File>,
        offset: u64,
        end: u64,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let step = self.connection.can.read;
        let depth = (ON_THE_WAY / step as usize).max(1);
        let pieces = stream::iter((offset..end.max(offset)).step_by(step as usize));
        let pieces = pieces.map(move |at| {
            let (file, length) = (Arc::clone(&self), u64::from(step).min(end - at));
            async move { file.read_piece(at, u32::try_from(length).unwrap_or(step)).await }
        });
        // A server may give less than it was asked for; nothing at all is an early end.
        pieces.buffered(depth).try_filter(|piece| std::future::ready(!piece.is_empty()))
    }

    /// So many bytes, less only at the file's end.
    async fn read_piece(&self, offset: u64, length: u32) -> Result<Bytes> {
        let first = self.read_once(offset, length).await?;
        if first.is_empty() || first.len() == length as usize {
            return Ok(Bytes::from(first));
        }
        let mut bytes = first;
        while bytes.len() < length as usize {
            let (at, rest) = (offset + bytes.len() as u64, length as usize - bytes.len());
            let more = self.read_once(at, u32::try_from(rest).unwrap_or(length)).await?;
            if more.is_empty() {
                break;
            }
            bytes.extend_from_slice(&more);
        }
        Ok(Bytes::from(bytes))
    }

    async fn read_once(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        let asked = self.connection.sftp().read(&self.handle, offset, length);
        self.connection.ask(&self.object, async { or_end(asked.await) }).await
    }

    /// Writes bytes at `offset`: several pieces at once, or each after the other. `on_sent` is
    /// told once all but the last answers are all that is waited for.
    pub(super) async fn write(
        &self,
        offset: u64,
        bytes: &Bytes,
        at_once: bool,
        on_sent: impl FnOnce() + Send,
    ) -> Result<()> {
        let step = self.connection.can.write;
        let depth = if at_once { (ON_THE_WAY / step).max(1) } else { 1 };
        let mut on_sent = Some(on_sent);
        let mut pieces = stream::iter((0..bytes.len()).step_by(step))
            .map(|at| {
                let piece = &bytes[at..bytes.len().min(at + step)];
                let is_last = at + step >= bytes.len();
                let then = on_sent.take_if(|_| is_last);
                once_sent(self.write_piece(offset + at as u64, piece), then)
            })
            .buffered(depth);
        while pieces.try_next().await?.is_some() {}
        Ok(())
    }

    async fn write_piece(&self, offset: u64, piece: &[u8]) -> Result<()> {
        let asked = self.connection.sftp().write(&self.handle, offset, piece.to_vec());
        match self.connection.ask(&self.object, asked).await {
            Ok(_) => Ok(()),
            // A full disk has no number of its own.
            Err(Error::Io { .. }) if self.connection.is_full(&self.path).await => {
                Err(failure::full(&self.object))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes what was written durable, with this creation time, if it is all there.
    pub(super) async fn seal(&self, size: u64, created: Option<Timestamp>) -> Result<()> {
        let (size_there, dated, synced) = join3(self.size(), self.date(created), self.sync()).await;
        let there = size_there?;
        if there != size {
            let reason = format!("the server holds {there} of its {size} bytes");
            return Err(Error::Corrupt { object: self.object.clone(), reason });
        }
        dated?;
        synced
    }

    /// SFTP knows seconds only, and none before 1970.
    async fn date(&self, created: Option<Timestamp>) -> Result<()> {
        let Some(created) = created else { return Ok(()) };
        let seconds = created.as_millis().div_euclid(1000).clamp(0, u32::MAX.into());
        let seconds = u32::try_from(seconds).ok();
        let dates = FileAttributes { atime: seconds, mtime: seconds, ..FileAttributes::empty() };
        let asked = self.connection.sftp().fsetstat(&self.handle, dates);
        self.connection.ask(&self.object, asked).await.map(|_| ())
    }

    async fn sync(&self) -> Result<()> {
        if !self.connection.can.fsync {
            return Ok(());
        }
        let asked = self.connection.sftp().fsync(&self.handle);
        self.connection.ask(&self.object, asked).await.map(|_| ())
    }

    /// Closes it; some servers tell only then that a write failed.
    pub(super) async fn close(&self) -> Result<()> {
        self.is_closed.store(true, Ordering::Relaxed);
        let asked = self.connection.sftp().close(&self.handle);
        self.connection.ask(&self.object, asked).await.map(|_| ())
    }

    /// Where it lies on the server.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The connection that it is open on.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if *self.is_closed.get_mut() {
            return;
        }
        let (connection, handle) = (Arc::clone(&self.connection), std::mem::take(&mut self.handle));
        // Whoever drops it waits for nothing; a handle that stays ends with the connection.
        self.runtime.spawn(async move { connection.sftp().close(handle).await });
    }
}

/// Does what was asked, and tells `then` once the request is on its way.
async fn once_sent<T>(asked: impl Future<Output = T>, then: Option<impl FnOnce()>) -> T {
    let mut asked = pin!(asked);
    let answer = poll_immediate(asked.as_mut()).await; // sends it
    if let Some(then) = then {
        then();
    }
    match answer {
        Some(answer) => answer,
        None => asked.await,
    }
}

fn or_end(read: SftpResult<Data>) -> SftpResult<Vec<u8>> {
    match read {
        Ok(data) => Ok(data.data),
        Err(Failure::Status(status)) if status.status_code == StatusCode::Eof => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn whoever_waits_for_a_request_to_be_sent_is_told_after_it_was() {
        let seen = Mutex::new(Vec::new());
        let note = |what| seen.lock().expect("no panic").push(what);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asked = async {
            note("sent");
            answered.await
        };
        let mut written = pin!(once_sent(asked, Some(|| note("told"))));
        assert_eq!(written.as_mut().now_or_never(), None);
        assert_eq!(*seen.lock().expect("no panic"), ["sent", "told"]);
        answer.send(7).expect("somebody waits");
        assert_eq!(written.now_or_never(), Some(Ok(7)));
        assert_eq!(seen.lock().expect("no panic").len(), 2);
    }
}
