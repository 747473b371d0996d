//! An attached database: its descriptors, its connections, and the pin.
//!
//! A pin is an open read transaction. As long as one stands, no frame that was not copied into the
//! database file can be overwritten:
//!
//! - a pin on a read mark of the WAL stops every restart of the WAL;
//! - a pin taken when the whole WAL was copied already (SQLite's READ0) lets a writer restart the
//!   WAL, but stops all copying of what is written afterwards, hence any restart over it.
//!
//! [`Live::rotate`] moves the pin forward without a moment in which none stands.

mod barrier;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ltx::{PageSize, Pgno};
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use crate::file::{DatabaseFile, Identity};
use crate::imprint::{Checkpoints, Imprint};
use crate::shm_lock::{self, Lock};
use crate::wal::Wal;
use crate::wal_index::{Tip, WalIndex};
use crate::{Error, PinnedView, Result, View, memory};
use barrier::Barrier;
pub use barrier::Restart;

/// How often an exact pin is tried beside the writers before they are stopped for it.
pub(crate) const PIN_TRIES: u32 = 20;
/// How long a writer may keep us from stopping it.
const PIN_PATIENCE: Duration = Duration::from_secs(10);
/// A writer that never pauses leaves gaps of microseconds: for so long they are looked for without
/// a pause of ours.
const LOCK_SPIN: Duration = Duration::from_micros(500);
/// Between two tries after that.
const LOCK_RETRY: Duration = Duration::from_micros(30);

/// How often to try for the checkpoint lock.
const CHECKPOINT_LOCK_TRIES: u32 = 50;
/// How long to wait for another process's checkpoint to end.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(10);

/// How to attach.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// How long to wait for locks that others hold.
    pub busy_timeout: Duration,
}

/// What stands at the path of an attached database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The files that we hold open.
    Same,
    /// No database file.
    Missing,
    /// Our file, cut to zero bytes.
    Truncated,
    /// Another database file, or another `-wal` or `-shm`.
    Replaced,
}

/// A pin that stands exactly on a commit.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    /// The commit.
    pub tip: Tip,
    /// Frames that were copied into the database file already.
    pub(crate) backfilled: u32,
}

/// What a checkpoint left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Frames in the WAL.
    pub frames: u32,
    /// Frames of it that are copied into the database file.
    pub backfilled: u32,
}

impl Checkpoint {
    /// Whether the next writer may start the WAL anew.
    pub fn is_complete(self) -> bool {
        self.frames == self.backfilled
    }
}

/// An attached database.
#[derive(Debug)]
pub struct Live {
    // Dropped in this order: the connections before the descriptors that share their locks.
    pin: Connection,
    spare: Connection,
    writer: Connection,
    wal: Arc<Wal>,
    index: Arc<WalIndex>,
    file: Arc<DatabaseFile>,
    page_size: PageSize,
    path: PathBuf,
    /// The `-wal` and the `-shm`.
    beside: [(PathBuf, Identity); 2],
    holds_checkpoints: Cell<bool>,
    /// What stands in the pin's place.
    barrier: Option<Barrier>,
}

impl Live {
    /// Attaches to the database at `path`, switches it to WAL mode if it is not in it, and pins
    /// its WAL. The database is never created.
    pub fn attach(path: &Path, options: &LiveOptions) -> Result<Live> {
        let file = Arc::new(DatabaseFile::open(path)?);
        let page_size = file.page_size()?;
        let pin = connect(path, options.busy_timeout)?;
        if !file.is_in_wal_mode()? {
            ensure_wal_mode(&pin, path)?;
        }
        begin(&pin, path)?;
        let spare = connect(path, options.busy_timeout)?;
        let writer = connect(path, Duration::ZERO)?;
        // SQLite follows a link, and keeps these beside the file that it leads to.
        let real = std::fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
        let (wal_path, shm_path) = (suffixed(&real, "-wal"), suffixed(&real, "-shm"));
        let wal = Arc::new(Wal::open(&wal_path)?);
        let index = Arc::new(WalIndex::open(&shm_path)?);
        let beside = [identified(wal_path)?, identified(shm_path)?];
        let path = path.to_path_buf();
        // Locks by themselves need a connection that has the WAL-index open.
        begin(&writer, &path)?;
        end(&writer, &path)?;
        let holds_checkpoints = Cell::new(false);
        Ok(Live {
            pin,
            spare,
            writer,
            wal,
            index,
            file,
            page_size,
            path,
            beside,
            holds_checkpoints,
            barrier: None,
        })
    }

