//! A connection to a server that fails as networks do.
//!
//! The proxy stands between a client and a server and moves bytes, whatever they mean. How it
//! fails can be changed at any time, for connections that are open, too.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);
/// Times in a second that a slow line moves something.
const TURNS: u64 = 50;

/// How connections fail. Bytes are counted for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They do not.
    None,
    /// Reset once so many bytes came from the server.
    ResetDown(u64),
    /// Reset once so many bytes went to the server.
    ResetUp(u64),
    /// Closed properly once so many bytes came from the server.
    Close(u64),
    /// After so many bytes from the server no more come; with 0, what is sent is swallowed, too.
    /// The connection stays.
    BlackHole(u64),
    /// Nothing is taken from the client any more, nor given to it. The connection stays.
    Stall,
    /// One byte a second comes from the server.
    Trickle,
    /// So many bytes a second go to the server.
    SlowUp(u64),
    /// Nobody listens, and open connections are reset.
    Refuse,
}

/// The proxy. It stops when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    /// `127.0.0.1:<port>`
    pub host: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    fault: Mutex<Fault>,
    connections: AtomicU64,
    is_over: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What to do with the bytes of a connection now.
enum Move {
    /// Move at most so many.
    Bytes(usize),
    /// Move one, and rest a second.
    One,
    /// Move so many in a second.
    Slowly(u64),
    /// Take them, and forget them.
    Swallow,
    /// Leave them where they are.
    Wait,
    Close,
    Reset,
}

impl FaultProxy {
    /// Stands before `upstream` (`host:port`), at first without a fault.
    pub fn start(upstream: &str) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("its address").to_string();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            fault: Mutex::new(Fault::None),
            connections: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let (to_accept, address) = (Arc::clone(&shared), host.clone());
        thread::spawn(move || accept(&to_accept, &address, listener));
        FaultProxy { host, shared }
    }

    /// Fails in this way from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        // Whoever calls expects that nobody listens, or that somebody does, once we return.
        let listens = || TcpStream::connect(&self.host).is_ok();
        crate::wait::until("the proxy to listen or not", Duration::from_secs(5), || {
            (listens() == (fault != Fault::Refuse)).then_some(())
        });
    }

    /// How many connections were made so far, those of [`FaultProxy::set`] left out.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether bytes that were just taken get lost: the fault may have changed while we waited for
    /// them. Waits while they shall neither pass nor be lost.
    fn loses(&self, direction: Direction, moved: u64) -> bool {
        loop {
            match self.fault().on(direction, moved) {
                Move::Wait if !self.is_over() => thread::sleep(STEP),
                Move::Bytes(_) | Move::One | Move::Slowly(_) => return false,
                _ => return true,
            }
        }
    }
}

impl Fault {
    fn on(self, direction: Direction, moved: u64) -> Move {
        use Direction::{Down, Up};
        let until = |limit: u64, then: Move| match limit.saturating_sub(moved) {
            0 => then,
            left => Move::Bytes(usize::try_from(left).unwrap_or(usize::MAX)),
        };
        match (self, direction) {
            (Fault::ResetDown(limit), Down) | (Fault::ResetUp(limit), Up) => {
                until(limit, Move::Reset)
            }
            (Fault::Close(limit), Down) => until(limit, Move::Close),
            (Fault::BlackHole(limit), Down) => until(limit, Move::Wait),
            (Fault::BlackHole(0), Up) => Move::Swallow,
            (Fault::Stall, _) => Move::Wait,
            (Fault::Trickle, Down) => Move::One,
            (Fault::SlowUp(rate), Up) => Move::Slowly(rate),
            (Fault::Refuse, _) => Move::Reset,
            _ => Move::Bytes(usize::MAX),
        }
    }
}

