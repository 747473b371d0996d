//! How a database is attached: where its history goes on, and what it begins with.

use std::cmp::Reverse;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ltx::{Level, Txid};
use sqlite::{Imprint, Live, LiveOptions};
use storage::Object;

use super::{Attached, Database, discontinuity};
use crate::Error;
use crate::capture::History;
use crate::checkpointer::{Checkpointer, Pace};
use crate::image::{self, ImagePlan};
use crate::leaving::Leaving;
use crate::position::Advance;
use crate::seats::Seat;
use crate::shared::Moment;
use crate::start::{Last, Remote, Start};
use crate::status::DatabaseState;
use crate::upload::Pending;

/// Bytes of a database from which its image takes a while, so that only one is made at a time.
const LARGE_IMAGE: u64 = 64 << 20;

impl Database {
    /// A whole image of the database, or what differs from the last known state.
    pub(super) fn image(&self, live: &mut Live, plan: &ImagePlan<'_>) -> Result<History, Error> {
        live.hold_checkpoints(false);
        let _turn = match live.file().len()? {
            LARGE_IMAGE.. => Some(self.around.images.try_lock().map_err(|_| Error::Turn)?),
            _ => None,
        };
        let pinned = live.pin_exactly()?;
        let view = live.view(&pinned)?;
        let total = u64::from(view.pages());
        self.shared.image_pages.store(0, Ordering::Relaxed);
        self.shared.set_state(DatabaseState::Snapshotting { done: 0, total });
        let history = image::capture(&view, &self.local, plan, &self.shared.image_pages)?;
        self.shared.set_state(DatabaseState::Replicating);
        Ok(history)
    }

