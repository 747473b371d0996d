//! A running `replicate`, seen and steered from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ChildStderr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Folder, Running, comes};

/// A daemon whose log is read.
pub(crate) struct Daemon<'a> {
    pub(crate) running: Running<'a>,
    pub(crate) folder: &'a Folder,
    log: Arc<Mutex<String>>,
    ended: Receiver<()>,
}

/// What HTTP answers.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(mut stream: impl Read) -> Answer {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect(&text);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

impl<'a> Daemon<'a> {
    /// Starts it with a configuration, to which a socket named `s` is added.
    pub(crate) fn start(folder: &'a Folder, config: &str) -> Daemon<'a> {
        Daemon::configure(folder, config);
        Daemon::started(folder, folder.start(&["replicate", "-config", "c.yml"]))
    }

    pub(crate) fn configure(folder: &Folder, config: &str) {
        folder.write("c.yml", &format!("socket: {{enabled: true, path: s}}\n{config}"));
    }

    pub(crate) fn started(folder: &'a Folder, running: Running<'a>) -> Daemon<'a> {
        let daemon = Daemon::without_socket(folder, running);
        daemon.await_log("control socket listening");
        daemon
    }

    pub(crate) fn without_socket(folder: &'a Folder, mut running: Running<'a>) -> Daemon<'a> {
        let stderr = running.child().stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let ended = collect(stderr, Arc::clone(&log));
        Daemon { running, folder, log, ended }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn await_log(&self, text: &str) {
        let came = comes(|| {
            let log = self.log();
            assert!(!log.contains("panicked"), "{log}");
            log.contains(text)
        });
        assert!(came, "not in the log: {text}\n{}", self.log());
    }

    /// Where it serves that.
    pub(crate) fn address(&self, what: &str) -> String {
        let log = self.log();
        let (_, rest) = log.split_once(&format!("msg=\"serving {what}\" address=")).expect(&log);
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Waits for its end, and gives its code and its whole log.
    pub(crate) fn wait(self) -> (Option<i32>, String) {
        let code = self.running.wait().code;
        self.ended.recv().unwrap();
        let log = self.log.lock().unwrap().clone();
        (code, log)
    }

    pub(crate) fn stop(mut self) -> String {
        self.running.signal(Signal::TERM);
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        Answer::read(self.ask(method, path, body))
    }

    /// Sends a request, whose answer is still to be read.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut socket = UnixStream::connect(self.folder.path("s")).unwrap();
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        socket
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &body.to_string())
    }

    /// What `sync` with `wait` answers for a database here.
    pub(crate) fn sync(&self, name: &str) -> Value {
        let answer = self.post("/sync", &json!({"path": self.folder.path(name), "wait": true}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn collect(stderr: ChildStderr, log: Arc<Mutex<String>>) -> Receiver<()> {
    let (sender, ended) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let mut log = log.lock().unwrap();
            log.push_str(&line.unwrap());
            log.push('\n');
        }
        let _ = sender.send(());
    });
    ended
}
