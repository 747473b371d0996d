//! One 64-bit sum per page of the database as it is at the last captured transaction.
//!
//! The file is a cache: each captured file's new sums are written after the file itself is in
//! place, so a crash leaves it at most one file behind, and applying that file again mends it.
//! It is believed only if the XOR of its entries equals the sum that the last file is tagged with.
//!
//! It also says how the database file looked when it was known to hold just that, with what the
//! WAL adds: a file that looks different was written to by somebody.
//!
//! Layout: a header of 64 bytes, then 8 bytes per page from page 1 on, all big-endian. The lock
//! page and pages that are not known have the entry 0.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ltx::{Checksum, Header, PageSize, Pgno, RollingSum, Tag, Txid};
use sqlite::Looks;

const MAGIC: &[u8; 8] = b"bksums02";
const HEADER: u64 = 64;
/// Where the header says how the database file looked.
const LOOKS: u64 = 40;
/// Entries read or written at a time.
const BATCH: usize = 8192;

/// What the file says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SumsState {
    pub(crate) txid: Txid,
    pub(crate) pages: u32,
    pub(crate) sum: RollingSum,
    pub(crate) lineage: u64,
    pub(crate) looks: Looks,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Sums {
    file: File,
    path: PathBuf,
    page_size: PageSize,
    state: SumsState,
}

/// New sums of some pages, and what they make of the database's sum.
#[derive(Debug)]
pub(crate) struct SumsUpdate {
    entries: Vec<(Pgno, Checksum)>,
    state: SumsState,
}

impl SumsUpdate {
    /// The database's sum once the update is applied.
    pub(crate) fn sum(&self) -> RollingSum {
        self.state.sum
    }
}

impl Sums {
    /// Opens the file if it is one for this page size, without checking its entries.
    pub(crate) fn open(path: &Path, page_size: PageSize) -> io::Result<Option<Sums>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut header = [0u8; HEADER as usize];
        if file.read_exact_at(&mut header, 0).is_err() {
            return Ok(None);
        }
        let path = path.to_path_buf();
        Ok(decode(&header, page_size).map(|state| Sums { file, path, page_size, state }))
    }

    /// Takes over a file that [`SumsWriter`] wrote.
    fn new(file: File, path: PathBuf, page_size: PageSize, state: SumsState) -> Sums {
        Sums { file, path, page_size, state }
    }

    pub(crate) fn state(&self) -> SumsState {
        self.state
    }

    /// Whether the entries add up to what the file states.
    pub(crate) fn adds_up(&self) -> io::Result<bool> {
        let mut sum = RollingSum::new();
        let mut batch = vec![0u64; BATCH];
        let mut next = 1u32;
        while next <= self.state.pages {
            let count = BATCH.min((self.state.pages - next + 1) as usize);
            self.read(next, &mut batch[..count])?;
            for entry in batch[..count].iter().filter(|entry| **entry != 0) {
                sum.add(known(*entry));
            }
            next += count as u32;
        }
        Ok(sum == self.state.sum)
    }

    /// Reads the entries from page `first` on; 0 beyond the end.
    pub(crate) fn read(&self, first: u32, entries: &mut [u64]) -> io::Result<()> {
        let mut bytes = vec![0u8; entries.len() * 8];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset(first) + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        for (at, (entry, raw)) in entries.iter_mut().zip(bytes.chunks_exact(8)).enumerate() {
            let known = first + at as u32 <= self.state.pages;
            *entry = if known { be(raw) } else { 0 };
        }
        Ok(())
    }

    /// What setting `entries` (ascending) and cutting the database at `pages` will make.
    pub(crate) fn plan(
        &self,
        txid: Txid,
        pages: u32,
        entries: Vec<(Pgno, Checksum)>,
    ) -> io::Result<SumsUpdate> {
        let mut sum = self.state.sum;
        for run in entries.chunk_by(|a, b| a.0.get() + 1 == b.0.get()) {
            let mut old = vec![0u64; run.len()];
            self.read(run[0].0.get(), &mut old)?;
            for entry in old.into_iter().filter(|entry| *entry != 0) {
                sum.remove(known(entry));
            }
        }
        for (pgno, entry) in &entries {
            if *pgno != self.page_size.lock_page() {
                sum.add(*entry);
            }
        }
        let mut cut = vec![0u64; self.state.pages.saturating_sub(pages) as usize];
        self.read(pages + 1, &mut cut)?;
        for entry in cut.into_iter().filter(|entry| *entry != 0) {
            sum.remove(known(entry));
        }
        let SumsState { lineage, looks, .. } = self.state;
        let state = SumsState { txid, pages, sum, lineage, looks };
        Ok(SumsUpdate { entries, state })
    }

    /// The update of a file that may have been applied in part already: it ends in the sum that
    /// the file is tagged with, whatever the entries are now.
    pub(crate) fn replay(
        &self,
        header: &Header,
        entries: Vec<(Pgno, Checksum)>,
        tag: Tag,
    ) -> SumsUpdate {
        let sum = RollingSum::from_checksum(tag.sum);
        let (txid, pages) = (header.txids.max, header.commit);
        let (lineage, looks) = (tag.lineage, self.state.looks);
        SumsUpdate { entries, state: SumsState { txid, pages, sum, lineage, looks } }
    }

    /// Applies an update. Applying the same update again changes nothing.
    pub(crate) fn apply(&mut self, update: SumsUpdate) -> io::Result<()> {
        for run in update.entries.chunk_by(|a, b| a.0.get() + 1 == b.0.get()) {
            let bytes: Vec<u8> = run.iter().flat_map(|(_, sum)| sum.get().to_be_bytes()).collect();
            self.file.write_all_at(&bytes, offset(run[0].0.get()))?;
        }
        self.file.set_len(offset(update.state.pages + 1))?;
        self.state = update.state;
        self.file.write_all_at(&encode(self.page_size, &self.state), 0)
    }

    /// Notes how the database file looks.
    pub(crate) fn witness(&mut self, looks: Looks) -> io::Result<()> {
        if self.state.looks != looks {
            self.file.write_all_at(&encode_looks(looks), LOOKS)?;
            self.state.looks = looks;
        }
        Ok(())
    }

    /// Removes the file: it is not true any more.
    pub(crate) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes a new file beside the old one, page after page.
