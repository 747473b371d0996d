//! The local state of one database: `.<name>-litestream`, shaped as Litestream keeps it.
//!
//! `ltx/0` holds captured files that are not uploaded yet, and the newest one: its header is the
//! position from which either program goes on. `brooklet/sums` is ours alone and only a cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ltx::{Decoder, Encoder, Header, Level, Pgno, Txid, TxidRange};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use storage::{FileStorage, Object, Storage, TempFile, layout};

use crate::Error;

/// The local state directory of a database.
#[derive(Debug)]
pub(crate) struct Local {
    root: PathBuf,
    files: FileStorage,
    /// Locked for as long as we live.
    lock: OnceLock<File>,
}

/// The last transaction in the local state of the database at `path`, if there is one.
pub fn position(path: &Path, meta: Option<&Path>) -> Result<Option<Txid>, Error> {
    let local = Local::at(path, meta);
    Ok(local.files()?.last().map(|object| object.txids.max))
}

/// The local state directory of the database at `path`.
pub fn directory(path: &Path, meta: Option<&Path>) -> PathBuf {
    if let Some(meta) = meta {
        return meta.to_path_buf();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}-litestream"))
}

impl Local {
    /// The state of the database at `path`; nothing is created or read yet.
    pub(crate) fn at(path: &Path, meta: Option<&Path>) -> Local {
        let root = directory(path, meta);
        let files = FileStorage::new(&root).with_owner_of(path);
        Local { root, files, lock: OnceLock::new() }
    }

    /// Creates what is missing and clears what an interrupted run left.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.files.prepare(Level::L0)?;
        let own = self.root.join("brooklet");
        fs::create_dir_all(&own).map_err(|e| Error::local(&own, e))?;
        self.lock(&own.join("lock"))?;
        remove_temps(&self.root).map_err(|e| Error::local(&self.root, e))
    }

    /// Two of us on one database would give the same transactions to different content.
    fn lock(&self, path: &Path) -> Result<(), Error> {
        if self.lock.get().is_some() {
            return Ok(());
        }
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = open().map_err(|e| Error::local(path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Some network shares have no locks: there it is up to the user.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {
                let _ = self.lock.set(file);
                Ok(())
            }
            Err(Errno::WOULDBLOCK) => Err(Error::InUse(self.root.clone())),
            Err(errno) => Err(Error::local(path, errno.into())),
        }
    }

    pub(crate) fn sums_path(&self) -> PathBuf {
        self.root.join("brooklet").join("sums")
    }

    /// All captured files, oldest first.
    pub(crate) fn files(&self) -> Result<Vec<Object>, Error> {
        let files = self.files.list(Level::L0, Txid::FIRST)?;
        Ok(files.into_iter().filter(|f| f.txids.min == f.txids.max).collect())
    }

    /// The captured files, and snapshots that wait for their upload.
    pub(crate) fn staged(&self) -> Result<Vec<Object>, Error> {
        let mut files = self.files()?;
        files.extend(self.files.list(Level::SNAPSHOT, Txid::FIRST)?);
        Ok(files)
    }

    pub(crate) fn path(&self, level: Level, txids: TxidRange) -> PathBuf {
        self.files.path(level, txids)
    }

    fn captured(&self, txid: Txid) -> PathBuf {
        self.path(Level::L0, TxidRange::single(txid))
    }

    /// Reads a whole captured file and checks every sum in it.
    pub(crate) fn verify(
        &self,
        txid: Txid,
        mut page: impl FnMut(Pgno, &[u8]),
    ) -> Result<Header, Error> {
        let path = self.captured(txid);
        let damaged = |e: ltx::Error| Error::Damaged { path: path.clone(), source: e };
        let file = File::open(&path).map_err(|e| Error::local(&path, e))?;
        let mut decoder = Decoder::new(BufReader::with_capacity(1 << 16, file)).map_err(damaged)?;
        let header = *decoder.header();
        let mut buf = vec![0u8; header.page_size.bytes()];
        while let Some(pgno) = decoder.next_page(&mut buf).map_err(damaged)? {
            page(pgno, &buf);
        }
        decoder.finish().map_err(damaged)?;
        Ok(header)
    }

    /// Size and last bytes of a captured file, if it is here.
    pub(crate) fn ending<const N: usize>(
        &self,
        txid: Txid,
    ) -> Result<Option<(u64, [u8; N])>, Error> {
        let path = self.captured(txid);
        let read = |file: File| {
            let (size, mut end) = (file.metadata()?.len(), [0u8; N]);
            file.read_exact_at(&mut end, size.saturating_sub(N as u64))?;
            Ok(Some((size, end)))
        };
        match File::open(&path).and_then(read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map_err(|e| Error::local(&path, e)),
        }
    }

    /// Starts a captured file.
    pub(crate) fn stage(&self, level: Level, header: Header) -> Result<Staged, Error> {
        self.files.prepare(level)?;
        let path = self.path(level, header.txids);
        let mut name = path.clone().into_os_string();
        name.push(layout::TEMP_SUFFIX);
        let start = || {
            let temp = TempFile::create(name, 0o600)?;
            self.files.give(temp.file())?;
            let file = temp.file().try_clone()?;
            Ok((temp, file))
        };
        let (temp, file) = start().map_err(|e| Error::local(&path, e))?;
        let encoder = Encoder::new(io::BufWriter::with_capacity(1 << 18, file), header)?;
        Ok(Staged { encoder, temp, path })
    }

    /// Makes captured files and their names durable.
    pub(crate) fn sync(&self, txids: &[Txid]) -> Result<(), Error> {
        for txid in txids {
            let path = self.captured(*txid);
            match File::open(&path) {
                Ok(file) => file.sync_all().map_err(|e| Error::local(&path, e))?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // uploaded and dropped
                Err(e) => return Err(Error::local(&path, e)),
            }
        }
        let directory = self.captured(Txid::FIRST).with_file_name("");
        File::open(&directory).and_then(|d| d.sync_all()).map_err(|e| Error::local(&directory, e))
    }

    /// Removes captured files up to `txid`, but never the newest one.
    pub(crate) fn drop_through(&self, txid: Txid) -> Result<(), Error> {
        let mut files = self.files()?;
        files.pop();
        files.extend(self.files.list(Level::SNAPSHOT, Txid::FIRST)?);
        files.retain(|file| file.txids.max <= txid);
        self.delete(&files)
    }

    /// Removes all captured files.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.delete(&self.staged()?)
    }

    fn delete(&self, files: &[Object]) -> Result<(), Error> {
        let names: Vec<_> = files.iter().map(|file| (file.level, file.txids)).collect();
        Ok(self.files.delete(&names)?)
    }
}

/// A captured file that is being written; without [`Staged::finish`] it leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) encoder: Encoder<io::BufWriter<File>>,
    temp: TempFile,
    path: PathBuf,
}

impl Staged {
    /// Puts the file in place, with `header` instead of the one that it was started with.
    pub(crate) fn finish(self, header: &Header) -> Result<u64, Error> {
        let Staged { encoder, mut temp, path } = self;
        let (mut out, _) = encoder.finish_with(header)?;
        let mut place = || {
            out.flush()?;
            temp.file().set_modified(header.timestamp.to_system_time())?;
            temp.rename(&path)?;
            Ok(temp.file().metadata()?.len())
        };
        place().map_err(|e| Error::local(&path, e))
    }
}

fn remove_temps(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_temps(&entry.path())?;
        } else if entry.path().extension().is_some_and(|ext| ext == "tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