    /// Attaches to the database if it is there, and brings the history up to it.
    pub(super) fn attach(&self) -> Result<Option<Attached>, Error> {
        let path = &self.options.path;
        match std::fs::metadata(path) {
            Ok(file) if file.len() > 0 => {}
            // It may well be there.
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(sqlite::Error::Io { path: path.clone(), source }.into());
            }
            _ => return Ok(None),
        }
        if !self.around.views.recall() {
            return Err(Error::Turn); // a snapshot still reads what would be opened anew
        }
        let seat = self.seat()?;
        self.uploaders.iter().for_each(|uploader| uploader.pause());
        self.local.prepare()?;
        let here = self.local.files()?;
        let (remotes, start, holes) = self.look_and_decide(&here)?;
        if matches!(start, Start::Continue(_)) {
            // What is staged already goes out, whatever becomes of the database.
            self.restart_uploads(&remotes, &holes, None, None)?;
        }
        // Before the path is looked at: what is there then holds all that was committed to it.
        let began = Moment::now();
        let mut live = match Live::attach(path, &self.live_options()) {
            Ok(live) => live,
            Err(sqlite::Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let imprint = live.imprint()?;
        let mut history = match start {
            Start::Fresh => self.begin(&mut live, None)?,
            Start::Anchor { after, reason } => {
                tracing::warn!(db = %path.display(), reason, "replicas go on with a whole image");
                self.shared.rebased();
                self.begin(&mut live, Some(after))?
            }
            Start::Continue(txid) => {
                self.resume(&mut live, &Last::read(&self.local, txid)?, imprint)?
            }
        };
        history.fresh.clear(); // they are among the pending ones
        self.restart_uploads(&remotes, &holes, Some(began), Some(history.lineage))?;
        self.shared.captured(history.txid);
        self.shared.set_state(DatabaseState::Replicating);
        tracing::info!(db = %path.display(), txid = %history.txid, "replicating");
        self.attached(live, history, imprint, seat).map(Some)
    }

    pub(super) fn live_options(&self) -> LiveOptions {
        LiveOptions { busy_timeout: self.options.busy_timeout }
    }

    pub(super) fn attached(
        &self,
        live: Live,
        history: History,
        imprint: Option<Imprint>,
        seat: Seat,
    ) -> Result<Attached, Error> {
        let interval = Some(self.options.checkpoint_interval).filter(|i| !i.is_zero());
        let now = Instant::now();
        let mut attached = Attached {
            checkpointer: Checkpointer::new(self.options.checkpoint_pages, interval, now),
            leaving: Leaving::new(self.options.checkpoint_pages, now),
            lost: false,
            last_tip: live.tip()?,
            pace: Pace::Slow,
            last_look: now,
            next_look: now,
            awaiting: None,
            next_sync: now,
            next_placement: now + self.options.monitor_interval,
            next_check: now + self.options.check_interval,
            imprint,
            overwritten: false,
            since: now,
            quiet_looks: 0,
            _seat: seat,
            live,
            history,
        };
        if let Some(imprint) = imprint {
            attached.history.witness(imprint.looks, &self.local);
        }
        Ok(attached)
    }

    /// Has what is staged of a database that is not there any more go out.
    pub(super) fn queue_rest(&self) -> Result<(), Error> {
        let here = self.local.files()?;
        if here.is_empty() {
            return Ok(());
        }
        if !self.around.views.recall() {
            return Err(Error::Turn);
        }
        self.uploaders.iter().for_each(|uploader| uploader.pause());
        self.local.prepare()?;
        let (remotes, start, holes) = self.look_and_decide(&here)?;
        match start {
            Start::Continue(_) => self.restart_uploads(&remotes, &holes, None, None)?,
            Start::Fresh => {}
            Start::Anchor { reason, .. } => {
                let (db, files) = (self.options.path.display(), here.len());
                tracing::error!(%db, files, reason, "the database is gone, and what was captured of it cannot continue its replica: it stays in the local state");
            }
        }
        Ok(())
    }

    fn restart_uploads(
        &self,
        remotes: &[Option<Remote>],
        holes: &[bool],
        covers: Option<Moment>,
        lineage: Option<u64>,
    ) -> Result<(), Error> {
        for ((uploader, remote), hole) in self.uploaders.iter().zip(remotes).zip(holes) {
            let pending = self.pending(remote.as_ref(), covers)?;
            uploader.restart(remote.as_ref(), pending, *hole, lineage);
        }
        Ok(())
    }

    /// Begins with a whole image, as the first transaction or as the one after `after`.
    fn begin(&self, live: &mut Live, after: Option<Txid>) -> Result<History, Error> {
        self.local.clear()?;
        let txid = after.map_or(Txid::FIRST, Txid::next);
        let lineage = fastrand::u64(1..);
        let plan = ImagePlan { txid, begins: true, lineage, not_before: None, base: None };
        self.image(live, &plan)
    }

    /// Goes on after the last captured file.
    pub(super) fn resume(
        &self,
        live: &mut Live,
        last: &Last,
        imprint: Option<Imprint>,
    ) -> Result<History, Error> {
        let header = &last.header;
        let lineage = last.tag.map_or_else(|| fastrand::u64(1..), |tag| tag.lineage);
        if header.page_size != live.page_size() {
            // Pages of two sizes cannot be merged: a snapshot begins a chain of its own.
            let (txid, not_before) = (header.txids.max.next(), Some(header.timestamp));
            let plan = ImagePlan { txid, begins: true, lineage, not_before, base: None };
            return self.image(live, &plan);
        }
        let sums = last.sums(&self.local);
        let tip = live.tip()?;
        let (position, mut advance) = last.advance(live, &tip)?;
        // A WAL may go on while what it belongs to is another file.
        let witnessed = sums
            .as_ref()
            .is_none_or(|sums| imprint.is_some_and(|imprint| sums.state().looks == imprint.looks));
        if !witnessed && !matches!(advance, Advance::Broken(_)) {
            advance = Advance::Broken("the database file was written to meanwhile".to_string());
        }
        let mut history = History {
            txid: header.txids.max,
            position,
            pages: header.commit,
            timestamp: header.timestamp,
            lineage,
            sums,
            unsynced: Vec::new(),
            fresh: Vec::new(),
            kept: None,
        };
        let broken = match advance {
            Advance::None => None,
            Advance::After(frame) => match history.capture(live, &self.local, &tip, frame) {
                Ok(()) => None,
                Err(error) => Some(discontinuity(error)?),
            },
            Advance::Broken(reason) => Some(reason),
        };
        if let Some(reason) = broken {
            return self.compare(live, &history, &reason);
        }
        if history.sums.is_none() {
            self.build_sums(live, &mut history)?;
            let built = history.sums.as_ref().map(|sums| sums.state().sum.checksum());
            let is_other = |tag: ltx::Tag| built.is_some_and(|built| built != tag.sum);
            if history.txid == header.txids.max && last.tag.is_some_and(is_other) {
                let reason = "the database is not what was captured last";
                history.sums = None;
                return self.compare(live, &history, reason);
            }
        }
        Ok(history)
    }

    /// Builds the page sums of a history that has none, or that another program wrote.
    pub(super) fn build_sums(&self, live: &mut Live, history: &mut History) -> Result<(), Error> {
        let pinned = live.pin_exactly()?;
        match history.position.advance_pinned(&pinned.tip) {
            Advance::None => {}
            Advance::After(frame) => history.capture(live, &self.local, &pinned.tip, frame)?,
            Advance::Broken(reason) => return Err(Error::Discontinuity(reason)),
        }
        let view = live.view(&pinned)?;
        history.sums = Some(image::build_sums(&view, &self.local, history.txid, history.lineage)?);
        Ok(())
    }

    /// What the replica lacks, oldest first, and a snapshot before the file of its transaction:
    /// only with it the replica can be restored. The last one `covers` what was committed before.
    fn pending(
        &self,
        remote: Option<&Remote>,
        covers: Option<Moment>,
    ) -> Result<Vec<Pending>, Error> {
        let uploaded = remote.and_then(Remote::newest_txids).map(|txids| txids.max);
        let mut files = self.local.staged()?;
        files.retain(|file| file.level == Level::SNAPSHOT || Some(file.txids.max) > uploaded);
        files.sort_by_key(|file| (file.txids.max, Reverse(file.level)));
        let since = Instant::now();
        let pending = |file: &Object| Pending {
            level: file.level,
            txids: file.txids,
            created: file.created,
            since,
            covers: None,
        };
        let mut pending: Vec<Pending> = files.iter().map(pending).collect();
        if let Some(last) = pending.last_mut() {
            last.covers = covers;
        }
        Ok(pending)
    }
}