#[derive(Debug)]
pub(crate) struct SumsWriter {
    file: io::BufWriter<File>,
    temp: PathBuf,
    page_size: PageSize,
    sum: RollingSum,
    pages: u32,
}

impl SumsWriter {
    pub(crate) fn create(path: &Path, page_size: PageSize) -> io::Result<Self> {
        let temp = path.with_extension("tmp");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
        let mut file = io::BufWriter::new(options.open(&temp)?);
        io::Write::write_all(&mut file, &[0u8; HEADER as usize])?;
        Ok(SumsWriter { file, temp, page_size, sum: RollingSum::new(), pages: 0 })
    }

    /// Appends the sum of the next page, `None` for the lock page.
    pub(crate) fn push(&mut self, sum: Option<Checksum>) -> io::Result<()> {
        if let Some(sum) = sum {
            self.sum.add(sum);
        }
        self.pages += 1;
        io::Write::write_all(&mut self.file, &sum.map_or(0, Checksum::get).to_be_bytes())
    }

    /// The database's sum so far.
    pub(crate) fn sum(&self) -> RollingSum {
        self.sum
    }

    /// Puts the file in place as the sums of the database at `txid`.
    pub(crate) fn finish(self, path: &Path, txid: Txid, lineage: u64) -> io::Result<Sums> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (pages, sum, looks) = (self.pages, self.sum, Looks::default());
        let state = SumsState { txid, pages, sum, lineage, looks };
        file.write_all_at(&encode(self.page_size, &state), 0)?;
        std::fs::rename(&self.temp, path)?;
        Ok(Sums::new(file, path.to_path_buf(), self.page_size, state))
    }
}

/// An entry as a sum. The flag that every sum has is the only bit that a damaged entry may lack:
/// the total will not match then.
fn known(entry: u64) -> Checksum {
    Checksum::new(entry | 1 << 63).unwrap_or(RollingSum::EMPTY.checksum())
}

fn offset(pgno: u32) -> u64 {
    HEADER + u64::from(pgno - 1) * 8
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn encode(page_size: PageSize, state: &SumsState) -> [u8; HEADER as usize] {
    let mut header = [0u8; HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&(page_size.bytes() as u32).to_be_bytes());
    header[12..16].copy_from_slice(&state.pages.to_be_bytes());
    header[16..24].copy_from_slice(&state.txid.get().to_be_bytes());
    header[24..32].copy_from_slice(&state.sum.checksum().get().to_be_bytes());
    header[32..40].copy_from_slice(&state.lineage.to_be_bytes());
    header[LOOKS as usize..56].copy_from_slice(&encode_looks(state.looks));
    header
}

fn encode_looks(looks: Looks) -> [u8; 16] {
    (u128::from(looks.size) << 64 | u128::from(looks.modified)).to_be_bytes()
}

fn decode(header: &[u8; HEADER as usize], page_size: PageSize) -> Option<SumsState> {
    let size = be(&header[8..12]) as u32;
    if &header[..8] != MAGIC || PageSize::new(size) != Some(page_size) {
        return None;
    }
    Some(SumsState {
        pages: be(&header[12..16]) as u32,
        txid: Txid::new(be(&header[16..24]))?,
        sum: RollingSum::from_checksum(Checksum::new(be(&header[24..32]))?),
        lineage: be(&header[32..40]),
        looks: Looks { size: be(&header[40..48]), modified: be(&header[48..56]) },
    })
}
