//! Writing the pages of WALs into a database file.
//!
//! A WAL is put together in a temporary file first: only then it is known which frame is the last
//! that ends a transaction, and what follows it must not be written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sqlite::wal::{FRAME_HEADER, HEADER, Wal as WalFile, WalHeader};
use storage::{Storage, TempFile};

use super::plan::{Segment, Wal};
use crate::restore::Error;

/// The database that is being brought forward.
pub(super) struct Replay<'a> {
    out: &'a File,
    path: &'a Path,
    current: Option<Current>,
}

/// The WAL that is being put together.
struct Current {
    temp: TempFile,
    index: u32,
    length: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(out: &'a File, path: &'a Path) -> Replay<'a> {
        Replay { out, path, current: None }
    }

    /// Begins the next WAL.
    pub(super) fn begin(&mut self, wal: &Wal) -> Result<(), Error> {
        if wal.index != wal.wanted {
            return Err(Error::MissingWal { index: wal.wanted, offset: 0 });
        }
        let path = self.wal_path();
        let temp = TempFile::create(&path, 0o600).map_err(|error| Error::output(&path, error))?;
        self.current = Some(Current { temp, index: wal.index, length: 0 });
        Ok(())
    }

    /// Adds the next piece of the WAL.
    pub(super) fn add(
        &mut self,
        segment: &Segment,
        piece: &mut impl Read,
        storage: &dyn Storage,
    ) -> Result<(), Error> {
        let path = self.wal_path();
        let Some(current) = &mut self.current else { return Ok(()) };
        if segment.offset != current.length {
            return Err(Error::MissingWal { index: current.index, offset: current.length });
        }
        let mut file = current.temp.file();
        let mut buf = vec![0; 1 << 16];
        loop {
            let damaged = |error: io::Error| Error::DamagedBackup {
                object: format!("{}/{}", storage.url(), segment.key),
                reason: error.to_string(),
            };
            let count = piece.read(&mut buf).map_err(damaged)?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&buf[..count]).map_err(|error| Error::output(&path, error))?;
            current.length += count as u64;
        }
    }

    /// Writes the pages of all whole transactions of the WAL.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let broken =
            |reason: &str| Error::BrokenWal { index: current.index, reason: reason.into() };
        let failed = |error: sqlite::Error| broken(&error.to_string());
        let wal = WalFile::open(current.temp.path()).map_err(failed)?;
        let header =
            wal.header().map_err(failed)?.ok_or_else(|| broken("its header is damaged"))?;
        let frame_size = (FRAME_HEADER + header.page_size.bytes()) as u64;
        if !(current.length - HEADER).is_multiple_of(frame_size) {
            return Err(broken("it ends inside a frame"));
        }
        let frames = u32::try_from((current.length - HEADER) / frame_size)
            .map_err(|_| broken("it is too long"))?;
        if frames == 0 {
            return Ok(());
        }
        // A segment was uploaded only up to a commit.
        let (last, pages) = match last_commit(&wal, &header, frames).map_err(failed)? {
            Some(found @ (last, _)) if last == frames => found,
            _ => return Err(broken("a frame of it is damaged")),
        };
        self.copy(&wal, &header, last).map_err(|error| match error {
            Copying::Read(error) => failed(error),
            Copying::Write(error) => Error::output(self.path, error),
        })?;
        let length = u64::from(pages) * header.page_size.bytes() as u64;
        self.out.set_len(length).map_err(|error| Error::output(self.path, error))
    }

    fn copy(&self, wal: &WalFile, header: &WalHeader, last: u32) -> Result<(), Copying> {
        let mut frame = vec![0; FRAME_HEADER + header.page_size.bytes()];
        for number in 1..=last {
            let read = wal.read_frame(header.page_size, number, &mut frame);
            let Some(found) = read.map_err(Copying::Read)? else { continue };
            let offset = u64::from(found.pgno.get() - 1) * header.page_size.bytes() as u64;
            let written = self.out.write_all_at(&frame[FRAME_HEADER..], offset);
            written.map_err(Copying::Write)?;
        }
        Ok(())
    }

    /// Size of the database: in pages, and in bytes.
    pub(super) fn size(&self) -> io::Result<(u32, u64)> {
        let bytes = self.out.metadata()?.len();
        let mut header = [0; 18];
        self.out.read_exact_at(&mut header, 0)?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65536,
            size => u64::from(size.max(512)),
        };
        Ok((u32::try_from(bytes / page_size).unwrap_or(u32::MAX), bytes))
    }

    fn wal_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_os_string();
        name.push("-wal");
        PathBuf::from(name)
    }
}

/// Which side failed.
enum Copying {
    Read(sqlite::Error),
    Write(io::Error),
}

/// The last frame that ends a transaction, of those before the first that is damaged, and the size
/// of the database after it.
fn last_commit(
    wal: &WalFile,
    header: &WalHeader,
    frames: u32,
) -> Result<Option<(u32, u32)>, sqlite::Error> {
    let mut frame = vec![0; FRAME_HEADER + header.page_size.bytes()];
    let (mut checksum, mut last) = (header.checksum, None);
    for number in 1..=frames {
        let Some(found) = wal.read_frame(header.page_size, number, &mut frame)? else { break };
        let Some(extended) = header.verify(checksum, &frame) else { break };
        checksum = extended;
        if found.commit > 0 {
            last = Some((number, found.commit));
        }
    }
    Ok(last)
}
