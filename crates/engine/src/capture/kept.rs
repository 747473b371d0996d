//! Changed pages in memory, until they become a file.
//!
//! An application that starts its WAL anew a hundred times a second would make as many files of
//! it. If we die before there is one, the database has the pages, and they are found by comparing.

use std::collections::BTreeMap;

use ltx::Pgno;
use sqlite::wal::FRAME_HEADER;
use sqlite::{Live, Tip};

use super::{History, plan};
use crate::Error;
use crate::local::Local;
use crate::position::{Advance, Position};

/// Bytes of pages from which they become a file before it is time.
const MOST: usize = 8 << 20;

/// The newest content of each page that changed since the last file.
#[derive(Debug)]
pub(crate) struct Kept {
    pages: BTreeMap<Pgno, Box<[u8]>>,
    /// Where it ends.
    tip: Tip,
    /// The frame after which that WAL was read.
    after: u32,
    page_size: ltx::PageSize,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.pages.len() * self.page_size.bytes()
    }
}

impl History {
    /// Keeps what was committed up to `tip` since the last capture; what is too much for that
    /// becomes files.
    pub(crate) fn keep_up(&mut self, live: &Live, local: &Local, tip: &Tip) -> Result<(), Error> {
        let after = match self.position.advance_pinned(tip) {
            Advance::None => {
                self.position = Position::at(tip);
                return Ok(());
            }
            Advance::After(frame) => frame,
            Advance::Broken(reason) => return Err(Error::Discontinuity(reason)),
        };
        let changes = live.changes(after, tip)?;
        let bytes = changes.len() * live.page_size().bytes();
        if self.kept.as_ref().map_or(0, Kept::bytes) + bytes > MOST {
            self.store_kept(local)?;
        }
        match bytes > MOST {
            true => self.capture(live, local, tip, after),
            false => self.keep(live, tip, after, changes),
        }
    }

    /// Keeps the `changes` of the frames `after + 1 ..= tip.frame`.
    pub(super) fn keep(
        &mut self,
        live: &Live,
        tip: &Tip,
        after: u32,
        changes: Vec<(Pgno, u32)>,
    ) -> Result<(), Error> {
        let page_size = live.page_size();
        let before = self.kept.as_ref().map_or(self.pages, |kept| kept.tip.pages);
        let plan = plan(changes, before, tip.pages, page_size)?;
        let mut frame = vec![0u8; FRAME_HEADER + page_size.bytes()];
        let mut pages = Vec::with_capacity(plan.len());
        for entry in plan {
            live.wal().read_page(page_size, tip.salts, entry, &mut frame)?;
            pages.push((entry.0, Box::from(&frame[FRAME_HEADER..])));
        }
        let new = || Kept { pages: BTreeMap::new(), tip: *tip, after, page_size };
        let kept = self.kept.get_or_insert_with(new);
        kept.pages.extend(pages);
        kept.pages.retain(|pgno, _| pgno.get() <= tip.pages);
        if kept.tip.salts != tip.salts {
            kept.after = after;
        }
        kept.tip = *tip;
        self.position = Position::at(tip);
        Ok(())
    }

    /// Makes what is kept the next transaction.
    pub(crate) fn store_kept(&mut self, local: &Local) -> Result<(), Error> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let stored = self.store(local, kept.page_size, (&kept.tip, kept.after), |file| {
            kept.pages.iter().try_for_each(|(pgno, page)| file.push(*pgno, page))
        });
        if stored.is_err() {
            self.kept = Some(kept);
        }
        stored
    }
}
