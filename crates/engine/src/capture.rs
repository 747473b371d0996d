//! One capture step: the frames after a position become one LTX file.

mod kept;

use std::io;
use std::time::SystemTime;

use ltx::{
    Checksum, FrameRun, Header, Level, PageSize, Pgno, Tag, Timestamp, Txid, TxidRange, page_sum,
};
use sqlite::wal::FRAME_HEADER;
use sqlite::{Live, Looks, Tip};

use crate::Error;
use crate::local::{Local, Staged};
use crate::position::{Position, node_id, wal_range};
use crate::sums::{Sums, SumsUpdate};
pub(crate) use kept::Kept;

/// Encoded bytes that are held before they are written.
const RUN_BYTES: usize = 256 * 1024;

/// What was captured so far.
#[derive(Debug)]
pub(crate) struct History {
    /// The last captured transaction.
    pub(crate) txid: Txid,
    /// Where it ends in the WAL.
    pub(crate) position: Position,
    /// Size of the database after it.
    pub(crate) pages: u32,
    /// Its time. Later ones are never earlier, whatever the clock does.
    pub(crate) timestamp: Timestamp,
    /// Names this line of transactions.
    pub(crate) lineage: u64,
    /// Sums of all pages after it; `None` until they are built.
    pub(crate) sums: Option<Sums>,
    /// Captured files that may not survive a power cut yet.
    pub(crate) unsynced: Vec<Txid>,
    /// Captured files that nobody was told of yet.
    pub(crate) fresh: Vec<(Txid, Timestamp)>,
    /// Pages up to the position that are in no file yet.
    pub(crate) kept: Option<Kept>,
}

/// The pages of a file that is being written.
struct Pages {
    staged: Staged,
    run: FrameRun,
    sums: Vec<(Pgno, Checksum)>,
}

impl Pages {
    /// Adds a page; they come in ascending order.
    fn push(&mut self, pgno: Pgno, page: &[u8]) -> Result<(), Error> {
        self.sums.push((pgno, page_sum(pgno, page)));
        self.run.push(pgno, page)?;
        if self.run.bytes().len() >= RUN_BYTES {
            self.staged.encoder.append(&self.run)?;
            self.run.clear();
        }
        Ok(())
    }
}

impl History {
    /// Captures the frames `after + 1 ..= tip.frame` as the next transaction, behind what is kept.
    pub(crate) fn capture(
        &mut self,
        live: &Live,
        local: &Local,
        tip: &Tip,
        after: u32,
    ) -> Result<(), Error> {
        self.store_kept(local)?;
        let page_size = live.page_size();
        let plan = plan(live.changes(after, tip)?, self.pages, tip.pages, page_size)?;
        self.store(local, page_size, (tip, after), |file| {
            let mut frame = vec![0u8; FRAME_HEADER + page_size.bytes()];
            for entry in plan {
                live.wal().read_page(page_size, tip.salts, entry, &mut frame)?;
                file.push(entry.0, &frame[FRAME_HEADER..])?;
            }
            Ok(())
        })
    }

    /// Stores pages as the next transaction, which ends at `tip`.
    fn store(
        &mut self,
        local: &Local,
        page_size: PageSize,
        (tip, after): (&Tip, u32),
        write: impl FnOnce(&mut Pages) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let txid = self.txid.next();
        let timestamp = self.timestamp.max(Timestamp::from_system_time(SystemTime::now()));
        let mut header = Header::new(page_size, tip.pages, TxidRange::single(txid), timestamp);
        header.wal = wal_range(page_size, after, tip);
        header.node_id = node_id(tip.checksum);

        let staged = local.stage(Level::L0, header)?;
        let mut file = Pages { staged, run: FrameRun::new(page_size), sums: Vec::new() };
        write(&mut file)?;
        let Pages { mut staged, run, sums } = file;
        staged.encoder.append(&run)?;

        let update = self.plan_sums(local, txid, tip.pages, sums)?;
        if let Some(update) = &update {
            header.set_tag(Tag { sum: update.sum().checksum(), lineage: self.lineage });
        }
        staged.finish(&header)?;
        self.txid = txid;
        self.position = Position::at(tip);
        self.pages = tip.pages;
        self.timestamp = timestamp;
        self.unsynced.push(txid);
        self.fresh.push((txid, timestamp));
        self.apply_sums(local, update);
        Ok(())
    }

