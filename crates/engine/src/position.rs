//! Where in the WAL the captured history ends, and whether it continues there.

use ltx::{Header, PageSize, WalRange};
use sqlite::wal::{frame_ending_at, frame_offset};
use sqlite::{Salts, Tip, WalChecksum};

/// The end of what was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) salts: Salts,
    /// Last captured frame; 0 before the first.
    pub(crate) frame: u32,
    /// Its cumulative checksum, 0 if unknown (files that Litestream wrote).
    pub(crate) checksum: u64,
}

/// What the WAL holds beyond a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// Nothing.
    None,
    /// The frames after this one.
    After(u32),
    /// Nobody can tell: the reason.
    Broken(String),
}

impl Position {
    pub(crate) fn at(tip: &Tip) -> Self {
        Position { salts: tip.salts, frame: tip.frame, checksum: tip.checksum.to_u64() }
    }

    /// The position at the end of an LTX file, as its header keeps it; `None` if the header was
    /// not written from a WAL.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        let end = header.wal.offset.checked_add(header.wal.size)?;
        let frame = frame_ending_at(header.page_size, end)?;
        let salts = Salts(header.wal.salt1, header.wal.salt2);
        Some(Position { salts, frame, checksum: header.node_id })
    }

    /// Compares with the tip of a WAL that a pin has kept since the position was taken.
    ///
    /// Under a pin the WAL restarts only after everything in it was captured (see
    /// `sqlite::live`), and once, so the first salt must have grown by one. A WAL without frames
    /// gets fresh salts with its first frame.
    pub(crate) fn advance_pinned(&self, tip: &Tip) -> Advance {
        if tip.salts == self.salts {
            return self.advance_within(tip);
        }
        if !tip.salts.follow(self.salts) && self.frame != 0 {
            let (old, new) = (self.salts, tip.salts);
            return Advance::Broken(format!("WAL salts went from {old:08x?} to {new:08x?}"));
        }
        if tip.frame == 0 { Advance::None } else { Advance::After(0) }
    }

    /// Compares with the tip of a WAL that nobody pinned: only the same WAL will do.
    pub(crate) fn advance_unpinned(&self, tip: &Tip) -> Advance {
        if tip.salts == self.salts {
            return self.advance_within(tip);
        }
        Advance::Broken("the WAL was restarted or replaced while it was not watched".to_string())
    }

    fn advance_within(&self, tip: &Tip) -> Advance {
        if tip.frame < self.frame {
            return Advance::Broken(format!(
                "the WAL ends at frame {}, before frame {} that was captured",
                tip.frame, self.frame
            ));
        }
        if tip.frame > self.frame {
            return Advance::After(self.frame);
        }
        if self.checksum != 0 && tip.frame != 0 && tip.checksum.to_u64() != self.checksum {
            return Advance::Broken(format!("frame {} was rewritten", tip.frame));
        }
        Advance::None
    }
}

/// The header field for the frames `after + 1 ..= tip.frame`.
pub(crate) fn wal_range(page_size: PageSize, after: u32, tip: &Tip) -> WalRange {
    let offset = frame_offset(page_size, after + 1);
    let end = frame_offset(page_size, tip.frame + 1);
    WalRange { offset, size: end - offset, salt1: tip.salts.0, salt2: tip.salts.1 }
}

/// A frame checksum as the header's node id keeps it.
pub(crate) fn node_id(checksum: WalChecksum) -> u64 {
    checksum.to_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(salt: u32, frame: u32) -> Tip {
        let checksum = WalChecksum(salt, frame);
        Tip { salts: Salts(salt, 7), frame, checksum, pages: 9, change: frame }
    }

    #[test]
    fn a_pinned_wal_may_restart_once() {
        let position = Position::at(&tip(5, 10));
        assert_eq!(position.advance_pinned(&tip(5, 10)), Advance::None);
        assert_eq!(position.advance_pinned(&tip(5, 12)), Advance::After(10));
        assert_eq!(position.advance_pinned(&tip(6, 3)), Advance::After(0));
        assert!(matches!(position.advance_pinned(&tip(7, 3)), Advance::Broken(_)));
        assert!(matches!(position.advance_pinned(&tip(5, 9)), Advance::Broken(_)));
    }

    #[test]
    fn an_empty_wal_gets_any_salts() {
        let position = Position::at(&tip(0, 0));
        assert_eq!(position.advance_pinned(&tip(99, 1)), Advance::After(0));
    }

    #[test]
    fn an_unpinned_wal_may_not_restart() {
        let position = Position::at(&tip(5, 10));
        assert!(matches!(position.advance_unpinned(&tip(6, 3)), Advance::Broken(_)));
        assert_eq!(position.advance_unpinned(&tip(5, 11)), Advance::After(10));
    }
}
