//! Where the history of a database goes on: what the local state and the replica say.

use ltx::{Checksum, Header, Level, Pgno, Tag, Txid, TxidRange, page_sum};
use sqlite::wal::FRAME_HEADER;
use sqlite::{Live, Tip, WalChecksum};
use storage::{Object, Storage};

use crate::Error;
use crate::local::Local;
use crate::position::{Advance, Position};
use crate::restore::{self, Target};
use crate::sums::Sums;

/// Bytes at the end of an LTX file that hold its checksum.
const FILE_CHECKSUM: usize = 8;

/// What the replica holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote {
    /// Its last transaction over all levels.
    pub(crate) last: Option<Txid>,
    /// The last object on level 0.
    pub(crate) newest: Option<Object>,
    /// Why its latest state cannot be restored, if it cannot.
    pub(crate) defect: Option<String>,
}

impl Remote {
    /// The last transaction on level 0.
    pub(crate) fn newest_txid(&self) -> Option<Txid> {
        self.newest.as_ref().map(|newest| newest.txids.max)
    }

    pub(crate) fn read(storage: &dyn Storage) -> Result<Remote, storage::Error> {
        let mut objects = Vec::new();
        let mut newest = None;
        for level in Level::all() {
            let listed = storage.list(level, Txid::FIRST)?;
            if level == Level::L0 {
                newest = listed.last().cloned();
            }
            objects.extend(listed);
        }
        let last = objects.iter().map(|object| object.txids.max).max();
        let defect = match restore::plan(&objects, Target::Latest) {
            Err(error) if last.is_some() => Some(error.to_string()),
            _ => None,
        };
        Ok(Remote { last, newest, defect })
    }
}

/// How to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing is known anywhere: the first transaction is a whole image.
    Fresh,
    /// The local state is at the replica's last transaction or ahead of it by files that are here.
    Continue(Txid),
    /// The replica has a history that the local state cannot continue: a whole image is its next
    /// transaction.
    Anchor { after: Txid, reason: String },
}

/// Decides from the local files (oldest first) and the replica's last transaction.
pub(crate) fn decide(local: &[Txid], remote: Option<Txid>) -> Start {
    let anchor = |after: Txid, reason: String| Start::Anchor { after, reason };
    match (local.last().copied(), remote) {
        (None, None) => Start::Fresh,
        (None, Some(remote)) => anchor(remote, "there is no local state".to_string()),
        (Some(here), Some(remote)) if here < remote => {
            anchor(remote, format!("the local state ends at {here}, the replica at {remote}"))
        }
        (Some(here), Some(remote)) if here == remote => Start::Continue(here),
        (Some(here), remote) => {
            let wanted = remote.map_or(Txid::FIRST, Txid::next);
            let whole = unbroken_from(local, wanted);
            match remote {
                _ if whole => Start::Continue(here),
                None => Start::Fresh,
                Some(remote) => anchor(remote, format!("local file {wanted} is missing")),
            }
        }
    }
}

fn unbroken_from(local: &[Txid], first: Txid) -> bool {
    let mut wanted = first;
    for txid in local.iter().filter(|txid| **txid >= first) {
        if *txid != wanted {
            return false;
        }
        wanted = wanted.next();
    }
    wanted != first
}

/// The same transaction with other content here and there: two databases share one replica.
pub(crate) fn replica_differs(
    local: &Local,
    storage: &dyn Storage,
    remote: &Remote,
) -> Result<bool, Error> {
    let Some(object) = &remote.newest else { return Ok(false) };
    let txid = object.txids.max;
    let Some((size, here)) = local.ending::<FILE_CHECKSUM>(txid)? else {
        return lineage_differs(local, storage, txid);
    };
    if size != object.size {
        return Ok(true);
    }
    let mut there = [0u8; FILE_CHECKSUM];
    storage.read_at(Level::L0, TxidRange::single(txid), size - FILE_CHECKSUM as u64, &mut there)?;
    Ok(here != there)
}

/// The last local file continues files that are not here: its tag must name the same history.
fn lineage_differs(local: &Local, storage: &dyn Storage, txid: Txid) -> Result<bool, Error> {
    let mut header = [0u8; Header::SIZE];
    storage.read_at(Level::L0, TxidRange::single(txid), 0, &mut header)?;
    let lineage = |header: Header| header.tag().map(|tag| tag.lineage);
    let there = Header::decode(&header).ok().and_then(lineage);
    let here = local.newest_header()?.and_then(lineage);
    Ok(there.is_some() && here.is_some() && there != here)
}

/// The last captured file, read whole and found sound.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) header: Header,
    pub(crate) tag: Option<Tag>,
    /// Sums of its pages, ascending.
    pages: Vec<(Pgno, Checksum)>,
}

