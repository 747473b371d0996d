//! Whole images of a database, and what differs from the last known state.
//!
//! Pages are read, summed, compared and compressed by as many threads as there are cores, each
//! taking every n-th piece; this thread writes the pieces in order. Memory is a few pieces per
//! thread, whatever the size of the database.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use ltx::{Checksum, FrameRun, Header, Level, Pgno, Tag, Timestamp, Txid, TxidRange, page_sum};
use sqlite::View;

use crate::Error;
use crate::capture::History;
use crate::local::Local;
use crate::position::{Position, node_id, wal_range};
use crate::sums::{Sums, SumsWriter};

/// Bytes of the database in one piece.
const PIECE: usize = 512 * 1024;
/// Finished pieces that wait for their turn, per thread.
const AHEAD: usize = 2;
const MAX_THREADS: usize = 4;

/// What to make of a view.
#[derive(Debug)]
pub(crate) struct ImagePlan<'a> {
    pub(crate) txid: Txid,
    /// Whether restores begin here: the image is written as a snapshot too.
    pub(crate) begins: bool,
    pub(crate) lineage: u64,
    /// Not earlier than the file before.
    pub(crate) not_before: Option<Timestamp>,
    /// The last known state: pages that are equal to it are left out.
    pub(crate) base: Option<&'a Sums>,
}

/// Pages done, for whoever watches.
pub(crate) type Progress = AtomicU64;

/// Consecutive pages, compressed.
pub(crate) struct Piece {
    pub(crate) run: FrameRun,
    /// Of every page; none for the lock page.
    pub(crate) sums: Vec<Option<Checksum>>,
}

/// Captures the whole view, or its differences, as one transaction. Without any difference no
/// file is written, and the history stays at the transaction before.
pub(crate) fn capture(
    view: &View<'_>,
    local: &Local,
    plan: &ImagePlan<'_>,
    progress: &Progress,
) -> Result<History, Error> {
    let (page_size, tip) = (view.page_size(), view.tip());
    let now = Timestamp::from_system_time(SystemTime::now());
    let timestamp = plan.not_before.map_or(now, |not_before| not_before.max(now));
    let txids = TxidRange::single(plan.txid);
    let mut header = Header::new(page_size, view.pages(), txids, timestamp);
    header.wal = wal_range(page_size, 0, &tip);
    header.node_id = node_id(tip.checksum);

    let mut staged = local.stage(Level::L0, header)?;
    let whole = TxidRange { min: Txid::FIRST, max: plan.txid };
    let snapshot = (plan.begins && whole != txids).then_some(Header { txids: whole, ..header });
    let mut snapshot = match snapshot {
        Some(header) => Some((local.stage(Level::SNAPSHOT, header)?, header)),
        None => None,
    };
    let sums_path = local.sums_path();
    let in_sums = |e| Error::local(&sums_path, e);
    let mut sums = SumsWriter::create(&sums_path, page_size).map_err(in_sums)?;
    let mut captured = 0;
    for_each_piece(view, plan.base, |piece| {
        captured += piece.run.len_pages();
        staged.encoder.append(&piece.run)?;
        if let Some((snapshot, _)) = &mut snapshot {
            snapshot.encoder.append(&piece.run)?;
        }
        for sum in &piece.sums {
            sums.push(*sum).map_err(in_sums)?;
        }
        progress.fetch_add(piece.sums.len() as u64, Ordering::Relaxed);
        Ok(())
    })?;

    let unchanged = |base: &&Sums| captured == 0 && base.state().pages == view.pages();
    let last = plan.base.filter(unchanged).map(|base| base.state().txid);
    if last.is_none() {
        let tag = Tag { sum: sums.sum().checksum(), lineage: plan.lineage };
        if let Some((snapshot, mut header)) = snapshot {
            header.set_tag(tag);
            snapshot.finish(&header)?;
        }
        header.set_tag(tag);
        staged.finish(&header)?;
    }
    let txid = last.unwrap_or(plan.txid);
    let sums = sums.finish(&sums_path, txid, plan.lineage).map_err(in_sums)?;
    Ok(History {
        txid,
        position: Position::at(&tip),
        pages: view.pages(),
        timestamp,
        lineage: plan.lineage,
        sums: Some(sums),
        // What an image holds is still in the database: a power cut costs nothing but the work.
        unsynced: Vec::new(),
        fresh: if last.is_none() { vec![(txid, timestamp)] } else { Vec::new() },
        kept: None,
    })
}

