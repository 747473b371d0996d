//! Comparing a restored database with the one that it was captured from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use ltx::{Header, Level, Pgno, Txid, TxidRange};
use sqlite::{PinnedView, View};

use crate::local::Local;
use crate::position::Position;
use crate::restore::{Error, Outcome};

/// How long the source may take to come to rest at the restored transaction.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are compared at a time.
const PIECE: usize = 1 << 20;

/// How a source compares with what was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// All pages are equal.
    Equal {
        /// How many.
        pages: u32,
    },
    /// They stand at the same transaction and are not equal.
    Differs {
        /// The first page that differs.
        page: u32,
    },
    /// The source could not be compared.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Compares the database at `path` with the restored file.
pub(super) fn compare(
    path: &Path,
    meta: Option<&Path>,
    restored: &Path,
    outcome: &Outcome,
) -> Result<Comparison, Error> {
    let unknown = |reason: String| Ok(Comparison::Unknown { reason });
    let local = Local::at(path, meta, u64::MAX);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = match PinnedView::open(path, BUSY_TIMEOUT) {
            Ok(Some(view)) => view,
            Ok(None) => return unknown("it is not in WAL mode, or never rests".to_string()),
            Err(error) => return unknown(error.to_string()),
        };
        let same = outcome.txid.is_some_and(|txid| stands_at(&local, &view, txid));
        if same || Instant::now() >= deadline {
            let differs = match view.view() {
                Ok(view) => first_difference(&view, path, restored)?,
                Err(error) => return unknown(error.to_string()),
            };
            return Ok(match differs {
                None => Comparison::Equal { pages: outcome.pages },
                Some(page) if same => Comparison::Differs { page },
                Some(_) => Comparison::Unknown {
                    reason: "it is at another transaction than the replica".to_string(),
                },
            });
        }
        drop(view);
        std::thread::sleep(LOOK);
    }
}

/// Whether the view shows just what the captured file of this transaction ends with.
fn stands_at(local: &Local, view: &PinnedView, txid: Txid) -> bool {
    let path = local.path(Level::L0, TxidRange::single(txid));
    let mut header = [0u8; Header::SIZE];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let header = read.ok().and_then(|()| Header::decode(&header).ok());
    let position = header.and_then(|header| Position::of(&header));
    position.is_some_and(|position| position == Position::at(&view.tip()))
}

fn first_difference(view: &View<'_>, path: &Path, restored: &Path) -> Result<Option<u32>, Error> {
    let page_size = view.page_size().bytes();
    let in_source = |error: sqlite::Error| Error::output(path, io::Error::other(error.to_string()));
    let in_restored = |error| Error::output(restored, error);
    let mut file = File::open(restored).map_err(in_restored)?;
    let pages = file.metadata().map_err(in_restored)?.len() / page_size as u64;
    if pages != u64::from(view.pages()) {
        return Ok(Some(view.pages().min(u32::try_from(pages).unwrap_or(u32::MAX)) + 1));
    }
    let per_piece = (PIECE / page_size).max(1) as u32;
    let lock_page = view.page_size().lock_page().get();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for first in (1..=view.pages()).step_by(per_piece as usize) {
        let count = per_piece.min(view.pages() - first + 1) as usize;
        here.resize(count * page_size, 0);
        there.resize(count * page_size, 0);
        let Some(pgno) = Pgno::new(first) else { continue };
        view.read(pgno, &mut here).map_err(in_source)?;
        file.read_exact(&mut there).map_err(in_restored)?;
        let pages = here.chunks_exact(page_size).zip(there.chunks_exact(page_size));
        let differs = (first..).zip(pages).find(|(number, (a, b))| *number != lock_page && a != b);
        if let Some((number, _)) = differs {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
