//! An image of the whole database that lasts beside the replication of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ltx::{PageSize, Pgno};
use rusqlite::Connection;

use crate::file::DatabaseFile;
use crate::wal::Wal;
use crate::{Error, Result, Tip, View, WalIndex, live};

/// The database as it was at one commit, kept by a read transaction of its own.
///
/// It shares the descriptors of the [`Live`](crate::Live) that made it: until it is dropped, the
/// database must not be attached anew, or the locks of that would go with these descriptors.
#[derive(Debug)]
pub struct PinnedView {
    // Dropped in this order: the connection before the descriptors that share its locks.
    pub(crate) _pin: Mutex<Connection>,
    pub(crate) _index: Arc<WalIndex>,
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) wal: Arc<Wal>,
    pub(crate) page_size: PageSize,
    pub(crate) tip: Tip,
    pub(crate) in_wal: Vec<(Pgno, u32)>,
}

impl PinnedView {
    /// The database at `path` at its last commit, if it is in WAL mode and rests for a moment.
    ///
    /// No more than a read transaction is taken. There must be no [`Live`](crate::Live) of the same
    /// database in this process.
    pub fn open(path: &Path, busy_timeout: Duration) -> Result<Option<PinnedView>> {
        let file = DatabaseFile::open(path)?;
        let page_size = file.page_size()?;
        let pin = live::connect(path, busy_timeout)?;
        let mode = pin.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        if mode.map_err(|e| Error::sqlite(path, e))? != "wal" {
            return Ok(None);
        }
        live::begin(&pin, path)?; // makes the WAL and its index, where they are missing
        live::end(&pin, path)?;
        let real = std::fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
        let wal = Wal::open(&live::suffixed(&real, "-wal"))?;
        let index = WalIndex::open(&live::suffixed(&real, "-shm"))?;
        let try_pin = |_| live::try_pin(&index, &pin, path).transpose();
        let Some(pinned) = (0..live::PIN_TRIES).find_map(try_pin).transpose()? else {
            return Ok(None);
        };
        let in_wal = index.last_frames(pinned.backfilled, pinned.tip.frame)?;
        Ok(Some(PinnedView {
            _pin: Mutex::new(pin),
            _index: Arc::new(index),
            file: Arc::new(file),
            wal: Arc::new(wal),
            page_size,
            tip: pinned.tip,
            in_wal,
        }))
    }

    /// The commit that it shows.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The database's page size.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Its pages, readable from many threads.
    pub fn view(&self) -> Result<View<'_>> {
        let in_wal = self.in_wal.as_slice().into();
        View::new(&self.file, &self.wal, self.page_size, self.tip, in_wal)
    }
}
