//! A link to a server that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes on what comes to its port. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// `127.0.0.1:<port>`
    pub(crate) host: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    open: Mutex<Vec<TcpStream>>,
    /// Bytes to the server that may still pass before all connections are cut, once.
    left: AtomicU64,
}

impl Proxy {
    pub(crate) fn to(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("its address").to_string();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            open: Mutex::default(),
            left: AtomicU64::new(u64::MAX),
        });
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.connect(client);
            }
        });
        Proxy { host, state }
    }

    /// Cuts all connections. New ones may be made.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    /// Does so once so many more bytes have gone to the server.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.upstream) else { return };
        let copy = |it: &TcpStream| it.try_clone().expect("clone a socket");
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend([copy(&client), copy(&server)]);
        let (up, down) = ((copy(&client), copy(&server)), (server, client));
        let state = Arc::clone(self);
        std::thread::spawn(move || state.pass(up.0, up.1, true));
        let state = Arc::clone(self);
        std::thread::spawn(move || state.pass(down.0, down.1, false));
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, counts: bool) {
        let mut buf = [0; 16 * 1024];
        while let Ok(came) = from.read(&mut buf) {
            if came == 0 || to.write_all(&buf[..came]).is_err() {
                break;
            }
            if counts && self.use_up(came as u64) {
                self.cut();
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Whether these bytes are the last that may pass.
    fn use_up(&self, bytes: u64) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        if left == u64::MAX {
            return false;
        }
        let now = if left > bytes { left - bytes } else { u64::MAX };
        self.left.store(now, Ordering::SeqCst);
        now == u64::MAX
    }

    fn cut(&self) {
        for socket in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
