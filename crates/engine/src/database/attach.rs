//! How a database is attached: where its history goes on, and what it begins with.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ltx::{Level, Txid, TxidRange};
use sqlite::{Live, LiveOptions};
use storage::Object;

use super::{Attached, Database, discontinuity};
use crate::Error;
use crate::capture::History;
use crate::checkpointer::{Checkpointer, Pace};
use crate::image::{self, ImagePlan};
use crate::position::Advance;
use crate::shared::Moment;
use crate::start::{self, Last, Remote, Start};
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
        if std::fs::metadata(path).map_or(true, |meta| meta.len() == 0) {
            return Ok(None);
        }
        self.uploader.pause();
        self.local.prepare()?;
        let here = self.local.files()?;
        let remote = match Remote::read(&*self.options.storage) {
            Ok(remote) => Some(remote),
            Err(error) if here.is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::error!(db = %path.display(), %error, "the replica cannot be read; capturing goes on");
                None
            }
        };
        let (began, start) = (Moment::now(), self.start(&here, remote.as_ref())?);
        if matches!(start, Start::Continue(_)) {
            // What is staged already goes out, whatever becomes of the database.
            self.restart_uploads(remote.as_ref(), began)?;
        }
        let live_options = LiveOptions { busy_timeout: self.options.busy_timeout };
        let mut live = match Live::attach(path, &live_options) {
            Ok(live) => live,
            Err(sqlite::Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let began = Moment::now();
        let mut history = match start {
            Start::Fresh => self.begin(&mut live, None)?,
            Start::Anchor { after, reason } => {
                tracing::warn!(db = %path.display(), reason, "the replica goes on with a whole image");
                self.begin(&mut live, Some(after))?
            }
            Start::Continue(txid) => self.resume(&mut live, &Last::read(&self.local, txid)?)?,
        };
        history.fresh.clear(); // they are among the pending ones
        self.restart_uploads(remote.as_ref(), began)?;
        self.shared.captured(history.txid);
        self.shared.set_state(DatabaseState::Replicating);
        let replica = self.options.storage.url();
        tracing::info!(db = %path.display(), replica, txid = %history.txid, "replicating");
        let interval = Some(self.options.checkpoint_interval).filter(|i| !i.is_zero());
        let now = Instant::now();
        Ok(Some(Attached {
            checkpointer: Checkpointer::new(self.options.checkpoint_pages, interval, now),
            lost: false,
            last_tip: live.tip()?,
            pace: Pace::Slow,
            last_look: now,
            next_look: now,
            awaiting: None,
            next_sync: now,
            next_placement: now + self.options.monitor_interval,
            live,
            history,
        }))
    }

    /// Where the history goes on: as the names say, unless the files behind them say otherwise.
    fn start(&self, here: &[Object], remote: Option<&Remote>) -> Result<Start, Error> {
        let txids: Vec<Txid> = here.iter().map(|object| object.txids.max).collect();
        let Some(remote) = remote else {
            // Somebody looked: there are local files. The replica is looked at when it answers.
            return Ok(txids.last().map_or(Start::Fresh, |last| Start::Continue(*last)));
        };
        let start = start::decide(&txids, remote.last);
        if !matches!(start, Start::Continue(_)) {
            return Ok(start);
        }
        let damage = self.damaged(&txids, remote)?;
        let Some(after) = remote.last else {
            return Ok(damage.map_or(start, |_| Start::Fresh));
        };
        let anchor = |reason| Ok(Start::Anchor { after, reason });
        if let Some(damage) = damage {
            return anchor(damage);
        }
        if let Some(defect) = &remote.defect {
            return anchor(format!("the replica cannot be restored: {defect}"));
        }
        if start::replica_differs(&self.local, &*self.options.storage, remote)? {
            let reason =
                "it holds another history than the local state: is a second program writing to it?";
            return anchor(reason.to_string());
        }
        Ok(start)
    }

    /// What is wrong with the local files that the replica lacks, or with the last one.
    fn damaged(&self, here: &[Txid], remote: &Remote) -> Result<Option<String>, Error> {
        let lacking = here.iter().filter(|txid| Some(**txid) > remote.last);
        for txid in lacking.chain(here.last()) {
            let name = (Level::L0, TxidRange::single(*txid));
            match self.local.verify(name, |_, _| ()) {
                Ok(_) => {}
                Err(error @ Error::Damaged { .. }) => return Ok(Some(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn restart_uploads(&self, remote: Option<&Remote>, as_of: Moment) -> Result<(), Error> {
        let pending = self.pending(remote, as_of)?;
        self.uploader.restart(remote, pending);
        self.around.uploads.wake(self.around.upload_job);
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
    fn resume(&self, live: &mut Live, last: &Last) -> Result<History, Error> {
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
        let (position, advance) = last.advance(live, &tip)?;
        let mut history = History {
            txid: header.txids.max,
            position,
            pages: header.commit,
            timestamp: header.timestamp,
            lineage,
            sums,
            unsynced: Vec::new(),
            fresh: Vec::new(),
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
        }
        Ok(history)
    }

    /// Builds the page sums of a history that another program wrote.
    fn build_sums(&self, live: &mut Live, history: &mut History) -> Result<(), Error> {
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
    /// only with it the replica can be restored.
    fn pending(&self, remote: Option<&Remote>, as_of: Moment) -> Result<Vec<Pending>, Error> {
        let uploaded = remote.and_then(Remote::newest_txid);
        let mut files = self.local.staged()?;
        files.retain(|file| file.level == Level::SNAPSHOT || Some(file.txids.max) > uploaded);
        files.sort_by_key(|file| (file.txids.max, Reverse(file.level)));
        let pending = |file: &Object| Pending {
            level: file.level,
            txids: file.txids,
            created: file.created,
            as_of,
        };
        Ok(files.iter().map(pending).collect())
    }
}
