//! The trait that every backend implements.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::{Condition, Error, Key, Object, Result, Usage, Version, layout};

/// A flat set of immutable objects: the levels of one replica.
///
/// An object appears under its name whole or not at all, and is durable once `commit` returns.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The replica's URL for messages, without secrets.
    fn url(&self) -> String;

    /// Where objects end up, without credentials and spelled one way: server, bucket and directory.
    /// Two storages of one place would write over each other's objects.
    fn place(&self) -> String {
        self.url()
    }

    /// An object's full name, for messages.
    fn name(&self, level: Level, txids: TxidRange) -> String {
        format!("{}/{}", self.url(), layout::key(level, txids))
    }

    /// All objects of a level whose first transaction is `from` or later, ordered by range.
    ///
    /// A missing level is empty. Names that are not ours are skipped; see [`Storage::unknown`].
    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>>;

    /// All objects of all levels, ordered by level and range.
    fn list_all(&self) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for level in Level::all() {
            objects.extend(self.list(level, Txid::FIRST)?);
        }
        Ok(objects)
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

    /// The same, but a backend that can tell refuses, with [`Error::Conflict`], to take the place of
    /// an object of this name with other content.
    fn create_new(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        self.create(level, txids, created)
    }

    /// Stores a copy of a local file, as [`Storage::create_new`] does.
    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        let create = || self.create_new(level, txids, created);
        copy_file(source, &self.name(level, txids), create)
    }

    /// Whether each request has its price, so that many small objects are better stored as one.
    fn is_metered(&self) -> bool {
        true
    }

    /// Whether an object that was stored before is still there, where asking costs next to nothing;
    /// `true` where it does not.
    fn still_holds(&self, level: Level, txids: TxidRange) -> Result<bool> {
        let _ = (level, txids);
        Ok(true)
    }

    /// Removes objects. One that is already gone counts as removed.
    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()>;

    /// Everything below the replica's root whose name begins with `prefix`, whatever it is. For
    /// backups in other formats; a backend that never held any has none.
    fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Reads one of these.
    fn open_key(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        Err(Error::NotFound { object: format!("{}/{key}", self.url()) })
    }

    /// Stores a small object beside the levels if the condition holds, else fails with
    /// [`Error::Conflict`]. Gives its version. Where the storage has no such thing, or does not
    /// keep to it ([`Storage::keeps_conditions`] finds out), nothing may rely on it.
    fn put_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Version> {
        let _ = (key, body, condition);
        Err(no_conditions(self.url()))
    }

    /// Reads such an object, and its version.
    fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
        let _ = key;
        Err(no_conditions(self.url()))
    }

    /// Removes such an object. A missing one counts as removed.
    fn remove_key(&self, key: &str) -> Result<()> {
        let _ = key;
        Err(no_conditions(self.url()))
    }

    /// Whether the storage keeps to conditions, by trying: some take them and write all the same.
    fn keeps_conditions(&self) -> Result<bool> {
        crate::condition::are_kept(self)
    }

    /// Whether the right to write here is ours; none where none is needed.
    fn holds_lease(&self) -> Option<bool> {
        None
    }

    /// Whether another wrote here since we did, as far as a lease tells. What it has sent may arrive
    /// even now, so that nothing may build on what was here before.
    fn has_other_writer(&self) -> bool {
        false
    }

    /// What was asked of a server so far; none where there is no server.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// The names below the replica's root that are not ours, for warnings.
    ///
    /// A replica with such names and no objects is not an empty one: it may hold a backup that
    /// this version cannot read.
    fn unknown(&self) -> Result<Vec<String>>;
}

fn no_conditions(url: String) -> Error {
    Error::Unsupported { url, reason: "this storage has no conditional writes".into() }
}

/// Stores a copy of a local file as the object `name` that is created then.
pub fn copy_file(
    source: &Path,
    name: &str,
    create: impl FnOnce() -> Result<Box<dyn Upload>>,
) -> Result<Object> {
    let file = File::open(source);
    let mut file = file.map_err(|error| Error::from_io(source.display().to_string(), error))?;
    let mut upload = create()?;
    let copied = io::copy(&mut file, &mut upload);
    copied.map_err(|error| Error::not_copied(source, name, error))?;
    upload.commit()
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
