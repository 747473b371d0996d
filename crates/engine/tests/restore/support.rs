//! Replicas to restore from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ltx::{Header, Txid};
use sha2::{Digest, Sha256};
use storage::{FileStorage, Storage};
use tempfile::TempDir;

/// A replica that a real binary wrote, in a directory of its own.
pub(crate) struct Vectors {
    directory: TempDir,
    source: PathBuf,
}

impl Vectors {
    /// Those with known hashes.
    pub(crate) const TREES: [&str; 8] = [
        "ps512",
        "ps4096",
        "ps65536",
        "tree",
        "tree-pruned",
        "frame-v0.5.5",
        "frame-v0.5.15",
        "mixed-v0.5.15-then-v0.5.17",
    ];

    pub(crate) fn open(name: &str) -> Vectors {
        let source = root().join(name);
        let directory = scratch();
        let replica = source.join("replica");
        copy(if replica.is_dir() { &replica } else { &source }, directory.path());
        Vectors { directory, source }
    }

    /// Hand-made replicas of one or two files.
    pub(crate) fn synthetic() -> Vec<String> {
        let entries = fs::read_dir(root().join("synthetic")).expect("vectors");
        let entries = entries.map(|entry| entry.expect("entry"));
        let directories = entries.filter(|entry| entry.path().is_dir());
        directories.map(|entry| entry.file_name().into_string().expect("text")).collect()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(FileStorage::new(self.path()))
    }

    /// The SHA-256 of the database at each known transaction.
    pub(crate) fn hashes(&self) -> BTreeMap<u64, String> {
        let text = fs::read_to_string(self.source.join("sha256.json")).expect("hashes");
        let known: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).expect("hashes");
        let hash = |(id, known): (String, serde_json::Value)| {
            let id = u64::from_str_radix(&id, 16).ok()?;
            let hash = known.get("sha256").unwrap_or(&known).as_str()?.to_owned();
            Some((id, hash))
        };
        known.into_iter().filter_map(hash).collect()
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// Copies a replica. Git keeps no times, so each file gets that of its header, as it had.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("directory") {
        let entry = entry.expect("entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to).expect("directory");
            copy(&from, &to);
        } else {
            let bytes = fs::read(&from).expect("file");
            fs::write(&to, &bytes).expect("file");
            if let Some(Ok(header)) = bytes.first_chunk().map(Header::decode) {
                let file = File::options().write(true).open(&to).expect("file");
                file.set_modified(header.timestamp.to_system_time()).expect("time");
            }
        }
    }
}

pub(crate) fn txid(number: u64) -> Txid {
    Txid::new(number).expect("a TXID is at least 1")
}

pub(crate) fn sha256(path: &Path) -> String {
    let digest = Sha256::digest(fs::read(path).expect("file"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory in memory, where that can be had: its syncs cost nothing.
pub(crate) fn scratch() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("temporary directory")
}
