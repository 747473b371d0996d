//! The local state of one database: `.<name>-litestream`, shaped as Litestream keeps it.
//!
//! `ltx/0` holds captured files that are not uploaded yet, and the newest one: its header is the
//! position from which either program goes on. What is in `brooklet` is ours alone and only a
//! cache: page sums, and files made of captured ones.

mod reset;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ltx::{Decoder, Encoder, Header, Level, Pgno, Timestamp, Txid, TxidRange};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use storage::{FileStorage, Object, Storage, TempFile, layout};

use crate::Error;
pub use reset::{is_in_use, reset};

/// The local state directory of a database.
#[derive(Debug)]
pub(crate) struct Local {
    root: PathBuf,
    files: FileStorage,
    /// What is made of captured files.
    merged: FileStorage,
    /// Locked for as long as we live.
    lock: Mutex<Option<File>>,
    needs: Mutex<Vec<Option<Needs>>>,
    /// Bytes of captured files from which only those stay that a replica lacks.
    limit: u64,
}

/// What one replica still needs of the files here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The first captured file that it lacks, or would be compared with.
    pub(crate) lacks: Txid,
    /// For each level, the first transaction whose file is still to be compacted or stored.
    pub(crate) levels: [Txid; Level::SNAPSHOT.get() as usize + 1],
}

/// The directory that Litestream knows nothing of.
const OWN: &str = "brooklet";

impl Needs {
    /// Nothing up to this transaction, everything after it.
    pub(crate) fn after(txid: Txid) -> Needs {
        Needs { lacks: txid.next(), levels: [txid.next(); _] }
    }
}

/// The last transaction in the local state of the database at `path`, if there is one.
pub fn position(path: &Path, meta: Option<&Path>) -> Result<Option<Txid>, Error> {
    let local = Local::at(path, meta, u64::MAX);
    Ok(local.files()?.last().map(|object| object.txids.max))
}

