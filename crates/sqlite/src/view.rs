//! A consistent image of the whole database at one commit, readable from many threads.

use std::borrow::Cow;

use ltx::{PageSize, Pgno};

use crate::file::DatabaseFile;
use crate::wal::{FRAME_HEADER, Wal};
use crate::{Result, Tip};

/// The database as it is at [`View::tip`]. It stays readable for as long as the pin stands; the
/// borrow of [`crate::Live`] keeps it from being moved.
///
/// Pages that were not yet copied into the database file when the view was made are read from the
/// WAL, all others from the file: a checkpoint under way can only touch the former.
#[derive(Debug)]
pub struct View<'live> {
    pub(crate) file: &'live DatabaseFile,
    pub(crate) wal: &'live Wal,
    pub(crate) tip: Tip,
    pub(crate) page_size: PageSize,
    pub(crate) pages: u32,
    pub(crate) in_wal: Cow<'live, [(Pgno, u32)]>,
}

impl<'live> View<'live> {
    pub(crate) fn new(
        file: &'live DatabaseFile,
        wal: &'live Wal,
        page_size: PageSize,
        tip: Tip,
        in_wal: Cow<'live, [(Pgno, u32)]>,
    ) -> Result<Self> {
        let in_file = file.len()? / page_size.bytes() as u64;
        let pages = match tip.pages {
            0 => u32::try_from(in_file).unwrap_or(u32::MAX),
            pages => pages,
        };
        Ok(View { file, wal, tip, page_size, pages, in_wal })
    }
}

impl View<'_> {
    /// The commit that the view shows.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// Page size of the database.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Size of the database in pages.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// The page that the last frame of the WAL holds, if there is a frame.
    pub fn last_page(&self) -> Option<Pgno> {
        self.in_wal.iter().find(|(_, frame)| *frame == self.tip.frame).map(|(pgno, _)| *pgno)
    }

    /// Reads consecutive pages from `first` on; `pages` is a whole number of pages.
    pub fn read(&self, first: Pgno, pages: &mut [u8]) -> Result<()> {
        let size = self.page_size.bytes();
        self.file.read_pages(self.page_size, first, pages)?;
        let end = first.get() + (pages.len() / size) as u32;
        let from = self.in_wal.partition_point(|(pgno, _)| *pgno < first);
        let mut frame = vec![0u8; FRAME_HEADER + size];
        for entry in self.in_wal[from..].iter().take_while(|(pgno, _)| pgno.get() < end) {
            self.wal.read_page(self.page_size, self.tip.salts, *entry, &mut frame)?;
            let at = (entry.0.get() - first.get()) as usize * size;
            pages[at..at + size].copy_from_slice(&frame[FRAME_HEADER..]);
        }
        Ok(())
    }
}
