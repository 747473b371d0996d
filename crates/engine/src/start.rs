//! Where the history of a database goes on: what the local state and the replica say.

use std::time::Instant;

use ltx::{Checksum, Header, Level, Pgno, Tag, Txid, TxidRange, page_sum};
use sqlite::wal::FRAME_HEADER;
use sqlite::{Live, Tip, WalChecksum};
use storage::{Object, Storage};

use crate::Error;
use crate::compact::read_through;
use crate::inventory::Inventory;
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
    /// All its objects.
    pub(crate) objects: Vec<Object>,
    /// The history of the whole image that restores of the latest state begin with: 0 if that does
    /// not say it.
    pub(crate) base: Option<u64>,
    /// Its last object on level 0, if that was found damaged.
    pub(crate) damaged: Option<Object>,
}

impl Remote {
    /// The last object on level 0.
    pub(crate) fn newest(&self) -> Option<&Object> {
        let captured = self.objects.iter().filter(|object| object.level == Level::L0);
        captured.max_by_key(|object| object.txids.max)
    }

    /// The range of the last object on level 0.
    pub(crate) fn newest_txids(&self) -> Option<TxidRange> {
        self.newest().map(|newest| newest.txids)
    }

    /// What it holds, for a history that goes on there.
    pub(crate) fn inventory(&self, lineage: Option<u64>) -> Inventory {
        let mut listed = Inventory::listed(&self.objects, Instant::now());
        self.damaged.iter().for_each(|object| listed.damaged(object));
        let is_other = lineage.zip(self.base).is_some_and(|(lineage, base)| lineage != base);
        if is_other { listed.borrowed() } else { listed }
    }

    pub(crate) fn read(storage: &dyn Storage) -> Result<Remote, storage::Error> {
        let objects = storage.list_all()?;
        let last = objects.iter().map(|object| object.txids.max).max();
        let base = lineage_of_base(&objects, storage)?;
        Ok(Remote { last, objects, base, damaged: None })
    }

    /// Why its latest state cannot be restored, if it cannot.
    pub(crate) fn defect(&self) -> Option<String> {
        self.last?;
        restore::plan(&self.objects, Target::Latest).err().map(|error| error.to_string())
    }
}

fn lineage_of_base(
    objects: &[Object],
    storage: &dyn Storage,
) -> Result<Option<u64>, storage::Error> {
    let whole = objects.iter().filter(|object| object.txids.min == Txid::FIRST);
    let Some(base) = whole.max_by_key(|object| object.txids.max) else { return Ok(None) };
    let mut header = [0; Header::SIZE];
    match storage.read_at(base.level, base.txids, 0, &mut header) {
        // Damage is no reason to stand still: a snapshot of ours is what mends it.
        Err(error) if error.is_not_found() || error.is_damage() => return Ok(Some(0)),
        read => read?,
    }
    let tag = Header::decode(&header).ok().and_then(|header| header.tag());
    Ok(Some(tag.map_or(0, |tag| tag.lineage)))
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
                // It may only look so: none of its names is given twice.
                None => anchor(here, "the replica is empty".to_string()),
                Some(remote) => anchor(remote, format!("local file {wanted} is missing")),
            }
        }
    }
}

/// One history for all replicas. `None` stands for one that did not answer, `here` is the last local
/// file.
///
/// It goes on if one replica can go on from the local files and none is ahead of them; a replica
/// that cannot follow is carried on by a snapshot.
pub(crate) fn combine(starts: &[Option<Start>], here: Option<Txid>) -> Start {
    let known = || starts.iter().flatten();
    let continues = |start: &Start| matches!(start, Start::Continue(_));
    let last = known().filter_map(|start| match start {
        Start::Anchor { after, reason } => Some((*after, reason)),
        _ => None,
    });
    let anchor = last.max_by_key(|(after, _)| *after);
    match (here, anchor) {
        // Somebody looked: there are local files. The replicas are looked at when they answer.
        (Some(here), _) if known().next().is_none() => Start::Continue(here),
        (Some(here), None) if known().any(continues) => Start::Continue(here),
        (Some(here), Some((after, _))) if after <= here && known().any(continues) => {
            Start::Continue(here)
        }
        (_, Some((after, reason))) => {
            // Behind the end of every replica, also of those that could have gone on, or may.
            let unseen = || starts.iter().any(Option::is_none);
            let here = here.filter(|_| known().any(continues) || unseen());
            let after = here.max(Some(after)).unwrap_or(after);
            Start::Anchor { after, reason: reason.clone() }
        }
        (_, None) => Start::Fresh,
    }
}

