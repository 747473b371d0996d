//! A local copy of a database, kept at the newest state of its replica.
//!
//! What is new since the copy's transaction is applied as one transaction of SQLite. Where the
//! replica has no unbroken way from there to its newest state, or another history, the newest
//! state is restored beside the copy, and the pages that differ are written.

mod claim;
mod copy;
mod history;
mod source;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ltx::{Checksum, Header, Level, Pgno, RollingSum, Tag, Timestamp, Txid, page_sum};
use storage::Object;

use super::error::name;
use super::output::{Output, resolve};
use super::plan::{Onward, onward};
use super::{Error, Found, Outcome, Progress, Request, Target, fill, find_plan, list, run_any};
use claim::{Claim, Proof};
use copy::{Copy, Pages, Written};
use history::{tag, tag_at};
use source::{Seen, Source};

/// How often all levels are looked at, and not only the one where new files appear.
const FULL_LOOK: Duration = Duration::from_secs(60);
/// A listing that was made while files came and went may show a way that is broken.
const LOOKS_BEFORE_WHOLE: u32 = 2;

/// A copy that follows its replica.
#[derive(Debug)]
pub struct Follower {
    /// One for each replica; the copy follows the one that answers.
    requests: Vec<Request>,
    current: usize,
    path: PathBuf,
    claim: Claim,
    copy: Option<Copy>,
    /// What the copy holds; unknown if an attempt to make it was cut off.
    txid: Option<Txid>,
    lineage: Option<u64>,
    /// The sum of its pages, and that of page 1, as the replica has them, if they are known.
    sum: Option<Checksum>,
    first: Option<Checksum>,
    /// What ended at its transaction when the replica was listed last.
    seen: Option<Object>,
    /// When the copy was last known to hold everything.
    current_at: Instant,
    looked_at_all: Option<Instant>,
    broken_looks: u32,
}

/// A step of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// What the copy holds now.
    pub txid: Txid,
    /// When that was captured.
    pub timestamp: Timestamp,
    /// Files that were applied.
    pub files: usize,
    /// Pages that were written.
    pub pages: u64,
    /// Whether the newest state was restored as a whole, and compared.
    pub whole: bool,
}

/// What came of a look.
enum Step {
    Advanced(Advance),
    /// There is nothing new.
    Stays,
    /// What is new cannot be had yet.
    Waits,
}

/// Makes a copy an ordinary database again. Says which transaction it holds.
pub fn promote(path: &Path) -> Result<Txid, Error> {
    let path = resolve(path)?;
    if !is_database(&path)? || !claim::is_copy(&path) {
        return Err(Error::NoCopy { path });
    }
    let claim = Claim::take(&path)?;
    let Some(txid) = claim.txid()? else { return Err(Error::Unfinished { path }) };
    Copy::open(&path)?.settle()?;
    claim.release()?;
    Ok(txid)
}

impl Follower {
    /// Goes on with the copy at the requests' output, or makes it. The requests differ in their
    /// storage only. If the copy was made, what was restored is told, and from which of them.
    pub fn open(
        requests: Vec<Request>,
        progress: &dyn Progress,
    ) -> Result<(Follower, Option<(usize, Outcome)>), Error> {
        let [first, ..] = &requests[..] else {
            return Err(Error::NoBackup { replica: String::new() });
        };
        let path = resolve(&first.output)?;
        let there = is_database(&path)?;
        if there && !claim::is_copy(&path) && !first.force {
            return Err(Error::Exists { path });
        }
        let claim = Claim::take_in(&path)?;
        // Only now nobody else changes what it is.
        let resumes = is_database(&path)? && claim.is_copy();
        if is_database(&path)? && !resumes && !first.force {
            claim.release()?;
            return Err(Error::Exists { path });
        }
        let made = match resumes {
            true => None,
            false => match make(&requests, &claim, progress) {
                Ok(made) => Some(made),
                Err(error) => {
                    claim.release()?;
                    return Err(error);
                }
            },
        };
        let txid = match &made {
            Some((_, outcome)) => outcome.txid,
            None => claim.txid()?,
        };
        let lineage = claim.lineage();
        let current = made.as_ref().map_or(0, |(index, _)| *index);
        let first = match &made {
            // Before SQLite opens it.
            Some((_, outcome)) => first_page(&path, outcome)?,
            None => None,
        };
        let mut follower = Follower {
            requests,
            current,
            copy: None,
            claim,
            txid,
            lineage,
            sum: None,
            first,
            seen: None,
            path,
            current_at: Instant::now(),
            looked_at_all: None,
            broken_looks: 0,
        };
        // Before it is said to be there: what others write to it from now on is seen.
        follower.copy()?;
        match (&made, txid) {
            (Some((index, _)), Some(txid)) => {
                let tag = tag_at(&*follower.requests[*index].storage, txid);
                follower.reached(txid, tag)?;
            }
            _ => follower.prove()?,
        }
        Ok((follower, made))
    }

