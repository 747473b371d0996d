//! A small HTTP server that a test answers for, alone or in front of a real one.
//!
//! Each request gets one [`Reply`]. Connections close after it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// `/path?query`, as it came.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer of the test's own: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The real server's answer.
    Pass,
    /// The real server does it, but its answer gets lost.
    Lose,
    /// The real server's answer, but its body ends after so many bytes.
    Truncate(usize),
    /// The real server's answer, but its `Content-Length` is off by so much.
    Claim(i64),
    /// The real server's answer, but one bit in the middle of its body is another.
    Flip,
}

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct Stub {
    /// `127.0.0.1:<port>`
    pub host: String,
    listener: TcpListener,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn read(stream: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request { method, target, headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|it| it.parse().ok());
        stream.take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }

    /// What a real server says to it, to the last byte.
    fn pass(&self, upstream: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(upstream)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "connection") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("connection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Reply {
    /// An answer of XML.
    pub fn xml(status: u16, body: &str) -> Reply {
        let headers = vec![("content-type", "application/xml".to_owned())];
        Reply::Answer(status, headers, body.as_bytes().to_vec())
    }

    /// A refusal as S3 writes it.
    pub fn refusal(status: u16, code: &str) -> Reply {
        Reply::xml(status, &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
    }

    fn bytes(self, request: &Request, upstream: Option<&str>) -> io::Result<Vec<u8>> {
        let pass = || request.pass(upstream.expect("a server behind the stub"));
        match self {
            Reply::Answer(status, headers, body) => {
                let mut answer = format!("HTTP/1.1 {status} Stub\r\nconnection: close\r\n");
                for (name, value) in headers {
                    answer.push_str(&format!("{name}: {value}\r\n"));
                }
                answer.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
                let body = if request.method == "HEAD" { Vec::new() } else { body };
                Ok([answer.into_bytes(), body].concat())
            }
            Reply::Pass => pass(),
            Reply::Lose => pass().map(|_| Vec::new()),
            Reply::Truncate(bytes) => {
                let mut answer = pass()?;
                answer.truncate(body_of(&answer) + bytes);
                Ok(answer)
            }
            Reply::Flip => {
                let mut answer = pass()?;
                let middle = usize::midpoint(body_of(&answer), answer.len());
                if let Some(byte) = answer.get_mut(middle) {
                    *byte ^= 1;
                }
                Ok(answer)
            }
            Reply::Claim(off) => {
                let answer = pass()?;
                let (head, body) = answer.split_at(body_of(&answer));
                let head = String::from_utf8_lossy(head);
                let claim = |line: &str| match line.split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        let length: i64 = value.parse().expect("a length");
                        format!("{name}: {}", length + off)
                    }
                    _ => line.to_owned(),
                };
                let head: Vec<String> = head.split("\r\n").map(claim).collect();
                Ok([head.join("\r\n").as_bytes(), body].concat())
            }
        }
    }
}

fn body_of(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    end.map_or(answer.len(), |end| end + 4)
}

impl Stub {
    /// Answers as `reply` says; `upstream` (`host:port`) is the real server.
    pub fn start(
        upstream: Option<&str>,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("its address").to_string();
        let (reply, upstream) = (Arc::new(reply), upstream.map(str::to_owned));
        let clients = listener.try_clone().expect("the listener once more");
        thread::spawn(move || {
            for client in clients.incoming() {
                let Ok(client) = client else { return };
                let (reply, upstream) = (Arc::clone(&reply), upstream.clone());
                thread::spawn(move || {
                    // A client that went away is none of a test's business.
                    let _ = answer(&client, upstream.as_deref(), &*reply);
                });
            }
        });
        Stub { host, listener }
    }
}

fn answer(
    mut client: &TcpStream,
    upstream: Option<&str>,
    reply: &dyn Fn(&Request) -> Reply,
) -> io::Result<()> {
    let Some(request) = Request::read(&mut BufReader::new(client))? else { return Ok(()) };
    let answer = reply(&request).bytes(&request, upstream)?;
    client.write_all(&answer)
}

impl Drop for Stub {
    fn drop(&mut self) {
        // The thread that waits for clients wakes up and finds that it is over.
        let _ = self.listener.set_nonblocking(true);
        let _ = TcpStream::connect(&self.host);
    }
}