fn accept(shared: &Arc<Shared>, address: &str, listener: TcpListener) {
    let mut listener = Some(listener);
    while !shared.is_over() {
        if shared.fault() == Fault::Refuse {
            listener = None;
            thread::sleep(STEP);
            continue;
        }
        let listener = listener
            .get_or_insert_with(|| TcpListener::bind(address).expect("the same port once more"));
        listener.set_nonblocking(true).expect("a listener that does not wait");
        match listener.accept() {
            Ok((client, _)) => connect(shared, client),
            Err(_) => thread::sleep(STEP),
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) {
    let Ok(server) = TcpStream::connect(&shared.upstream) else { return };
    for stream in [&client, &server] {
        stream.set_nonblocking(false).expect("a stream that waits");
        stream.set_read_timeout(Some(STEP)).expect("but not for long");
        stream.set_nodelay(true).expect("no delay");
    }
    let (client, server) = (Arc::new(client), Arc::new(server));
    let is_cut = Arc::new(AtomicBool::new(false));
    for direction in [Direction::Up, Direction::Down] {
        let (shared, is_cut) = (Arc::clone(shared), Arc::clone(&is_cut));
        let (client, server) = (Arc::clone(&client), Arc::clone(&server));
        thread::spawn(move || {
            pump(&shared, &client, &server, direction, &is_cut);
        });
    }
}

/// Moves bytes in one direction until the connection ends.
fn pump(
    shared: &Shared,
    client: &TcpStream,
    server: &TcpStream,
    direction: Direction,
    is_cut: &AtomicBool,
) {
    let (mut from, mut to) = match direction {
        Direction::Up => (client, server),
        Direction::Down => (server, client),
    };
    let (mut buf, mut moved) = (vec![0; 64 << 10], 0);
    while !shared.is_over() && !is_cut.load(Ordering::Relaxed) {
        let step = shared.fault().on(direction, moved);
        let most = match step {
            Move::Bytes(most) => most.min(buf.len()),
            Move::One => 1,
            Move::Slowly(rate) => {
                usize::try_from(rate / TURNS).unwrap_or(usize::MAX).min(buf.len())
            }
            Move::Swallow => buf.len(),
            Move::Wait => {
                thread::sleep(STEP);
                continue;
            }
            Move::Close => break,
            Move::Reset => {
                let at_once = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(client, at_once);
                break;
            }
        };
        match from.read(&mut buf[..most]) {
            Ok(0) => {
                let _ = to.shutdown(std::net::Shutdown::Write);
                return;
            }
            Ok(_) if shared.loses(direction, moved) => {}
            Ok(came) => {
                if moved == 0 && direction == Direction::Up {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                }
                moved += came as u64;
                if to.write_all(&buf[..came]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        match step {
            Move::One if moved > 0 => pause(shared),
            Move::Slowly(_) => thread::sleep(Duration::from_secs(1) / TURNS as u32),
            _ => {}
        }
    }
    // The other direction lets go as soon as it sees this, and then the sockets close.
    is_cut.store(true, Ordering::Relaxed);
}

/// A second, or until bytes move again.
fn pause(shared: &Shared) {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end && shared.fault() == Fault::Trickle && !shared.is_over() {
        thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends so many bytes to everybody who sends it one.
    fn sender(bytes: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("its address").to_string();
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("a client");
                thread::spawn(move || {
                    let asked = client.read(&mut [0]).is_ok_and(|came| came == 1);
                    asked.then(|| client.write_all(&vec![7; bytes]))
                });
            }
        });
        host
    }

    fn read(proxy: &FaultProxy) -> (usize, std::io::Result<usize>) {
        let mut stream = TcpStream::connect(&proxy.host).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        stream.write_all(b"x").expect("write");
        let mut came = Vec::new();
        let end = stream.read_to_end(&mut came);
        (came.len(), end)
    }

    #[test]
    fn bytes_pass_until_the_fault() {
        let proxy = FaultProxy::start(&sender(1000));
        assert!(matches!(read(&proxy), (1000, Ok(1000))));
        proxy.set(Fault::Close(10));
        assert!(matches!(read(&proxy), (10, Ok(10))));
        let kind = |(came, end): (usize, std::io::Result<usize>)| {
            (came, end.expect_err("a failure").kind())
        };
        proxy.set(Fault::ResetDown(10));
        assert_eq!(kind(read(&proxy)).1, ErrorKind::ConnectionReset);
        for fault in [Fault::BlackHole(10), Fault::Stall] {
            proxy.set(fault);
            let (came, end) = kind(read(&proxy));
            assert!(came <= 10 && end == ErrorKind::WouldBlock, "{fault:?}: {came}, {end}");
        }
        proxy.set(Fault::Trickle);
        assert_eq!(kind(read(&proxy)), (1, ErrorKind::WouldBlock));
        proxy.set(Fault::Refuse);
        let refused = TcpStream::connect(&proxy.host).expect_err("nobody there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Fault::None);
        assert!(matches!(read(&proxy), (1000, Ok(1000))));
    }
}
