//! The trait that every backend implements.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::{Error, Object, Result};

/// A flat set of immutable objects: the levels of one replica.
///
/// An object appears under its name whole or not at all, and is durable once `commit` returns.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The replica's URL for messages, without secrets.
    fn url(&self) -> String;

    /// All objects of a level whose first transaction is `from` or later, ordered by range.
    ///
    /// A missing level is empty. Names that are not ours are skipped; see [`Storage::unknown`].
    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>>;

    /// Replaces the creation times of listed objects by exact ones, as far as they can be had.
    ///
    /// A listing may only know when an object was uploaded, or copied. Asking for more can cost a
    /// request for each object, so it is done only where times decide.
    fn refine_times(&self, objects: &mut [Object]) -> Result<()> {
        let _ = objects;
        Ok(())
    }

    /// Fills `buf` from the object's bytes at `offset`.
    ///
    /// Fails with [`Error::NotFound`], or [`Error::Short`] if the object ends before.
    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Reads the object from `offset` to its end.
    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>>;

    /// Starts a new object. It replaces one of the same name when it is committed.
    fn create(&self, level: Level, txids: TxidRange, created: Timestamp)
    -> Result<Box<dyn Upload>>;

    /// Stores a copy of a local file. A backend that can tell refuses, with [`Error::Conflict`], to
    /// take the place of an object of this name with other content.
    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        let name = || source.display().to_string();
        let mut file = File::open(source).map_err(|error| Error::from_io(name(), error))?;
        let mut upload = self.create(level, txids, created)?;
        io::copy(&mut file, &mut upload).map_err(|error| Error::from_io(name(), error))?;
        upload.commit()
    }

    /// Whether an object that was stored before is still there, where asking costs next to nothing;
    /// `true` where it does not.
    fn still_holds(&self, level: Level, txids: TxidRange) -> Result<bool> {
        let _ = (level, txids);
        Ok(true)
    }

    /// Removes objects. One that is already gone counts as removed.
    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()>;

    /// The names below the replica's root that are not ours, for warnings.
    ///
    /// A replica with such names and no objects is not an empty one: it may hold a backup that
    /// this version cannot read.
    fn unknown(&self) -> Result<Vec<String>>;
}

/// An object being written. Dropped without [`Upload::commit`], it leaves nothing behind.
pub trait Upload: Write + Send {
    /// Makes the object durable and visible under its name.
    fn commit(self: Box<Self>) -> Result<Object>;
}

impl fmt::Debug for dyn Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}