    /// Path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Page size of the database.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Path of the WAL file.
    pub fn wal_path(&self) -> &Path {
        &self.beside[0].0
    }

    /// The WAL file.
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    /// The database file.
    pub fn file(&self) -> &DatabaseFile {
        &self.file
    }

    /// Where the WAL ends now.
    pub fn tip(&self) -> Result<Tip> {
        let (tip, page_size) = self.index.tip()?;
        if page_size.is_some_and(|page_size| page_size != self.page_size) {
            return Err(self.discontinuity(format!("page size changed to {page_size:?}")));
        }
        Ok(tip)
    }

    /// The last frame of each page that was committed after frame `after`, up to `tip`.
    pub fn changes(&self, after: u32, tip: &Tip) -> Result<Vec<(Pgno, u32)>> {
        self.index.last_frames(after, tip.frame)
    }

    /// How much of the WAL is copied into the database file.
    pub fn backfilled(&self) -> Result<u32> {
        self.index.backfilled()
    }

    /// Takes a new pin, lets `capture` save everything up to the tip that it is given, and only
    /// then releases the old pin. If `capture` fails, the old pin stays.
    pub fn rotate<T, E: From<Error>>(
        &mut self,
        capture: impl FnOnce(&Live, Tip) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        begin(&self.spare, &self.path)?;
        let captured = self.tip().map_err(E::from).and_then(|tip| capture(self, tip));
        if captured.is_ok() {
            std::mem::swap(&mut self.pin, &mut self.spare);
        }
        end(&self.spare, &self.path)?;
        captured
    }

    /// Moves the pin to a commit that is still the tip after the pin was taken.
    ///
    /// The old pin is given up without a capture: until the changes up to the new one are
    /// captured, or found by comparing, the pin must not be moved again.
    pub fn pin_exactly(&mut self) -> Result<Pinned> {
        for _ in 0..PIN_TRIES {
            if let Some(pinned) = self.try_pin_exactly()? {
                return Ok(pinned);
            }
        }
        self.with_writers_stopped(PIN_PATIENCE, Live::try_pin_exactly)?
            .flatten()
            .ok_or_else(|| Error::Busy { path: self.path.clone() })
    }

    fn try_pin_exactly(&mut self) -> Result<Option<Pinned>> {
        let Some(pinned) = try_pin(&self.index, &self.spare, &self.path)? else { return Ok(None) };
        std::mem::swap(&mut self.pin, &mut self.spare);
        end(&self.spare, &self.path)?;
        Ok(Some(pinned))
    }

    /// What the database file looks like, `None` if somebody checkpoints it.
    pub fn imprint(&self) -> Result<Option<Imprint>> {
        let held = self.holds_checkpoints.get();
        if !held && !self.take_checkpoint_lock() {
            return Ok(None);
        }
        let imprint = self.unmoved_imprint();
        if !held {
            shm_lock::give_back(&self.writer, Lock::Checkpoint);
        }
        imprint.map(Some)
    }

    fn unmoved_imprint(&self) -> Result<Imprint> {
        let (backfilled, attempted) = (self.index.backfilled()?, self.index.backfill_attempted()?);
        let salts = self.tip()?.salts;
        let checkpoints = Checkpoints { salts, backfilled, attempted };
        Ok(Imprint { looks: self.file.looks()?, checkpoints })
    }