/// Builds the sums of a view that is exactly at `txid`.
pub(crate) fn build_sums(
    view: &View<'_>,
    local: &Local,
    txid: Txid,
    lineage: u64,
) -> Result<Sums, Error> {
    let path = local.sums_path();
    let in_sums = |e| Error::local(&path, e);
    let mut sums = SumsWriter::create(&path, view.page_size()).map_err(in_sums)?;
    for_each_piece(view, None, |piece| {
        piece.sums.iter().try_for_each(|sum| sums.push(*sum).map_err(in_sums))
    })?;
    sums.finish(&path, txid, lineage).map_err(in_sums)
}

/// Hands over the pieces of the view in page order.
pub(crate) fn for_each_piece(
    view: &View<'_>,
    base: Option<&Sums>,
    mut take: impl FnMut(&Piece) -> Result<(), Error>,
) -> Result<(), Error> {
    let pages_per_piece = (PIECE / view.page_size().bytes()).max(1) as u32;
    let pieces = view.pages().div_ceil(pages_per_piece);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(MAX_THREADS).min(pieces.max(1) as usize);
    thread::scope(|scope| {
        let lanes: Vec<Receiver<Result<Piece, Error>>> = (0..threads)
            .map(|lane| {
                let (sender, receiver) = bounded(AHEAD);
                scope.spawn(move || {
                    let mine = (lane as u32..pieces).step_by(threads);
                    make_pieces(view, base, mine, pages_per_piece, &sender);
                });
                receiver
            })
            .collect();
        for piece in 0..pieces as usize {
            let made = lanes[piece % threads].recv().unwrap_or_else(|_| {
                Err(Error::Discontinuity("an image thread ended early".to_string()))
            })?;
            take(&made)?;
        }
        Ok(())
    })
}

fn make_pieces(
    view: &View<'_>,
    base: Option<&Sums>,
    pieces: impl Iterator<Item = u32>,
    pages_per_piece: u32,
    sender: &Sender<Result<Piece, Error>>,
) {
    let mut buf = Vec::new();
    for piece in pieces {
        let first = piece * pages_per_piece + 1;
        let count = pages_per_piece.min(view.pages() - first + 1);
        let made = make_piece(view, base, first, count, &mut buf);
        let failed = made.is_err();
        if sender.send(made).is_err() || failed {
            return;
        }
    }
}

fn make_piece(
    view: &View<'_>,
    base: Option<&Sums>,
    first: u32,
    count: u32,
    buf: &mut Vec<u8>,
) -> Result<Piece, Error> {
    let page_size = view.page_size();
    buf.resize(count as usize * page_size.bytes(), 0);
    let start = pgno(first)?;
    view.read(start, buf)?;
    let mut known = vec![0u64; if base.is_some() { count as usize } else { 0 }];
    if let Some(base) = base {
        base.read(first, &mut known).map_err(|e| Error::Discontinuity(e.to_string()))?;
    }
    let last_page = view.last_page();
    let mut piece =
        Piece { run: FrameRun::new(page_size), sums: Vec::with_capacity(count as usize) };
    for (at, page) in buf.chunks_exact(page_size.bytes()).enumerate() {
        let pgno = pgno(first + at as u32)?;
        if pgno == page_size.lock_page() {
            piece.sums.push(None);
            continue;
        }
        let sum = page_sum(pgno, page);
        piece.sums.push(Some(sum));
        // With the page of the last frame in the file, Litestream can go on from it too.
        if base.is_none() || known[at] != sum.get() || last_page == Some(pgno) {
            piece.run.push(pgno, page)?;
        }
    }
    Ok(piece)
}

fn pgno(number: u32) -> Result<Pgno, Error> {
    Pgno::new(number).ok_or_else(|| Error::Discontinuity("page 0".to_string()))
}