/// Whether a replica lacks more than is here when the history goes on so.
pub(crate) fn is_hole(chosen: &Start, own: Option<&Start>) -> bool {
    matches!((chosen, own), (Start::Continue(_), Some(Start::Anchor { .. } | Start::Fresh)))
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

/// The newest captured file of a replica that the files here seem to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// It is of the same history.
    Same,
    /// The same transaction has other content here and there: two databases share one replica.
    Other,
    /// Nobody can tell, for this damage.
    Damaged(Object, String),
}

/// Compares what the newest captured file of a replica says with what is here.
pub(crate) fn newest(
    local: &Local,
    storage: &dyn Storage,
    remote: &Remote,
) -> Result<Newest, Error> {
    let Some(object) = remote.newest() else { return Ok(Newest::Same) };
    match differs(local, storage, object) {
        Ok(false) => Ok(Newest::Same),
        Ok(true) => Ok(Newest::Other),
        Err(error) if error.is_content() => Ok(Newest::Damaged(*object, error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether restores of a replica begin with a whole image of the history that is here.
pub(crate) fn is_ours(local: &Local, remote: &Remote) -> Result<bool, Error> {
    let tag = local.newest_header()?.and_then(|header| header.tag());
    Ok(tag.is_some_and(|tag| remote.base == Some(tag.lineage)))
}

fn differs(local: &Local, storage: &dyn Storage, object: &Object) -> Result<bool, Error> {
    let TxidRange { min, max } = object.txids;
    let ending = if min == max { local.ending::<FILE_CHECKSUM>(max)? } else { None };
    let Some((size, here)) = ending else {
        return match is_rotten(local, object) {
            true => differs_from_rotten(local, storage, object),
            false => tag_differs(local, storage, object.txids),
        };
    };
    let end = size.saturating_sub(FILE_CHECKSUM as u64);
    let mut there = [0u8; FILE_CHECKSUM];
    let mut is_damaged = object.size < size;
    if object.size == size {
        match storage.read_at(Level::L0, object.txids, end, &mut there) {
            Ok(()) if here == there => return Ok(false),
            Err(error) if error.is_damage() => is_damaged = true,
            read => read?,
        }
    }
    if is_rotten(local, object) {
        return differs_from_rotten(local, storage, object);
    }
    // What is left of a damaged one may say that it is ours.
    if is_damaged
        && let Some(tag) = tag_there(storage, object.txids)?
        && local.header(max)?.and_then(|header| header.tag()) == Some(tag)
    {
        storage.read_at(Level::L0, object.txids, end, &mut there)?;
        return Ok(here != there);
    }
    Ok(true)
}

/// The local file is damaged: the other one is ours only if its tag says so.
fn differs_from_rotten(
    local: &Local,
    storage: &dyn Storage,
    object: &Object,
) -> Result<bool, Error> {
    let lineage = |tag: Option<Tag>| tag.map(|tag| tag.lineage);
    let there = lineage(tag_there(storage, object.txids)?);
    let here = lineage(local.newest_header()?.and_then(|header| header.tag()));
    if there.is_none() || there != here || tag_differs(local, storage, object.txids)? {
        return Ok(true);
    }
    read_through(object, storage)?;
    Ok(false)
}

fn is_rotten(local: &Local, object: &Object) -> bool {
    matches!(local.verify((object.level, object.txids), |_, _| ()), Err(Error::Damaged { .. }))
}

/// The same file is not on both sides: the tags must name the same history, and at the same
/// transaction the same state.
fn tag_differs(local: &Local, storage: &dyn Storage, txids: TxidRange) -> Result<bool, Error> {
    let there = tag_there(storage, txids)?;
    if let Some(here) = local.header(txids.max)?.and_then(|header| header.tag()) {
        return Ok(there.is_some_and(|there| there != here));
    }
    let here = local.newest_header()?.and_then(|header| header.tag());
    Ok(there.zip(here).is_some_and(|(there, here)| there.lineage != here.lineage))
}

fn tag_there(storage: &dyn Storage, txids: TxidRange) -> Result<Option<Tag>, Error> {
    let mut header = [0u8; Header::SIZE];
    storage.read_at(Level::L0, txids, 0, &mut header)?;
    Ok(Header::decode(&header).ok().and_then(|header| header.tag()))
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
mod tests;