    /// The whole database at `tip`, as long as the pin keeps it. If it lets the WAL start anew
    /// meanwhile, reads fail.
    pub fn view_at(&self, tip: Tip) -> Result<View<'_>> {
        let in_wal = self.index.last_frames(self.index.backfilled()?, tip.frame)?;
        View::new(&self.file, &self.wal, self.page_size, tip, in_wal.into())
    }

    /// The whole database at the commit that the pin stands on.
    pub fn view(&self, pinned: &Pinned) -> Result<View<'_>> {
        let in_wal = self.index.last_frames(pinned.backfilled, pinned.tip.frame)?;
        View::new(&self.file, &self.wal, self.page_size, pinned.tip, in_wal.into())
    }

    /// The whole database at its last commit, under a pin of its own. As long as that stands, what
    /// is committed afterwards stays in the WAL.
    pub fn pin_view(&mut self, busy_timeout: Duration) -> Result<PinnedView> {
        let pin = connect(&self.path, busy_timeout)?;
        let tried = (0..PIN_TRIES).find_map(|_| try_pin(&self.index, &pin, &self.path).transpose());
        let pinned = match tried {
            Some(pinned) => pinned?,
            None => self
                .with_writers_stopped(PIN_PATIENCE, |live| try_pin(&live.index, &pin, &live.path))?
                .flatten()
                .ok_or_else(|| Error::Busy { path: self.path.clone() })?,
        };
        Ok(PinnedView {
            _pin: Mutex::new(pin),
            _index: Arc::clone(&self.index),
            file: Arc::clone(&self.file),
            wal: Arc::clone(&self.wal),
            page_size: self.page_size,
            tip: pinned.tip,
            in_wal: self.index.last_frames(pinned.backfilled, pinned.tip.frame)?,
        })
    }

    /// Keeps other connections from checkpointing in vain, or lets them again. They see a
    /// checkpoint under way; nobody waits.
    pub fn hold_checkpoints(&self, hold: bool) {
        if hold && !self.holds_checkpoints.get() {
            self.holds_checkpoints.set(self.take_checkpoint_lock());
        } else if !hold && self.holds_checkpoints.replace(false) {
            shm_lock::give_back(&self.writer, Lock::Checkpoint);
        }
    }

    /// A try of others in vain holds it for a few microseconds.
    fn take_checkpoint_lock(&self) -> bool {
        (0..CHECKPOINT_LOCK_TRIES).any(|_| shm_lock::take(&self.writer, Lock::Checkpoint))
    }

    /// Copies what the pin and other readers allow into the database file. Waits for no reader
    /// and no writer.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let held = self.holds_checkpoints.get();
        self.hold_checkpoints(false);
        let checkpointed = self.try_checkpoint();
        self.hold_checkpoints(held);
        checkpointed?;
        // Read in this order: a writer may only add frames in between.
        let backfilled = self.index.backfilled()?;
        Ok(Checkpoint { frames: self.tip()?.frame, backfilled })
    }

    /// If another process is at it for longer, it does our work.
    fn try_checkpoint(&self) -> Result<()> {
        let deadline = Instant::now() + CHECKPOINT_PATIENCE;
        while let Err(e) = self.spare.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE) {
            match Error::sqlite(&self.path, e) {
                Error::Busy { .. } if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
                Error::Busy { .. } => break,
                e => return Err(e),
            }
        }
        Ok(())
    }

    /// Runs `work` while no other connection can commit; `None` if the write lock was not free
    /// for a moment within `patience`.
    pub fn with_writers_stopped<T, E: From<Error>>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&mut Live) -> std::result::Result<T, E>,
    ) -> std::result::Result<Option<T>, E> {
        let began = Instant::now();
        while !shm_lock::take(&self.writer, Lock::Write) {
            let waited = began.elapsed();
            if waited >= patience {
                return Ok(None);
            }
            if waited >= LOCK_SPIN {
                std::thread::sleep(LOCK_RETRY);
            }
        }
        let worked = work(self);
        shm_lock::give_back(&self.writer, Lock::Write);
        worked.map(Some)
    }

    /// Whether the files that we hold open are still those at the database's path.
    pub fn placement(&self) -> Result<Placement> {
        let at = |path: &Path| Identity::of(path).map_err(|e| Error::io(path, e));
        match at(&self.path)? {
            None => return Ok(Placement::Missing),
            Some(found) if found != self.file.identity() => return Ok(Placement::Replaced),
            Some(_) if self.file.is_empty()? => return Ok(Placement::Truncated),
            Some(_) => {}
        }
        for (path, identity) in &self.beside {
            if at(path)? != Some(*identity) {
                return Ok(Placement::Replaced);
            }
        }
        Ok(Placement::Same)
    }

    fn discontinuity(&self, reason: String) -> Error {
        Error::Discontinuity { path: self.path.clone(), reason }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.replace_barrier(None);
        self.hold_checkpoints(false);
    }
}