    /// Whether the copy is what it was left as. Nobody watched what was written to it since.
    fn prove(&mut self) -> Result<(), Error> {
        let Some(txid) = self.txid else { return Ok(()) };
        let Some(proof) = self.claim.proof(txid) else { return Ok(()) };
        if self.copy()?.sum()? == proof.sum {
            let mut sum = RollingSum::from_checksum(proof.sum);
            sum.remove(self.copy()?.first_sum()?);
            sum.add(proof.first);
            (self.sum, self.first) = (Some(sum.checksum()), Some(proof.first));
        } else if self.claim.intended() == Some(txid) {
            let db = self.path.display();
            tracing::error!(%db, %txid, "the copy is not what it was left as: that is undone");
            self.txid = None;
            self.claim.forget()?;
        } // else an update may have been cut off after all of it was there: it is done again
        Ok(())
    }

    /// What the copy holds, if that is known.
    pub fn txid(&self) -> Option<Txid> {
        self.txid
    }

    /// For how long the copy is not known to hold everything that the replica holds.
    pub fn lag(&self) -> Duration {
        self.current_at.elapsed()
    }

    /// Looks what is new, and applies it. After an error the copy is as it was, and another
    /// replica is asked the next time.
    pub fn advance(&mut self, progress: &dyn Progress) -> Result<Option<Advance>, Error> {
        let looked = Instant::now();
        let step = self.step(progress);
        match &step {
            Ok(Step::Waits) => {}
            Ok(Step::Stays | Step::Advanced(_)) => self.current_at = looked,
            Err(_) => {
                self.current = (self.current + 1) % self.requests.len();
                (self.looked_at_all, self.seen) = (None, None);
            }
        }
        step.map(|step| match step {
            Step::Advanced(advance) => Some(advance),
            Step::Stays | Step::Waits => None,
        })
    }

    fn step(&mut self, progress: &dyn Progress) -> Result<Step, Error> {
        let db = self.path.display().to_string();
        if self.copy()?.was_written_to()? {
            tracing::error!(db, "somebody has written to the copy: that is undone");
            self.txid = None;
            self.claim.forget()?;
        }
        let Some(txid) = self.txid else { return self.apply_whole(progress).map(Step::Advanced) };
        let onward = match self.look(txid) {
            Err(why @ Error::OtherHistory { .. }) => return self.go_over(&why, progress),
            // Compacted and deleted since the listing.
            Err(error) if error.is_vanished_object() => {
                self.looked_at_all = None;
                return Ok(Step::Waits);
            }
            look => look?,
        };
        if onward != Onward::Broken {
            self.broken_looks = 0;
        }
        // A crash may have left the copy further than it claims: from another replica, which lags,
        // it must not be led to a state between.
        let floor = self.claim.intended();
        let reaches = |files: &[Object]| files.last().map(|last| last.txids.max) >= floor;
        match onward {
            Onward::Nothing => Ok(Step::Stays),
            Onward::Files(files) if !reaches(&files) && !self.is_other()? => Ok(Step::Waits),
            Onward::Files(files) => match self.apply(&files, progress) {
                Err(why @ (Error::OtherHistory { .. } | Error::Unproven { .. })) => {
                    self.go_over(&why, progress)
                }
                Err(Error::PageSizeChange { .. }) => self.replace(progress).map(Step::Advanced),
                // Compacted and deleted since the listing.
                Err(error) if error.is_vanished_object() => {
                    self.looked_at_all = None;
                    Ok(Step::Waits)
                }
                result => result.map(Step::Advanced),
            },
            Onward::Ahead if !self.is_other()? => Ok(Step::Waits),
            Onward::Ahead | Onward::Broken => {
                self.broken_looks += 1;
                if self.broken_looks < LOOKS_BEFORE_WHOLE {
                    return Ok(Step::Waits);
                }
                tracing::warn!(db, %txid, "the replica has no way on from here: its newest state is restored");
                self.apply_whole(progress).map(Step::Advanced)
            }
        }
    }