/// The name of the local state of the database at `path`, which no other has. It is kept with it;
/// where there is no directory for that yet, it is another each time.
pub fn identity(path: &Path, meta: Option<&Path>) -> Result<String, Error> {
    let local = Local::at(path, meta, u64::MAX);
    let new = format!("{:032x}", fastrand::u128(..));
    if !local.root.parent().is_some_and(Path::exists) {
        return Ok(new);
    }
    let place = local.root.join(OWN).join("identity");
    match fs::read_to_string(&place) {
        Ok(known) if known.len() == new.len() => return Ok(known),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::local(&place, e)),
        _ => {}
    }
    local.files.prepare(Level::L0)?;
    let write = || {
        fs::create_dir_all(local.root.join(OWN))?;
        fs::write(&place, &new)
    };
    write().map(|()| new.clone()).map_err(|e| Error::local(&place, e))
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
    pub(crate) fn at(path: &Path, meta: Option<&Path>, limit: u64) -> Local {
        let root = directory(path, meta);
        let files = FileStorage::new(&root).with_owner_of(path);
        let merged = FileStorage::new(root.join(OWN)).with_owner_of(path);
        Local { root, files, merged, lock: Mutex::default(), needs: Mutex::default(), limit }
    }

    /// What a replica needs from now on; until that is known, everything.
    pub(crate) fn need(&self, replica: usize, needs: Option<Needs>) {
        let mut known = self.needs();
        let count = known.len().max(replica + 1);
        known.resize(count, None);
        known[replica] = needs;
    }

    /// Removes the files of a level that no replica needs, but never the newest captured one: the
    /// next start goes on from it.
    pub(crate) fn sweep(&self, level: Level) -> Result<(), Error> {
        let needs: Option<Vec<Needs>> = self.needs().iter().copied().collect();
        let Some(needs) = needs.filter(|needs| !needs.is_empty()) else { return Ok(()) };
        let mut files = self.files.list(level, Txid::FIRST)?;
        let mut merged = self.merged.list(level, Txid::FIRST)?;
        let bytes: u64 = files.iter().chain(&merged).map(|file| file.size).sum();
        let tight = level == Level::L0 && bytes > self.limit;
        let first = |needs: &Needs| match tight {
            true => needs.lacks,
            false => needs.levels[usize::from(level.get())],
        };
        let first = needs.iter().map(first).min();
        if level == Level::L0 {
            files.pop();
        }
        files.append(&mut merged);
        files.retain(|file| Some(file.txids.max) < first);
        self.delete(&files)
    }

    /// Whether the captured files take more room than they may.
    pub(crate) fn is_full(&self) -> Result<bool, Error> {
        Ok(self.files()?.iter().map(|file| file.size).sum::<u64>() > self.limit)
    }

    fn needs(&self) -> MutexGuard<'_, Vec<Option<Needs>>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates what is missing and clears what an interrupted run left.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.files.prepare(Level::L0)?;
        let own = self.root.join(OWN);
        fs::create_dir_all(&own).map_err(|e| Error::local(&own, e))?;
        self.lock()?;
        let levels = [Level::L0, Level::SNAPSHOT].map(|level| self.level_directory(level));
        [own].iter().chain(&levels).try_for_each(|directory| {
            remove_temps(directory).map_err(|e| Error::local(directory, e))
        })?;
        self.forget_merged()
    }

    /// Removes what an earlier run made of captured files: nobody knows whether that is what the
    /// replica holds.
    fn forget_merged(&self) -> Result<(), Error> {
        let merged = self.root.join(OWN).join(layout::ROOT);
        match fs::remove_dir_all(&merged) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::local(&merged, e)),
            _ => Ok(()),
        }
    }

    fn level_directory(&self, level: Level) -> PathBuf {
        self.path(level, TxidRange::single(Txid::FIRST)).with_file_name("")
    }

    /// Two of us on one database would give the same transactions to different content.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() {
            return Ok(());
        }
        let path = self.root.join(OWN).join("lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open().map_err(|e| Error::local(&path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Some network shares have no locks: there it is up to the user.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {
                *lock = Some(file);
                Ok(())
            }
            Err(Errno::WOULDBLOCK) => Err(Error::InUse(self.root.clone())),
            Err(errno) => Err(Error::local(&path, errno.into())),
        }
    }

    /// Lets another of us go on here; [`Local::lock`] tells whether one did.
    pub(crate) fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where large files may lie for a while.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join(OWN)
    }

    pub(crate) fn sums_path(&self) -> PathBuf {
        self.root.join(OWN).join("sums")
    }

    /// All captured files, oldest first.
    pub(crate) fn files(&self) -> Result<Vec<Object>, Error> {
        let files = self.files.list(Level::L0, Txid::FIRST)?;
        Ok(files.into_iter().filter(|f| f.txids.min == f.txids.max).collect())
    }

    /// The snapshots that wait for their upload.
    pub(crate) fn snapshots(&self) -> Result<Vec<Object>, Error> {
        Ok(self.files.list(Level::SNAPSHOT, Txid::FIRST)?)
    }

    /// The captured files, and snapshots that wait for their upload.
    pub(crate) fn staged(&self) -> Result<Vec<Object>, Error> {
        let mut files = self.files()?;
        files.extend(self.snapshots()?);
        Ok(files)
    }

    pub(crate) fn path(&self, level: Level, txids: TxidRange) -> PathBuf {
        self.home(level, txids).path(level, txids)
    }

    /// Where a file belongs.
    fn home(&self, level: Level, txids: TxidRange) -> &FileStorage {
        match level {
            Level::SNAPSHOT => &self.files,
            Level::L0 if txids.min == txids.max => &self.files,
            _ => &self.merged,
        }
    }

    fn captured(&self, txid: Txid) -> PathBuf {
        self.path(Level::L0, TxidRange::single(txid))
    }

    /// Reads a whole captured file and checks every sum in it.
    pub(crate) fn verify(
        &self,
        (level, txids): (Level, TxidRange),
        mut page: impl FnMut(Pgno, &[u8]),
    ) -> Result<Header, Error> {
        let path = self.path(level, txids);
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

    /// What is wrong with the first of these that is here and damaged.
    pub(crate) fn first_damaged(&self, stored: &[Object]) -> Option<Error> {
        let verify = |file: &Object| self.verify((file.level, file.txids), |_, _| ()).err();
        stored.iter().filter_map(verify).find(|error| matches!(error, Error::Damaged { .. }))
    }

    /// The header of the newest captured file, as far as it has one.
    pub(crate) fn newest_header(&self) -> Result<Option<Header>, Error> {
        let Some(newest) = self.files()?.pop() else { return Ok(None) };
        self.header(newest.txids.max)
    }

    /// The header of a captured file, if that is here and has one.
    pub(crate) fn header(&self, txid: Txid) -> Result<Option<Header>, Error> {
        let mut header = [0u8; Header::SIZE];
        match self.files.read_at(Level::L0, TxidRange::single(txid), 0, &mut header) {
            Err(error) if error.is_not_found() || error.is_damage() => Ok(None),
            result => Ok(result.map(|()| Header::decode(&header).ok())?),
        }
    }

    /// Size and last bytes of a captured file, if it is here and has them.
    pub(crate) fn ending<const N: usize>(
        &self,
        txid: Txid,
    ) -> Result<Option<(u64, [u8; N])>, Error> {
        let (path, mut end) = (self.captured(txid), [0u8; N]);
        let size = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(|e| Error::local(&path, e))?.len(),
        };
        let from = size.saturating_sub(N as u64);
        match self.files.read_at(Level::L0, TxidRange::single(txid), from, &mut end) {
            Err(error) if error.is_not_found() || error.is_damage() => Ok(None),
            Err(error) => Err(Error::local(&path, io::Error::other(error))),
            Ok(()) => Ok(Some((size, end))),
        }
    }

    /// Starts a file of a level.
    pub(crate) fn stage(&self, level: Level, header: Header) -> Result<Staged, Error> {
        let place = self.place(level, header.txids)?;
        let encoder = Encoder::new(place.writer()?, header)?;
        Ok(Staged { encoder, place })
    }

    /// A place for a new file of a level.
    pub(crate) fn place(&self, level: Level, txids: TxidRange) -> Result<Place, Error> {
        self.home(level, txids).prepare(level)?;
        let path = self.path(level, txids);
        let mut name = path.clone().into_os_string();
        name.push(layout::TEMP_SUFFIX);
        let temp = TempFile::create(name, 0o600).and_then(|temp| {
            self.files.give(temp.file())?;
            Ok(temp)
        });
        Ok(Place { temp: temp.map_err(|e| Error::local(&path, e))?, path })
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
        let directory = self.level_directory(Level::L0);
        File::open(&directory).and_then(|d| d.sync_all()).map_err(|e| Error::local(&directory, e))
    }

    /// Removes one file.
    pub(crate) fn remove(&self, object: &Object) -> Result<(), Error> {
        self.delete(std::slice::from_ref(object))
    }

    /// Removes all captured files.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.delete(&self.staged()?)
    }

    fn delete(&self, files: &[Object]) -> Result<(), Error> {
        for file in files {
            self.home(file.level, file.txids).delete(&[(file.level, file.txids)])?;
        }
        Ok(())
    }
}

