//! What storage makes of a network, and of servers, that fail. Tests are named after the classes
//! of failures that they stand for.

mod answers;
mod credentials;
mod links;
mod tls;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Environment, Options, Storage, Url};
use testkit::server::{Kind, Server};

const MIB: usize = 1 << 20;
const ONE: TxidRange = TxidRange { min: Txid::FIRST, max: Txid::FIRST };

/// A server that these tests share, for as long as one of them needs it.
fn seaweed() -> Option<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start(Kind::Seaweed)?);
    server.create_bucket("bkt1");
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// A replica that is asked for at one place, and lies at another behind it.
struct Replica(String);

impl Replica {
    fn new() -> Replica {
        Replica(Server::fresh_name())
    }

    /// The replica as it is seen at `host`, which may be silent for a second.
    fn at(&self, host: &str) -> Arc<dyn Storage> {
        self.with(host, &[("timeout", "1s")])
    }

    fn with(&self, host: &str, more: &[(&str, &str)]) -> Arc<dyn Storage> {
        let url = format!("s3://bkt1/{}/app?endpoint=http://{host}&region=us-east-1", self.0);
        let keys = [("access-key-id", "testkey"), ("secret-access-key", "testsecret")];
        open(&url, &[&keys[..], more].concat(), &Environment::default())
    }
}

fn open(url: &str, options: &[(&str, &str)], environment: &Environment) -> Arc<dyn Storage> {
    let options: Options = options.iter().copied().collect();
    let url: Url = url.parse().expect("a URL");
    url.storage(&options, environment).expect("a storage")
}

fn environment(variables: &[(&str, &str)], home: Option<PathBuf>) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Environment { variables: variables.collect(), home }
}

/// Bytes that are not twice the same.
fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    for (number, piece) in bytes.chunks_mut(4096).enumerate() {
        piece.fill((number % 251) as u8);
        let stamp = number.to_le_bytes();
        let end = stamp.len().min(piece.len());
        piece[..end].copy_from_slice(&stamp[..end]);
    }
    bytes
}

fn put(storage: &dyn Storage, level: Level, txids: TxidRange, bytes: &[u8]) -> storage::Result<()> {
    let mut upload = storage.create(level, txids, Timestamp::from_millis(1_795_382_352_998))?;
    upload.write_all(bytes).map_err(|error| storage::Error::from_io("upload", error))?;
    upload.commit().map(|_| ())
}

fn read(storage: &dyn Storage, level: Level, txids: TxidRange) -> storage::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = storage.open(level, txids, 0)?;
    let end = reader.read_to_end(&mut bytes);
    end.map_err(|error| storage::Error::from_io("read", error))?;
    Ok(bytes)
}

fn list(storage: &dyn Storage) -> storage::Result<usize> {
    storage.list(Level::L0, Txid::FIRST).map(|objects| objects.len())
}
