//! What is kept beside a followed database.
//!
//! `<db>-txid` holds the transaction that it stands at, as Litestream keeps it, or stood at before
//! a crash. `<db>-follow` says that the database is a copy, and is locked as long as somebody
//! follows. It names the history, the transaction that the copy may have reached, and of a
//! transaction the sum of all pages of the copy and that of page 1 in the replica, on which SQLite
//! counts: numbers of 16 hex digits each, zeros if unknown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ltx::{Checksum, Txid};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use storage::TempFile;

use crate::restore::Error;
use crate::restore::output::{Output, directory_of, sync_directory, with_suffix};

/// Bytes of a number and what ends it.
const NUMBER: usize = 17;
/// Where the transaction and its sum stand.
const PROOF: usize = 2 * NUMBER;

/// What a copy was left as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// The sum of all of its pages.
    pub(super) sum: Checksum,
    /// That of page 1 as the replica has it.
    pub(super) first: Checksum,
}

/// The right to write to a copy.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    file: File,
}

/// Whether the database at `path` is the copy of a replica, ours or Litestream's.
pub(super) fn is_copy(path: &Path) -> bool {
    txid_path(path).exists() || claim_path(path).exists()
}

impl Claim {
    /// The same, where not even the directory need be there.
    pub(super) fn take_in(path: &Path) -> Result<Claim, Error> {
        Output::beside(path).create_directory()?;
        Claim::take(path)
    }

    /// Takes the right to write to the copy at `path`.
    pub(super) fn take(path: &Path) -> Result<Claim, Error> {
        loop {
            let claim = Claim::try_take(path)?;
            // One that was released meanwhile is a file without a name.
            if same_file(&claim.file, &claim_path(path)) {
                return Ok(claim);
            }
        }
    }

    fn try_take(path: &Path) -> Result<Claim, Error> {
        let name = claim_path(path);
        let failed = |error| Error::output(&name, error);
        let mut options = OpenOptions::new();
        let open = options.read(true).write(true).create(true).truncate(false).open(&name);
        let file = open.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Followed { path: path.to_owned() }),
            Err(error) => return Err(failed(error.into())),
        }
        sync_directory(directory_of(path)).map_err(failed)?;
        Ok(Claim { path: path.to_owned(), file })
    }

    /// Whether the database is a copy, or is about to be made.
    pub(super) fn is_copy(&self) -> bool {
        self.number(0).is_some() || txid_path(&self.path).exists()
    }

    /// From now on what appears at the path is a copy, of which nothing is known yet.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.forget()?;
        self.write(0, &format!("{:016x} {:016x} {:016x} {:016x} {:016x}\n", 0, 0, 0, 0, 0))
    }

    /// The transaction that the copy held at least when it was last written to.
    pub(super) fn txid(&self) -> Result<Option<Txid>, Error> {
        let name = txid_path(&self.path);
        match fs::read_to_string(&name) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::output(&name, error)),
        }
    }

    /// The history that the copy belongs to, if that is known.
    pub(super) fn lineage(&self) -> Option<u64> {
        self.number(0).filter(|lineage| *lineage != 0)
    }

    /// The last transaction that the copy may hold.
    pub(super) fn intended(&self) -> Option<Txid> {
        self.number(NUMBER).and_then(Txid::new)
    }

    /// What the copy was left as at this transaction.
    pub(super) fn proof(&self, txid: Txid) -> Option<Proof> {
        let sum = |at| self.number(at).and_then(Checksum::new);
        if self.number(PROOF).and_then(Txid::new) != Some(txid) {
            return None;
        }
        Some(Proof { sum: sum(PROOF + NUMBER)?, first: sum(PROOF + 2 * NUMBER)? })
    }

    fn number(&self, offset: usize) -> Option<u64> {
        let mut text = [0; NUMBER - 1];
        self.file.read_exact_at(&mut text, offset as u64).ok()?;
        u64::from_str_radix(str::from_utf8(&text).ok()?, 16).ok()
    }

    /// Notes that the copy will be brought to a transaction of a history.
    pub(super) fn intend(&self, txid: Txid, lineage: Option<u64>) -> Result<(), Error> {
        self.write(0, &format!("{:016x} {txid} ", lineage.unwrap_or(0)))
    }

    fn write(&self, offset: usize, text: &str) -> Result<(), Error> {
        let written = self.file.write_all_at(text.as_bytes(), offset as u64);
        let synced = written.and_then(|()| self.file.sync_data());
        synced.map_err(|error| Error::output(&claim_path(&self.path), error))
    }

    /// Notes that the copy holds a transaction of a history, and what it is left as, if that is
    /// known. That must be durable by now.
    pub(super) fn holds(
        &self,
        txid: Txid,
        lineage: Option<u64>,
        proof: Option<Proof>,
    ) -> Result<(), Error> {
        if self.lineage() != lineage {
            self.forget()?;
        }
        if self.lineage() != lineage || self.intended() != Some(txid) {
            self.intend(txid, lineage)?;
        }
        let name = txid_path(&self.path);
        let write = || {
            let mut temp = TempFile::create(with_suffix(&name, ".tmp"), 0o644)?;
            writeln!(temp.file(), "{txid}")?;
            temp.file().sync_all()?;
            temp.rename(&name)?;
            sync_directory(directory_of(&name))
        };
        write().map_err(|error| Error::output(&name, error))?;
        let [sum, first] =
            proof.map_or([0, 0], |proof| [proof.sum, proof.first].map(Checksum::get));
        self.write(PROOF, &format!("{txid} {sum:016x} {first:016x}\n"))
    }

    /// From now on nobody knows what the copy holds.
    pub(super) fn forget(&self) -> Result<(), Error> {
        remove(&txid_path(&self.path))
    }

    /// The database is no copy any more.
    pub(super) fn release(self) -> Result<(), Error> {
        self.forget()?;
        remove(&claim_path(&self.path))
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    let there = fs::metadata(path).and_then(|there| Ok((there, file.metadata()?)));
    there.is_ok_and(|(there, ours)| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
}

fn txid_path(path: &Path) -> PathBuf {
    with_suffix(path, "-txid")
}

fn claim_path(path: &Path) -> PathBuf {
    with_suffix(path, "-follow")
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::output(path, error)),
        _ => sync_directory(directory_of(path)).map_err(|error| Error::output(path, error)),
    }
}