/// A file that has no name of its own yet; dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Place {
    temp: TempFile,
    path: PathBuf,
}

impl Place {
    /// Where the file will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn writer(&self) -> Result<io::BufWriter<File>, Error> {
        let file = self.temp.file().try_clone().map_err(|e| Error::local(&self.path, e))?;
        Ok(io::BufWriter::with_capacity(1 << 18, file))
    }

    /// Gives the whole file its name, and the time of its last transaction. Returns its size.
    pub(crate) fn finish(mut self, created: Timestamp) -> Result<u64, Error> {
        let mut place = || {
            self.temp.file().set_modified(created.to_system_time())?;
            self.temp.rename(&self.path)?;
            Ok(self.temp.file().metadata()?.len())
        };
        place().map_err(|e| Error::local(&self.path, e))
    }
}

/// A file that is being written; without [`Staged::finish`] it leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) encoder: Encoder<io::BufWriter<File>>,
    place: Place,
}

impl Staged {
    /// Puts the file in place, with `header` instead of the one that it was started with.
    pub(crate) fn finish(self, header: &Header) -> Result<u64, Error> {
        let (mut out, _) = self.encoder.finish_with(header)?;
        out.flush().map_err(|e| Error::local(self.place.path(), e))?;
        self.place.finish(header.timestamp)
    }
}

/// Removes what an interrupted run left in a directory of ours.
fn remove_temps(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|ext| ext == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
