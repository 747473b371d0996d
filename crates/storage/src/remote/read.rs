//! A read that goes on where a connection broke.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::{Body, Client, Operation, Patience, Shared, block_on};
use crate::{Error, Result};

/// Bytes that are waited for at once.
const GULP: usize = 256 * 1024;

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Reading<C> {
    shared: Arc<Shared<C>>,
    key: String,
    /// Where the next byte from the server belongs.
    at: u64,
    /// The object's size, once known.
    size: Option<u64>,
    /// What came in and was not taken yet.
    ready: Vec<Bytes>,
    body: Option<Body>,
    patience: Patience,
}

impl<C: Client> Reading<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, key: String, at: u64) -> Reading<C> {
        let patience = Patience::of_reads(shared.client.silence());
        Reading { shared, key, at, size: None, ready: Vec::new(), body: None, patience }
    }

    /// Asks for the rest of the object, so that a missing one is found out.
    pub(super) fn open(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        block_on(async {
            let opened = shared
                .persist(Operation::Get, || shared.client.get(&self.key, self.at, None))
                .await;
            match opened {
                Err(Error::Short { .. }) => self.size = Some(self.at),
                opened => self.begin(opened?),
            }
            self.patience.progress();
            Ok(())
        })
    }

    /// Fills `buf` with the bytes from here on, by requests for just these.
    pub(super) fn fill(mut self, buf: &mut [u8]) -> Result<()> {
        let (offset, wanted) = (self.at, buf.len() as u64);
        let short = |key: &str, shared: &Shared<C>| Error::Short {
            object: shared.name(key),
            offset,
            wanted,
        };
        let mut filled = 0;
        block_on(async {
            while filled < buf.len() {
                let rest = (buf.len() - filled) as u64;
                match self.receive(Some(rest)).await {
                    Ok(Some(bytes)) => {
                        let taken = bytes.len().min(buf.len() - filled);
                        buf[filled..filled + taken].copy_from_slice(&bytes[..taken]);
                        filled += taken;
                    }
                    Ok(None) | Err(Error::Short { .. }) => {
                        return Err(short(&self.key, &self.shared));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn begin(&mut self, body: Body) {
        self.size = self.size.or(body.size);
        self.body = Some(body);
    }

    /// The next bytes of the object; none at its end. `length` is what is wanted of it.
    async fn receive(&mut self, length: Option<u64>) -> Result<Option<Bytes>> {
        loop {
            if self.size.is_some_and(|size| self.at >= size) {
                return Ok(None);
            }
            match self.try_receive(length).await {
                Ok(Some(bytes)) => {
                    self.at += bytes.len() as u64;
                    self.shared.meter.moved(Operation::Get, bytes.len() as u64);
                    self.patience.progress();
                    return Ok(Some(bytes));
                }
                Ok(None) => {
                    self.body = None;
                    if self.size.is_none() {
                        return Ok(None);
                    }
                    let reason = "the server ended its answer early".into();
                    let object = self.shared.name(&self.key);
                    self.patience.wait(Error::Unreachable { object, reason }).await?;
                }
                Err(error) if error.is_passing() => {
                    self.body = None;
                    self.patience.wait(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_receive(&mut self, length: Option<u64>) -> Result<Option<Bytes>> {
        if self.body.is_none() {
            let get = self.shared.client.get(&self.key, self.at, length);
            let body = self.shared.meter.measure(Operation::Get, get).await?;
            self.begin(body);
        }
        match &mut self.body {
            Some(body) => body.next().await,
            None => Ok(None),
        }
    }

    /// Waits for a good piece rather than for each packet.
    fn gulp(&mut self) -> Result<()> {
        block_on(async {
            let mut came = 0;
            while came < GULP {
                match self.receive(None).await? {
                    Some(bytes) => {
                        came += bytes.len();
                        self.ready.push(bytes);
                    }
                    None => break,
                }
            }
            self.ready.reverse();
            Ok(())
        })
    }
}

impl<C: Client> Read for Reading<C> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.gulp().map_err(io::Error::other)?;
        }
        let Some(bytes) = self.ready.last_mut() else { return Ok(0) };
        let taken = bytes.len().min(buf.len());
        bytes.copy_to_slice(&mut buf[..taken]);
        if bytes.is_empty() {
            self.ready.pop();
        }
        Ok(taken)
    }
}