    /// Makes everything captured durable.
    pub(crate) fn sync(&mut self, local: &Local) -> Result<(), Error> {
        if !self.unsynced.is_empty() {
            local.sync(&self.unsynced)?;
            self.unsynced.clear();
        }
        Ok(())
    }

    /// Notes how the database file looks that holds what was captured, with what the WAL adds.
    pub(crate) fn witness(&mut self, looks: Looks, local: &Local) {
        let Some(sums) = self.sums.as_mut() else { return };
        if let Err(error) = sums.witness(looks) {
            self.give_up_sums(local, &error);
        }
    }

    fn plan_sums(
        &self,
        local: &Local,
        txid: Txid,
        pages: u32,
        sums: Vec<(Pgno, Checksum)>,
    ) -> Result<Option<SumsUpdate>, Error> {
        self.sums
            .as_ref()
            .map(|known| known.plan(txid, pages, sums))
            .transpose()
            .map_err(|e| Error::local(&local.sums_path(), e))
    }

    /// The captured file is in place already, so sums that cannot be written are given up
    /// rather than the capture: they are only a cache.
    fn apply_sums(&mut self, local: &Local, update: Option<SumsUpdate>) {
        let (Some(sums), Some(update)) = (self.sums.as_mut(), update) else { return };
        if let Err(error) = sums.apply(update) {
            self.give_up_sums(local, &error);
        }
    }

    fn give_up_sums(&mut self, local: &Local, error: &io::Error) {
        let path = local.sums_path();
        tracing::warn!(path = %path.display(), %error, "page sums are rebuilt: cannot write");
        if let Some(sums) = self.sums.take() {
            sums.discard();
        }
    }
}

/// The frames to read: none beyond the database's end, and all that its growth needs.
fn plan(
    mut changes: Vec<(Pgno, u32)>,
    before: u32,
    pages: u32,
    page_size: PageSize,
) -> Result<Vec<(Pgno, u32)>, Error> {
    changes.retain(|(pgno, _)| pgno.get() <= pages);
    let lock_page = page_size.lock_page();
    let grown = changes.partition_point(|(pgno, _)| pgno.get() <= before);
    let mut present = changes[grown..].iter().map(|(pgno, _)| pgno.get()).peekable();
    for pgno in (before + 1..=pages).filter(|pgno| *pgno != lock_page.get()) {
        if present.next_if_eq(&pgno).is_none() {
            return Err(Error::Discontinuity(format!(
                "the database grew from {before} to {pages} pages, but page {pgno} is not in the WAL"
            )));
        }
    }
    changes.retain(|(pgno, _)| *pgno != lock_page);
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pgno(n: u32) -> Pgno {
        Pgno::new(n).unwrap()
    }

    #[test]
    fn growth_must_be_complete() {
        let size = PageSize::new(4096).unwrap();
        let change = |n| (pgno(n), n);
        assert_eq!(plan(vec![change(1), change(4)], 3, 4, size).unwrap().len(), 2);
        assert!(plan(vec![change(1), change(5)], 3, 5, size).is_err());
        assert_eq!(plan(vec![change(1), change(9)], 3, 3, size).unwrap(), vec![change(1)]);
    }

    #[test]
    fn growth_passes_over_the_lock_page() {
        let size = PageSize::new(65536).unwrap();
        let lock = size.lock_page().get();
        let changes = vec![(pgno(lock - 1), 1), (pgno(lock + 1), 2)];
        assert_eq!(plan(changes.clone(), lock - 2, lock + 1, size).unwrap(), changes);
    }
}