pub(crate) fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    memory::spare();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<(Connection, bool)> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout)?;
        // Leave the WAL where it is when we go: whoever comes next continues from it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let read_only = connection.is_readonly("main")?;
        Ok((connection, read_only))
    };
    let (connection, read_only) = open().map_err(|e| Error::sqlite(path, e))?;
    if read_only {
        let reason = "the file may only be read; WAL readers must be able to write".to_string();
        return Err(Error::Denied { path: path.to_path_buf(), reason });
    }
    Ok(connection)
}

fn ensure_wal_mode(connection: &Connection, path: &Path) -> Result<()> {
    let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    let mode = ask("PRAGMA journal_mode").map_err(|e| Error::sqlite(path, e))?;
    if mode == "wal" {
        return Ok(());
    }
    let not_wal = |reason| Error::NotWal { path: path.to_path_buf(), mode: mode.clone(), reason };
    match ask("PRAGMA journal_mode = wal") {
        Ok(now) if now == "wal" => Ok(()),
        Ok(now) => Err(not_wal(format!("SQLite keeps it in {now} mode"))),
        Err(e) => match Error::sqlite(path, e) {
            Error::Busy { .. } => Err(not_wal("another process holds a lock".to_string())),
            e => Err(not_wal(e.to_string())),
        },
    }
}

/// Begins a transaction that stands exactly on the tip, if no commit comes in between.
pub(crate) fn try_pin(index: &WalIndex, pin: &Connection, path: &Path) -> Result<Option<Pinned>> {
    let (before, _) = index.tip()?;
    begin(pin, path)?;
    let after =
        index.tip().and_then(|(tip, _)| Ok(Pinned { tip, backfilled: index.backfilled()? }));
    match after {
        Ok(pinned) if pinned.tip == before => Ok(Some(pinned)),
        after => {
            end(pin, path)?;
            after.map(|_| None)
        }
    }
}

/// Opens a read transaction. `user_version` is read from page 1 and needs no schema in memory.
pub(crate) fn begin(connection: &Connection, path: &Path) -> Result<()> {
    let run = || {
        connection.execute_batch("BEGIN")?;
        connection.query_row("PRAGMA user_version", [], |_| Ok(()))
    };
    run().map_err(|e| {
        let _ = connection.execute_batch("ROLLBACK");
        Error::sqlite(path, e)
    })
}

pub(crate) fn end(connection: &Connection, path: &Path) -> Result<()> {
    connection.execute_batch("ROLLBACK").map_err(|e| Error::sqlite(path, e))
}

pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn identified(path: PathBuf) -> Result<(PathBuf, Identity)> {
    match Identity::of(&path).map_err(|e| Error::io(&path, e))? {
        Some(identity) => Ok((path, identity)),
        None => Err(Error::Missing { path }),
    }
}
