//! The database file, read page by page through one descriptor that outlives the connections.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ltx::{PageSize, Pgno};

use crate::{Error, Looks, Result};

/// First bytes of every SQLite database (file format, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Which file stands at a path: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file at `path` now, `None` if there is none.
    pub fn of(path: &Path) -> io::Result<Option<Identity>> {
        match std::fs::metadata(path) {
            Ok(meta) => Ok(Some(Identity { device: meta.dev(), inode: meta.ino() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// An open database file.
#[derive(Debug)]
pub struct DatabaseFile {
    path: PathBuf,
    file: File,
    identity: Identity,
}

impl DatabaseFile {
    /// Opens the file for reading. Keep the value for as long as a connection to it lives.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        let identity = Identity { device: meta.dev(), inode: meta.ino() };
        Ok(DatabaseFile { path: path.to_path_buf(), file, identity })
    }

    /// Device and inode of the open file.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Length in bytes.
    pub fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| Error::io(&self.path, e))
    }

    /// Its size and time.
    pub fn looks(&self) -> Result<Looks> {
        let looks = self.file.metadata().and_then(|it| Ok(Looks::new(it.len(), it.modified()?)));
        looks.map_err(|e| Error::io(&self.path, e))
    }

    /// Whether the file holds nothing.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The page size that the header states.
    pub fn page_size(&self) -> Result<PageSize> {
        let mut header = [0u8; 100];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                let path = self.path.clone();
                return Err(if self.len()? == 0 {
                    Error::Missing { path }
                } else {
                    Error::NotADatabase { path }
                });
            }
            Err(e) => return Err(Error::io(&self.path, e)),
        }
        let size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65536,
            n => u32::from(n),
        };
        match PageSize::new(size) {
            Some(size) if header.starts_with(MAGIC) => Ok(size),
            _ => Err(Error::NotADatabase { path: self.path.clone() }),
        }
    }

    /// Whether the header says that the database is written to through a WAL.
    pub fn is_in_wal_mode(&self) -> Result<bool> {
        let mut versions = [0u8; 2];
        let read = self.file.read_exact_at(&mut versions, 18);
        read.map_err(|e| Error::io(&self.path, e))?;
        Ok(versions == [2, 2])
    }

    /// Reads one page. What lies beyond the end of the file reads as zeros, as it does for SQLite.
    pub fn read_page(&self, page_size: PageSize, pgno: Pgno, page: &mut [u8]) -> Result<()> {
        let offset = u64::from(pgno.get() - 1) * page_size.bytes() as u64;
        self.read_zero_filled(offset, page)
    }

    /// Reads consecutive pages in one call, with the same rule.
    pub fn read_pages(&self, page_size: PageSize, first: Pgno, pages: &mut [u8]) -> Result<()> {
        debug_assert_eq!(pages.len() % page_size.bytes(), 0);
        self.read_page(page_size, first, pages)
    }

    /// Makes what was written so far durable, so that a checkpoint's own sync is short.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }

    fn read_zero_filled(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => {
                    buf[done..].fill(0);
                    return Ok(());
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(&self.path, e)),
            }
        }
        Ok(())
    }
}
