//! Whether a replica still has the history that a copy belongs to.
//!
//! One that was set up anew may end at the very transaction that the copy holds. Each listing shows
//! the object that ends there: its header is read again only when it looks different.

use ltx::{Header, Level, Tag, Txid};
use storage::{Object, Storage};

use super::Follower;
use crate::restore::error::name;
use crate::restore::{Error, Target, find_plan};

impl Follower {
    /// From where on level 0 is listed: what ends at the copy's transaction is among it.
    pub(super) fn list_from(&self, txid: Txid) -> Txid {
        let here = self.seen.filter(|seen| seen.level == Level::L0 && seen.txids.max == txid);
        here.map_or(txid.next(), |seen| seen.txids.min)
    }

    /// Whether what ends at the copy's transaction was on level 0 and is not in this listing of it.
    pub(super) fn lost_sight(&self, objects: &[Object], txid: Txid) -> bool {
        let at_end = |object: &Object| object.txids.max == txid;
        self.list_from(txid) <= txid && !objects.iter().any(at_end)
    }

    /// Fails if what ends at the copy's transaction is of another history, or another state.
    pub(super) fn expect_same(&mut self, objects: &[Object], txid: Txid) -> Result<(), Error> {
        let is_named = |object: &&Object| {
            self.seen.is_some_and(|it| (it.level, it.txids) == (object.level, object.txids))
        };
        let at_end = objects.iter().filter(|object| object.txids.max == txid);
        let named = at_end.clone().find(is_named);
        let Some(found) = named.or(at_end.min_by_key(|object| object.level)) else { return Ok(()) };
        if self.seen == Some(*found) {
            return Ok(());
        }
        let storage = &*self.requests[self.current].storage;
        let is_same = match self.lineage.zip(tag(storage, found)?) {
            Some((lineage, tag)) => {
                tag.lineage == lineage && self.sum.is_none_or(|sum| sum == tag.sum)
            }
            // One that does not say its history: nobody writes the same one twice.
            None => named.is_none(),
        };
        if !is_same {
            return Err(Error::OtherHistory { object: name(storage, found) });
        }
        self.seen = Some(*found);
        Ok(())
    }

    /// Whether the replica, which ends before the copy, does not only lag behind another one: it
    /// has another history, or is the only one.
    pub(super) fn is_other(&self) -> Result<bool, Error> {
        let storage = &*self.requests[self.current].storage;
        let plan = find_plan(storage, Target::Latest)?;
        let found = tag(storage, plan.last())?.map(|tag| tag.lineage);
        Ok(match self.lineage.zip(found) {
            Some((ours, found)) => ours != found,
            None => self.requests.len() == 1,
        })
    }
}

/// The history that a transaction belongs to and the sum of its pages, as far as a file says them.
pub(super) fn tag_at(storage: &dyn Storage, txid: Txid) -> Option<Tag> {
    let plan = find_plan(storage, Target::Txid(txid)).ok()?;
    tag(storage, plan.last()).ok().flatten()
}

/// The history that a file belongs to and the sum of the pages after it, if it says so.
pub(super) fn tag(storage: &dyn Storage, file: &Object) -> Result<Option<Tag>, Error> {
    let mut header = [0; Header::SIZE];
    match storage.read_at(file.level, file.txids, 0, &mut header) {
        Err(error) if error.is_damage() => return Ok(None),
        read => read?,
    }
    Ok(Header::decode(&header).ok().and_then(|header| header.tag()))
}
