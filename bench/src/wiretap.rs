//! A listener between a program and its server: what was asked, how much went through, and when.
//!
//! It forwards bytes as they are, and follows HTTP/1.1 just far enough to tell requests apart.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};

/// One request and the beginning of its answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Bytes of the request's body, and of the whole answer.
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// When the last byte of the request had gone through, and the first of the answer.
    pub(crate) asked: Instant,
    pub(crate) answered: Option<Instant>,
}

/// A running wiretap. Its threads end with the connections.
#[derive(Debug)]
pub(crate) struct Wiretap {
    /// `127.0.0.1:<port>`
    pub(crate) host: String,
    heard: Arc<Mutex<Log>>,
}

/// What was heard. Exchanges are known by their number, which stays when earlier ones are taken.
#[derive(Debug, Default)]
struct Log {
    taken: usize,
    exchanges: Vec<Exchange>,
}

impl Log {
    fn get_mut(&mut self, number: usize) -> Option<&mut Exchange> {
        self.exchanges.get_mut(number.checked_sub(self.taken)?)
    }

    fn push(&mut self, exchange: Exchange) -> usize {
        self.exchanges.push(exchange);
        self.taken + self.exchanges.len() - 1
    }
}

impl Wiretap {
    /// Listens before a server.
    pub(crate) fn before(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        let host = listener.local_addr()?.to_string();
        let heard = Arc::new(Mutex::new(Log::default()));
        let (log, server) = (Arc::clone(&heard), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(&server) {
                    connect(client, server, &log);
                }
            }
        });
        Ok(Self { host, heard })
    }

    /// All that was heard since the last call.
    pub(crate) fn take(&self) -> Vec<Exchange> {
        let mut log = self.lock();
        log.taken += log.exchanges.len();
        std::mem::take(&mut log.exchanges)
    }

    /// What was answered so far.
    pub(crate) fn answered(&self) -> Vec<Exchange> {
        self.lock().exchanges.iter().filter(|it| it.answered.is_some()).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(client: TcpStream, server: TcpStream, log: &Arc<Mutex<Log>>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Where in the log the requests of this connection are that wait for their answers.
    let waiting = Arc::new(Mutex::new(VecDeque::<usize>::new()));
    let pairs = (client.try_clone(), server.try_clone());
    let (Ok(to_client), Ok(to_server)) = pairs else { return };
    let (up_log, up_waiting) = (Arc::clone(log), Arc::clone(&waiting));
    std::thread::spawn(move || {
        let mut requests = Requests::default();
        pump(client, to_server, |bytes| {
            for (method, target, up) in requests.feed(bytes) {
                let asked = Instant::now();
                let exchange = Exchange { method, target, up, down: 0, asked, answered: None };
                let mut log = up_log.lock().unwrap_or_else(PoisonError::into_inner);
                let number = log.push(exchange);
                up_waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(number);
            }
        });
    });
    let down_log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut current = None;
        pump(server, to_client, |bytes| {
            let mut log = down_log.lock().unwrap_or_else(PoisonError::into_inner);
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(exchange) = next.and_then(|number| log.get_mut(number)) {
                exchange.answered = Some(Instant::now());
            }
            current = next.or(current);
            if let Some(exchange) = current.and_then(|number| log.get_mut(number)) {
                exchange.down += bytes.len() as u64;
            }
        });
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        note(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}

/// Tells the requests of one connection apart.
#[derive(Debug, Default)]
struct Requests {
    head: Vec<u8>,
    /// A request whose body is on its way, and how much of that is missing.
    body: Option<(String, String, u64, u64)>,
}

impl Requests {
    /// The requests that are complete with these bytes: method, target, length of the body.
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<(String, String, u64)> {
        let mut complete = Vec::new();
        loop {
            if let Some((method, target, length, missing)) = self.body.take() {
                let came = missing.min(bytes.len() as u64);
                bytes = &bytes[came as usize..];
                match missing - came {
                    0 => complete.push((method, target, length)),
                    left => self.body = Some((method, target, length, left)),
                }
            }
            if bytes.is_empty() {
                return complete;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
                let mut words = head.split(' ').map(str::to_owned);
                let (method, target) = (words.next(), words.next());
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().ok())?
                });
                let length = length.unwrap_or(0);
                self.body =
                    Some((method.unwrap_or_default(), target.unwrap_or_default(), length, length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_however_they_are_cut() {
        let text = b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b?x=1 HTTP/1.1\r\n\r\n";
        for size in 1..text.len() {
            let mut requests = Requests::default();
            let found: Vec<_> = text.chunks(size).flat_map(|it| requests.feed(it)).collect();
            let expected =
                [("PUT", "/a", 5), ("GET", "/b?x=1", 0)].map(|(m, t, l)| (m.into(), t.into(), l));
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
