//! A connection that is lost once it is silent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream whose reads and writes fail when they bring nothing for so long.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    silence: Duration,
    reading: Pin<Box<Sleep>>,
    writing: Pin<Box<Sleep>>,
    /// Whether the last write had to wait.
    is_stuck: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, silence: Duration) -> Watched<S> {
        let (reading, writing) = (Box::pin(sleep(silence)), Box::pin(sleep(silence)));
        Watched { stream, silence, reading, writing, is_stuck: false }
    }

    /// What a write came to; one that waits has until its time is over.
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stuck = false;
            return written;
        }
        if !self.is_stuck {
            self.is_stuck = true;
            self.writing.as_mut().reset(Instant::now() + self.silence);
        }
        ready!(self.writing.as_mut().poll(cx));
        Poll::Ready(Err(self.silent()))
    }

    fn silent(&self) -> io::Error {
        let text = format!("the server was silent for {} s", self.silence.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let deadline = Instant::now() + self.silence;
            self.reading.as_mut().reset(deadline);
            return read;
        }
        ready!(self.reading.as_mut().poll(cx));
        Poll::Ready(Err(self.silent()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SILENCE: Duration = Duration::from_millis(100);

    fn run(test: impl Future<Output = ()>) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(test);
    }

    #[test]
    fn what_comes_passes_and_silence_fails() {
        run(async {
            let (mut server, client) = duplex(16);
            let mut client = Watched::new(client, SILENCE);
            let mut buf = [0; 5];
            for _ in 0..3 {
                tokio::time::sleep(SILENCE / 2).await;
                server.write_all(b"hello").await.expect("write");
                client.read_exact(&mut buf).await.expect("read");
            }
            let error = client.read_exact(&mut buf).await.expect_err("silence");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_write_that_nobody_takes_fails() {
        run(async {
            let (mut server, client) = duplex(16);
            let mut client = Watched::new(client, SILENCE);
            client.write_all(&[0; 16]).await.expect("there is room");
            server.read_exact(&mut [0; 16]).await.expect("read");
            let error = client.write_all(&[0; 17]).await.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
