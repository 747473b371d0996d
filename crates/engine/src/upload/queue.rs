//! What waits for its upload to one replica.

use std::collections::VecDeque;
use std::time::Instant;

use ltx::{Level, Timestamp, Txid, TxidRange};

use crate::shared::Moment;

/// A captured file on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) level: Level,
    pub(crate) txids: TxidRange,
    pub(crate) created: Timestamp,
    /// Since when it waits.
    pub(crate) since: Instant,
    /// Every commit that returned before this moment is in the file or in one before it; of files
    /// that others follow, nobody knows.
    pub(crate) covers: Option<Moment>,
}

impl Pending {
    /// Whether the two may become one object.
    pub(super) fn is_followed_by(&self, next: &Pending) -> bool {
        let captured = |it: &Pending| it.level == Level::L0 && it.txids.min != Txid::FIRST;
        captured(self) && captured(next) && next.txids.min == self.txids.max.next()
    }
}

/// What waits for its upload to one replica, and how far that got.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) pending: VecDeque<Pending>,
    /// The last transaction that the replica holds.
    pub(super) uploaded: Option<Txid>,
    /// The last file that was seen or stored on its level 0.
    pub(super) stored: Option<TxidRange>,
    /// Somebody wants to know whether everything up to this moment is there.
    pub(super) asked: Option<Moment>,
    pub(super) failures: u32,
    /// Somebody waits: everything goes out as fast as it can.
    pub(super) hurried: bool,
    /// The file that was looked through last and found sound, and when.
    pub(super) sound: Option<((Level, TxidRange), Instant)>,
    /// When the last upload to a metered storage began.
    pub(super) last: Option<Instant>,
    /// While nobody could look at the replica: how often everything was started over since it seemed
    /// that one could, and when last.
    pub(super) starts: Option<(u32, Instant)>,
    /// The last transaction of those that were given up: only a snapshot that holds it bridges them.
    pub(super) given_up: Option<Txid>,
    /// Counts the times that the queue was started over.
    pub(super) epoch: u64,
    pub(super) standing: Standing,
}

impl Queue {
    /// The transaction up to which nothing waits, once that is known. A snapshot may be ahead of it.
    pub(super) fn complete_until(&self) -> Option<Txid> {
        let uploaded = self.uploaded.filter(|_| self.standing == Standing::Open)?;
        let captured = self.pending.iter().filter(|it| it.level == Level::L0);
        match captured.map(|it| it.txids.min).min() {
            Some(first) => Some(first.previous()?.min(uploaded)),
            None => Some(uploaded),
        }
    }
}

/// What the queue may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, until somebody says how the replica goes on.
    #[default]
    Paused,
    /// Nothing: nobody could look at the replica yet.
    Blind,
    /// Nothing, until a snapshot bridges what is not here any more.
    Behind,
    /// What is next.
    Open,
}