    /// Leaves the way over single files.
    fn go_over(&mut self, why: &Error, progress: &dyn Progress) -> Result<Step, Error> {
        let db = self.path.display();
        tracing::warn!(%db, %why, "the replica's newest state is restored");
        self.apply_whole(progress).map(Step::Advanced)
    }

    /// The way from a transaction to the newest one.
    fn look(&mut self, txid: Txid) -> Result<Onward, Error> {
        let storage = self.requests[self.current].storage.clone();
        let full = self.looked_at_all.is_none_or(|looked| looked.elapsed() >= FULL_LOOK);
        if !full {
            let fresh = storage.list(Level::L0, self.list_from(txid))?;
            self.expect_same(&fresh, txid)?;
            let here = match fresh.is_empty() {
                true => Onward::Nothing,
                false => onward(&fresh, txid),
            };
            let is_known = matches!(here, Onward::Nothing | Onward::Files(_));
            if is_known && !self.lost_sight(&fresh, txid) {
                return Ok(here);
            }
        }
        let all = list(&*storage)?;
        self.expect_same(&all, txid)?;
        let onward = onward(&all, txid);
        let settled = matches!(onward, Onward::Nothing | Onward::Files(_));
        self.looked_at_all = settled.then(Instant::now);
        Ok(onward)
    }

