//! What was written to a database past SQLite, or went wrong on its disk or with us.
//!
//! The file is looked at from outside, and a few of its pages are compared with their sums from
//! time to time. What is found is answered with a comparison of all pages: the replica then holds
//! what SQLite reads.

use std::time::Instant;

use ltx::{Pgno, page_sum};
use sqlite::Tip;

use super::{Attached, Database};
use crate::Error;
use crate::position::Position;
use crate::sums::Sums;

/// Pages of one check beside the first, which every writer of whole files changes.
const SAMPLE: usize = 32;

const OVERWRITTEN: &str = "the database file was written to past SQLite";

impl Database {
    /// Looks whether anything but a checkpoint wrote to the database file.
    pub(super) fn look_over(&self, attached: &mut Attached) -> Result<(), Error> {
        let Some(now) = attached.live.imprint()? else { return Ok(()) };
        let before = attached.imprint.replace(now);
        if before.is_some_and(|before| before.is_overwritten_in(&now)) {
            if !attached.overwritten {
                let db = self.options.path.display();
                tracing::error!(
                    %db,
                    "the database file is written to past SQLite, beside its WAL: what SQLite makes of the two is replicated; \
                     to put another database in its place, stop all who use it first, or use `brooklet restore -force`"
                );
            }
            attached.overwritten = true;
            return Ok(()); // until whoever does it is done
        }
        if attached.overwritten {
            self.rebase(attached, OVERWRITTEN)?;
            attached.overwritten = false;
        }
        attached.history.witness(now.looks, &self.local);
        Ok(())
    }

    /// Compares a few pages with their sums, if it is time for that.
    pub(super) fn spot_check(&self, attached: &mut Attached, tip: &Tip) -> Result<(), Error> {
        let Attached { live, history, next_check, .. } = attached;
        let now = Instant::now();
        if now < *next_check || history.position != Position::at(tip) {
            return Ok(());
        }
        *next_check = now + self.options.check_interval;
        let Some(sums) = &history.sums else { return self.rebuild_sums(attached) };
        let view = live.view_at(*tip)?;
        let mut page = vec![0u8; view.page_size().bytes()];
        let last = sums.state().pages;
        let sample = (0..SAMPLE).map(|_| fastrand::u32(1..=last.max(1)));
        for pgno in std::iter::once(1).chain(sample).filter_map(Pgno::new) {
            // The WAL has started anew: there will be another check.
            let Ok(()) = view.read(pgno, &mut page) else { return Ok(()) };
            if self.is_known(sums, pgno, &page)? {
                continue;
            }
            let (db, txid) = (self.options.path.display(), history.txid);
            tracing::error!(%db, page = pgno.get(), %txid, "a page is not what was captured of it");
            self.shared.count(|counts| counts.failed_checks += 1);
            return self.rebase(attached, &format!("page {pgno} is not what was captured of it"));
        }
        self.shared.count(|counts| counts.checks += 1);
        Ok(())
    }

    fn is_known(&self, sums: &Sums, pgno: Pgno, page: &[u8]) -> Result<bool, Error> {
        let mut known = [0u64];
        let read = sums.read(pgno.get(), &mut known);
        read.map_err(|error| Error::local(&self.local.sums_path(), error))?;
        Ok(known == [0] || known == [page_sum(pgno, page).get()])
    }

    /// Builds sums again that had to be given up.
    fn rebuild_sums(&self, attached: &mut Attached) -> Result<(), Error> {
        attached.lost = true;
        self.build_sums(&mut attached.live, &mut attached.history)?;
        attached.lost = false;
        Ok(())
    }
}