impl Last {
    pub(crate) fn read(local: &Local, txid: Txid) -> Result<Last, Error> {
        let mut pages = Vec::new();
        let name = (Level::L0, TxidRange::single(txid));
        let header = local.verify(name, |pgno, page| pages.push((pgno, page_sum(pgno, page))))?;
        Ok(Last { tag: header.tag(), header, pages })
    }

    /// Whether the WAL still holds what the last file ends with, so that everything after it is
    /// in the WAL too.
    pub(crate) fn advance(&self, live: &Live, tip: &Tip) -> Result<(Position, Advance), Error> {
        let broken = |position, reason: &str| (position, Advance::Broken(reason.to_string()));
        let Some(position) = Position::of(&self.header) else {
            let nowhere = Position { salts: tip.salts, frame: 0, checksum: 0 };
            return Ok(broken(nowhere, "the last file does not say where in the WAL it ends"));
        };
        if position.salts == sqlite::Salts::default() {
            return Ok(broken(position, "there was no WAL when the last file was captured"));
        }
        let advance = position.advance_unpinned(tip);
        if matches!(advance, Advance::Broken(_)) {
            return Ok((position, advance));
        }
        let Some(seed) = self.stands(live, &position)? else {
            return Ok(broken(position, "the last captured frame is not in the WAL any more"));
        };
        if let Advance::After(frame) = advance
            && !live.wal().verify(frame, seed, tip.frame)?
        {
            return Ok(broken(position, "the frames after the last captured one are damaged"));
        }
        Ok((position, advance))
    }

    /// The stored checksum of the frame at `position`, if it is still the one that was captured.
    fn stands(&self, live: &Live, position: &Position) -> Result<Option<WalChecksum>, Error> {
        if position.frame == 0 {
            return Ok(Some(WalChecksum::default()));
        }
        let page_size = live.page_size();
        let mut buf = vec![0u8; FRAME_HEADER + page_size.bytes()];
        let Some(frame) = live.wal().read_frame(page_size, position.frame, &mut buf)? else {
            return Ok(None);
        };
        let known = match position.checksum {
            0 => self.holds(frame.pgno, page_sum(frame.pgno, &buf[FRAME_HEADER..])),
            checksum => frame.checksum.to_u64() == checksum,
        };
        Ok((frame.salts == position.salts && known).then_some(frame.checksum))
    }

    fn holds(&self, pgno: Pgno, sum: Checksum) -> bool {
        self.pages
            .binary_search_by_key(&pgno, |(pgno, _)| *pgno)
            .is_ok_and(|at| self.pages[at].1 == sum)
    }

    /// The page sums after this file, if the cache holds them or can be brought up to it.
    pub(crate) fn sums(&self, local: &Local) -> Option<Sums> {
        let tag = self.tag?;
        let mut sums = Sums::open(&local.sums_path(), self.header.page_size).ok()??;
        let matches = |sums: &Sums| {
            let state = sums.state();
            state.txid == self.header.txids.max
                && state.sum.checksum() == tag.sum
                && sums.adds_up().unwrap_or(false)
        };
        if matches(&sums) {
            return Some(sums);
        }
        // A crash may have left the cache one file behind or half way through this one.
        sums.apply(sums.replay(&self.header, self.pages.clone(), tag)).ok()?;
        matches(&sums).then_some(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txids(numbers: impl IntoIterator<Item = u64>) -> Vec<Txid> {
        numbers.into_iter().map(|n| Txid::new(n).unwrap()).collect()
    }

    fn decided(local: &[u64], remote: u64) -> Start {
        decide(&txids(local.iter().copied()), Txid::new(remote))
    }

    #[test]
    fn begins_where_both_sides_agree() {
        let at = |n| Start::Continue(Txid::new(n).unwrap());
        assert_eq!(decided(&[], 0), Start::Fresh);
        assert_eq!(decided(&[9], 9), at(9));
        assert_eq!(decided(&[8, 9, 10], 8), at(10));
        assert_eq!(decided(&[1, 2], 0), at(2));
    }

    #[test]
    fn a_replica_that_cannot_be_continued_is_anchored_behind_its_end() {
        for (local, remote) in [(&[][..], 5), (&[3], 5), (&[8, 9], 5), (&[6, 8], 5)] {
            match decided(local, remote) {
                Start::Anchor { after, .. } => assert_eq!(after.get(), remote),
                other => panic!("{other:?} for {local:?} and {remote}"),
            }
        }
    }

    #[test]
    fn an_emptied_replica_starts_over() {
        assert_eq!(decided(&[8, 9], 0), Start::Fresh);
    }
}
