//! Asks a running program something: over its control socket, or at its address.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Where Litestream's control socket is unless told otherwise.
pub const SOCKET: &str = "/var/run/litestream.sock";
/// How much longer than we were told to wait an answer is waited for: the daemon knows best why
/// something takes longer.
const MARGIN: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MOST: u64 = 64 << 20;

/// Which daemon to ask, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    pub socket: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A running program.
#[derive(Debug)]
pub enum Daemon {
    /// By its control socket.
    Socket(PathBuf),
    /// By its address, where it only tells.
    Address(String),
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's number for how it went.
    pub status: u16,
    /// What it said.
    pub body: Vec<u8>,
}

/// What a daemon says that does not do what it is asked for.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    details: String,
}

/// Both kinds of connection.
trait Connection: Read + Write {}
impl Connection for UnixStream {}
impl Connection for TcpStream {}

impl SocketArgs {
    /// The daemon that is meant.
    pub fn daemon(&self) -> Daemon {
        Daemon::Socket(PathBuf::from(&self.socket))
    }
}

impl Daemon {
    /// Asks for something that takes a moment.
    pub fn get<T: DeserializeOwned>(&self, what: &str, path: &str, seconds: u64) -> Result<T> {
        self.ask("GET", path, &[], seconds)?.read(what)
    }

    /// Asks for something to be done.
    pub fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        request: &impl Serialize,
        seconds: u64,
    ) -> Result<T> {
        let body = serde_json::to_vec(request).map_err(io::Error::from)?;
        self.ask("POST", &format!("/{what}"), &body, seconds)?.read(what)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, method: &str, path: &str, body: &[u8], seconds: u64) -> Result<Answer> {
        let deadline = Instant::now() + Duration::from_secs(seconds).saturating_add(MARGIN);
        let mut connection = self.connect(deadline)?;
        // By HTTP/1.0 an answer is never cut into chunks, and its end is the connection's.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = Vec::new();
        let mut exchange = || {
            connection.write_all(head.as_bytes())?;
            connection.write_all(body)?;
            Read::by_ref(&mut connection).take(MOST).read_to_end(&mut answer)
        };
        exchange().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::new(
                Exit::Failed,
                format_args!("the daemon did not answer within {seconds}s"),
            )
            .hint("give it longer with -timeout"),
            _ => self.failed(&error),
        })?;
        Answer::parse(&answer).ok_or_else(|| {
            Failure::new(Exit::Failed, format_args!("what listens at {self} is no daemon of ours"))
        })
    }

    fn connect(&self, deadline: Instant) -> Result<Box<dyn Connection>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let connect = || -> io::Result<Box<dyn Connection>> {
            Ok(match self {
                Daemon::Socket(path) => {
                    let socket = UnixStream::connect(path)?;
                    socket.set_read_timeout(Some(left))?;
                    socket.set_write_timeout(Some(left))?;
                    Box::new(socket)
                }
                Daemon::Address(address) => {
                    let address = match address.strip_prefix(':') {
                        Some(port) => format!("127.0.0.1:{port}"),
                        None => address.clone(),
                    };
                    let place = address.to_socket_addrs()?.next();
                    let place = place.ok_or_else(|| io::Error::other("no such host"))?;
                    let socket = TcpStream::connect_timeout(&place, left)?;
                    socket.set_read_timeout(Some(left))?;
                    socket.set_write_timeout(Some(left))?;
                    Box::new(socket)
                }
            })
        };
        connect().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let failure =
            Failure::new(Exit::Failed, format_args!("failed to connect to {self}: {error}"));
        match self {
            Daemon::Socket(_) => failure.hint(
                "is replicate running, with socket: {enabled: true} in its configuration? \
                 name another socket with -socket",
            ),
            Daemon::Address(_) => {
                failure.hint("is replicate running, with addr in its configuration?")
            }
        }
    }
}

impl Display for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Daemon::Socket(path) => write!(f, "the control socket {}", path.display()),
            Daemon::Address(address) => write!(f, "the address {address}"),
        }
    }
}

impl Answer {
    fn parse(answer: &[u8]) -> Option<Answer> {
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let body = answer[end + 4..].to_vec();
        let mut lines = head.split("\r\n");
        let first = lines.next()?.strip_prefix("HTTP/1.")?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        (length.is_none_or(|length| length == body.len())).then_some(Answer { status, body })
    }

    /// The value of an answer that is one.
    pub fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let text = || String::from_utf8_lossy(&self.body).trim().to_owned();
        if self.status != 200 {
            let why = match serde_json::from_slice::<Refusal>(&self.body) {
                Ok(Refusal { error, details }) if details.is_empty() => error,
                Ok(Refusal { error, details }) => format!("{error}: {details}"),
                Err(_) => text(),
            };
            return Err(Failure::new(Exit::Failed, format_args!("{what} failed: {why}")));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format_args!("{what}: the daemon's answer is not understood: {error}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let parse = |text: &str| Answer::parse(text.as_bytes()).map(|it| (it.status, it.body));
        assert_eq!(parse("HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello"), Some((200, b"hello".to_vec())));
        let whole = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nab";
        assert_eq!(parse(whole), Some((404, b"ab".to_vec())));
        assert_eq!(parse(&whole[..whole.len() - 1]), None);
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn a_refusal_is_told_with_its_details() {
        let answer = |body: &str| Answer { status: 400, body: body.as_bytes().to_vec() };
        let told = |body| answer(body).read::<serde_json::Value>("sync").unwrap_err().message;
        assert_eq!(told(r#"{"error":"no","details":"why"}"#), "sync failed: no: why");
        assert_eq!(told(r#"{"error":"no"}"#), "sync failed: no");
        assert_eq!(told("plain\n"), "sync failed: plain");
    }
}