    /// Applies files in one transaction: each page once, from the newest file that holds it.
    fn apply(&mut self, files: &[Object], progress: &dyn Progress) -> Result<Advance, Error> {
        let storage = self.requests[self.current].storage.clone();
        let (txid, known) = (self.txid, self.lineage);
        let base = self.sum.zip(self.first);
        let last = files.last().ok_or(Error::Cancelled)?;
        self.claim.intend(last.txids.max, known)?;
        let copy = self.copy()?;
        let page_size = copy.page_size();
        let change = |pages: &mut Pages<'_>| {
            let (mut seen, mut newest) = (Seen::default(), None);
            for file in files.iter().rev() {
                let mut source = Source { storage: &*storage, file, progress };
                let header = source.apply(pages, page_size, newest.as_ref(), &mut seen)?;
                let lineage = header.tag().map(|tag| tag.lineage);
                if known.zip(lineage).is_some_and(|(known, found)| known != found) {
                    return Err(Error::OtherHistory { object: name(&*storage, file) });
                }
                newest.get_or_insert(header);
            }
            let newest: Header = newest.ok_or(Error::Cancelled)?;
            Ok((newest.commit, newest))
        };
        let sum = |written: &Written| base.map(|(sum, first)| written.sum(sum, first));
        let (written, newest) = copy.change(change, |written, newest| match newest.tag() {
            Some(tag) if sum(written) != Some(tag.sum) => {
                Err(Error::Unproven { object: name(&*storage, last) })
            }
            _ => Ok(()),
        })?;
        let pages = written.pages;
        (self.sum, self.first) = (sum(&written), written.first.or(self.first));
        self.seen = Some(*last);
        self.reached(newest.txids.max, newest.tag())?;
        tracing::debug!(from = ?txid, to = %newest.txids.max, files = files.len(), pages, "followed");
        let (txid, timestamp) = (newest.txids.max, newest.timestamp);
        Ok(Advance { txid, timestamp, files: files.len(), pages, whole: false })
    }

    /// Restores the newest state beside the copy, and writes the pages that differ.
    fn apply_whole(&mut self, progress: &dyn Progress) -> Result<Advance, Error> {
        let request = self.requests[self.current].clone();
        let plan = find_plan(&*request.storage, Target::Latest)?;
        let (tag, last) = (tag(&*request.storage, plan.last())?, *plan.last());
        let (files, txid) = (plan.files().len(), plan.txid());
        let temp = Output::beside(&self.path).create_temp()?;
        let restored = fill(&request, &Found::Ltx(plan), &temp, progress)?;
        let lineage = tag.map(|tag| tag.lineage);
        let same_history = lineage.is_some() && lineage == self.lineage;
        let copy = self.copy()?;
        let page_size = copy.page_size();
        if u64::from(restored.pages) * page_size.bytes() as u64 != restored.bytes {
            drop(temp);
            return self.replace(progress);
        }
        self.claim.forget()?;
        self.txid = None;
        let change = |pages: &mut Pages<'_>| {
            let mut page = vec![0; page_size.bytes()];
            let all = (1..=restored.pages).filter_map(Pgno::new);
            for pgno in all.filter(|pgno| *pgno != page_size.lock_page()) {
                if progress.cancelled() {
                    return Err(Error::Cancelled);
                }
                let offset = u64::from(pgno.get() - 1) * page.len() as u64;
                let read = temp.file().read_exact_at(&mut page, offset);
                read.map_err(|error| Error::output(temp.path(), error))?;
                if pgno.get() == 1 || !pages.holds(pgno, &page)? {
                    pages.put(pgno, &page)?;
                }
            }
            if !same_history {
                pages.forget_schema()?;
            }
            Ok((restored.pages, ()))
        };
        let (written, ()) = self.copy()?.change(change, |_, ()| Ok(()))?;
        (self.lineage, self.sum) = (None, None);
        (self.first, self.seen) = (written.first, Some(last));
        self.reached(txid, tag)?;
        let (pages, timestamp) = (written.pages, restored.timestamp);
        Ok(Advance { txid, timestamp, files, pages, whole: true })
    }

    /// The database has another page size now: only another file can hold it.
    fn replace(&mut self, progress: &dyn Progress) -> Result<Advance, Error> {
        self.copy = None;
        let mut request = self.requests[self.current].clone();
        request.force = true;
        request.output.clone_from(&self.path);
        self.claim.forget()?;
        self.txid = None;
        let outcome = super::run(&request, progress)?;
        let Some(txid) = outcome.txid else {
            return Err(Error::NoCopy { path: self.path.clone() });
        };
        (self.lineage, self.sum, self.seen) = (None, None, None);
        self.first = first_page(&self.path, &outcome)?;
        self.reached(txid, tag_at(&*request.storage, txid))?;
        let (timestamp, files) = (outcome.timestamp, outcome.files);
        Ok(Advance { txid, timestamp, files, pages: outcome.pages.into(), whole: true })
    }

    /// A file that does not say its history goes on with the one before.
    fn reached(&mut self, txid: Txid, tag: Option<Tag>) -> Result<(), Error> {
        let lineage = tag.map(|tag| tag.lineage).or(self.lineage);
        let sum = tag.map(|tag| tag.sum).or(self.sum);
        let proof = match sum.zip(self.first) {
            None => None,
            Some((sum, first)) => {
                let mut sum = RollingSum::from_checksum(sum);
                sum.remove(first);
                sum.add(self.copy()?.first_sum()?);
                Some(Proof { sum: sum.checksum(), first })
            }
        };
        self.claim.holds(txid, lineage, proof)?;
        (self.txid, self.lineage, self.sum) = (Some(txid), lineage, sum);
        Ok(())
    }

    fn copy(&mut self) -> Result<&mut Copy, Error> {
        match &mut self.copy {
            Some(copy) => Ok(copy),
            none => Ok(none.insert(Copy::open(&self.path)?)),
        }
    }
}

/// Makes the copy. Until it is there whole, `<db>-follow` alone stands for it.
fn make(
    requests: &[Request],
    claim: &Claim,
    progress: &dyn Progress,
) -> Result<(usize, Outcome), Error> {
    claim.begin()?;
    let (index, outcome) = run_any(requests, progress)?;
    match outcome.txid {
        Some(_) => Ok((index, outcome)),
        None => Err(Error::NotFollowable { replica: requests[index].storage.url() }),
    }
}

/// The sum of page 1 of a file that was just restored.
fn first_page(path: &Path, outcome: &Outcome) -> Result<Option<Checksum>, Error> {
    let Some(size) = outcome.bytes.checked_div(outcome.pages.into()) else { return Ok(None) };
    let mut page = vec![0; usize::try_from(size).unwrap_or_default()];
    let read = fs::File::open(path).and_then(|file| file.read_exact_at(&mut page, 0));
    read.map_err(|error| Error::output(path, error))?;
    Ok(Some(page_sum(Pgno::FIRST, &page)))
}

fn is_database(path: &Path) -> Result<bool, Error> {
    match fs::metadata(path) {
        Ok(file) => Ok(file.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::output(path, error)),
    }
}
