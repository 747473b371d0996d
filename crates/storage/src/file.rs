//! Files below a local directory: a second disk, or a mounted share.
//!
//! `<root>/ltx/<level>/<min>-<max>.ltx`. The modification time of a file is its creation time in
//! whole milliseconds, as its header has it.

mod directory;
mod reader;
mod upload;
mod versioned;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ltx::{Level, Timestamp, Txid, TxidRange};

use self::reader::{Reader, unread};
use crate::owner::Model;
use crate::{Condition, Error, Key, Object, Ownership, Result, Storage, Upload, Version, layout};

/// A replica in a local directory. Nothing is created before the first object is written.
#[derive(Debug, Clone)]
pub struct FileStorage {
    root: PathBuf,
    model: Model,
}

impl FileStorage {
    /// The replica below `root`. New files are private to the user who runs us.
    pub fn new(root: impl Into<PathBuf>) -> FileStorage {
        FileStorage { root: root.into(), model: Model::default() }
    }

    /// Gives new files the owner and mode of the database, and new directories those of the
    /// directory that holds it.
    #[must_use]
    pub fn with_owner_of(self, database: &Path) -> FileStorage {
        FileStorage { model: Model::database(database), ..self }
    }

    /// Where an object lies.
    #[must_use]
    pub fn path(&self, level: Level, txids: TxidRange) -> PathBuf {
        self.root.join(layout::key(level, txids))
    }

    fn start(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        once: bool,
    ) -> Result<upload::FileUpload> {
        self.prepare(level)?;
        let object = Object { level, txids, size: 0, created };
        upload::FileUpload::start(self.path(level, txids), object, self.model.file(), once)
    }

    /// Creates the directory of a level, if it is missing.
    pub fn prepare(&self, level: Level) -> Result<()> {
        let directory = self.root.join(layout::level_directory(level));
        directory::create_durably(&directory, self.model.directory())
    }

    /// Gives a file of ours the owner and mode that its objects have.
    pub fn give(&self, file: &File) -> io::Result<()> {
        self.model.file().map_or(Ok(()), |owner| owner.apply(file))
    }

    /// On one file system, objects that never change need not be there twice: the name is given to
    /// the same file, if that has the time and the owner that a copy would get. But never a third
    /// name: two replicas shall not come to harm together.
    fn link(&self, object: Object, file: &File, source: &Path) -> io::Result<Option<Object>> {
        let (metadata, path) = (file.metadata()?, self.path(object.level, object.txids));
        let created = Timestamp::from_system_time(metadata.modified()?);
        let owner = Some(Ownership::of(&metadata));
        if created != object.created || self.model.file() != owner {
            return Ok(None);
        }
        file.sync_all()?;
        if fs::hard_link(source, &path).is_err() {
            return Ok(None); // another disk, or another object: the copy tells them apart
        }
        if file.metadata()?.nlink() > 2 {
            fs::remove_file(&path)?;
            return Ok(None);
        }
        directory::sync(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Some(Object { size: metadata.len(), ..object }))
    }

    fn open_file(&self, level: Level, txids: TxidRange) -> Result<(File, String)> {
        let object = self.name(level, txids);
        match File::open(self.path(level, txids)) {
            Ok(file) => Ok((file, object)),
            Err(error) => Err(unread(&object, error)),
        }
    }
}

impl Storage for FileStorage {
    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn place(&self) -> String {
        format!("file://{}", directory::real(&self.root).display())
    }

    fn name(&self, level: Level, txids: TxidRange) -> String {
        self.path(level, txids).display().to_string()
    }

    fn list(&self, level: Level, from: Txid) -> Result<Vec<Object>> {
        let directory = self.root.join(layout::level_directory(level));
        let mut objects = Vec::new();
        for entry in directory::entries(&directory)? {
            let Some(txids) = entry.name.to_str().and_then(TxidRange::parse_file_name) else {
                continue;
            };
            if txids.min < from {
                continue;
            }
            if let Some(metadata) = entry.metadata()? {
                let created = metadata
                    .modified()
                    .map_err(|error| Error::from_io(entry.path.display().to_string(), error))?;
                let created = Timestamp::from_system_time(created);
                objects.push(Object { level, txids, size: metadata.len(), created });
            }
        }
        objects.sort_unstable_by_key(|object| object.txids);
        Ok(objects)
    }

    fn read_at(&self, level: Level, txids: TxidRange, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (file, object) = self.open_file(level, txids)?;
        file.read_exact_at(buf, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::Short { object, offset, wanted: buf.len() as u64 }
            }
            _ => unread(&object, error),
        })
    }

    fn open(&self, level: Level, txids: TxidRange, offset: u64) -> Result<Box<dyn Read + Send>> {
        let (mut file, object) = self.open_file(level, txids)?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| unread(&object, error))?;
        Ok(Box::new(Reader { file, object }))
    }

    fn create(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.start(level, txids, created, false)?))
    }

    fn create_new(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
    ) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.start(level, txids, created, true)?))
    }

    /// A second name where that is possible, else a copy by the kernel.
    fn put_file(
        &self,
        level: Level,
        txids: TxidRange,
        created: Timestamp,
        source: &Path,
    ) -> Result<Object> {
        let name = || source.display().to_string();
        let mut file = File::open(source).map_err(|error| Error::from_io(name(), error))?;
        self.prepare(level)?;
        let object = Object { level, txids, size: 0, created };
        let linked = self.link(object, &file, source);
        if let Some(object) = linked.map_err(|error| Error::from_io(name(), error))? {
            return Ok(object);
        }
        let upload = self.start(level, txids, created, true)?;
        let copied = io::copy(&mut file, &mut upload.file());
        copied.map_err(|error| Error::not_copied(source, &self.name(level, txids), error))?;
        Box::new(upload).commit()
    }

    fn is_metered(&self) -> bool {
        false
    }

    fn still_holds(&self, level: Level, txids: TxidRange) -> Result<bool> {
        let path = self.path(level, txids);
        path.try_exists().map_err(|error| Error::from_io(path.display().to_string(), error))
    }

    fn delete(&self, objects: &[(Level, TxidRange)]) -> Result<()> {
        for &(level, txids) in objects {
            let path = self.path(level, txids);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::from_io(path.display().to_string(), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<Key>> {
        let (directory, _) = prefix.rsplit_once('/').unwrap_or_default();
        let mut keys = directory::keys(&self.root, directory)?;
        keys.retain(|key| key.name.starts_with(prefix));
        Ok(keys)
    }

    fn open_key(&self, key: &str) -> Result<Box<dyn Read + Send>> {
        let path = self.root.join(key);
        let opened = File::open(&path);
        Ok(Box::new(opened.map_err(|e| Error::from_io(path.display().to_string(), e))?))
    }

    fn put_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Version> {
        directory::create_durably(&self.root, self.model.directory())?;
        versioned::put(&self.root.join(key), body, condition, self.model.file())
    }

    fn get_versioned(&self, key: &str) -> Result<(Vec<u8>, Version)> {
        versioned::get(&self.root.join(key))
    }

    fn remove_key(&self, key: &str) -> Result<()> {
        directory::create_durably(&self.root, self.model.directory())?;
        versioned::remove(&self.root.join(key))
    }

    fn unknown(&self) -> Result<Vec<String>> {
        directory::unknown(&self.root)
    }
}
