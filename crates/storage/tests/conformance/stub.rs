//! A small HTTP server that says what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// What is said to it.
#[derive(Debug)]
pub(crate) struct Said {
    status: u16,
    head: Vec<String>,
    body: Vec<u8>,
    /// Whether the connection ends instead.
    hangs_up: bool,
}

/// The server. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct Stub {
    /// `127.0.0.1:<port>`
    pub(crate) host: String,
}

impl Stub {
    pub(crate) fn start(say: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let host = listener.local_addr().expect("address").to_string();
        let say = Arc::new(say);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let say = Arc::clone(&say);
                std::thread::spawn(move || serve(&connection, &*say));
            }
        });
        Stub { host }
    }
}

fn serve(connection: &TcpStream, say: &dyn Fn(&Asked) -> Said) {
    let mut reader = BufReader::new(connection);
    while let Some(asked) = Asked::read(&mut reader) {
        let said = say(&asked);
        if said.hangs_up || said.write(connection).is_err() {
            return;
        }
    }
}

impl Asked {
    fn read(reader: &mut impl BufRead) -> Option<Asked> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines.first()?.split(' ').map(str::to_owned);
        let (method, target) = (first.next()?, first.next()?);
        let mut asked = Asked { method, target, head: lines.split_off(1), body: Vec::new() };
        let length = asked.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        asked.body = vec![0; length];
        reader.read_exact(&mut asked.body).ok()?;
        Some(asked)
    }

    /// `127.0.0.1:<port>`
    pub(crate) fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.iter().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// A value of the query or of a form.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let form = String::from_utf8_lossy(&self.body);
        let mut pairs = query.split('&').chain(form.split('&')).filter_map(|it| it.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    }
}

impl Said {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Said {
        Said { status, head: Vec::new(), body: body.into(), hangs_up: false }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Said {
        self.head.push(format!("{name}: {value}\r\n"));
        self
    }

    /// Nothing: the answer is lost.
    pub(crate) fn nothing() -> Said {
        Said { hangs_up: true, ..Said::new(0, "") }
    }

    fn write(&self, mut connection: &TcpStream) -> std::io::Result<()> {
        let head = format!(
            "HTTP/1.1 {} Said\r\nContent-Length: {}\r\n{}\r\n",
            self.status,
            self.body.len(),
            self.head.concat()
        );
        connection.write_all(head.as_bytes())?;
        connection.write_all(&self.body)
    }
}
