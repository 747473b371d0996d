//! Carrying out a plan: every page once, from the newest file that holds it.
//!
//! One thread walks the files from the newest to the oldest and claims pages from their indexes;
//! workers read ranges of frames, decode all of them (the file checksum covers all) and write
//! those that were claimed. A file that cannot be read so, since its index does not describe its
//! frames, is decoded from start to end instead.

mod claims;
mod feed;
mod files;
mod flush;
mod work;
mod writer;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use ltx::{Header, RollingSum, Timestamp};
use storage::{Object, Storage};

use super::error::name;
use super::{Error, Plan, Progress, Step};
use claims::Claims;
use feed::Feed;
use flush::Written;
use work::{Failure, Shared, Worker};

/// Bytes of the smallest possible page frame with its index entry: no file holds more pages.
const MIN_FRAME: u64 = 16;

/// A plan, and the file that its pages go to.
pub(super) struct Apply<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) plan: &'a Plan,
    pub(super) out: &'a File,
    /// Where `out` is, for messages.
    pub(super) path: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) timestamp: Timestamp,
    pub(super) pages: u32,
    pub(super) bytes: u64,
    pub(super) proven: bool,
}

impl Apply<'_> {
    pub(super) fn run(&self, threads: usize) -> Result<Restored, Error> {
        let newest = files::read_header(self.storage, self.plan.last())?;
        self.check_header(&newest, &newest, self.plan.last())?;
        if u64::from(newest.commit) > self.plan.size() / MIN_FRAME + 1 {
            return Err(self.missing_page(&newest, 1));
        }
        let sum = self.apply_all(&newest, threads)?;
        let proven = match newest.tag() {
            Some(tag) if tag.sum != sum.checksum() => {
                return Err(Error::Unproven { object: self.name(self.plan.last()) });
            }
            tag => tag.is_some(),
        };
        Ok(Restored {
            timestamp: newest.timestamp,
            pages: newest.commit,
            bytes: size_of(&newest),
            proven,
        })
    }

    /// Tries all files by ranges; each that turns out not to be readable so is read from start to
    /// end in the next attempt. What that says about it is final.
    fn apply_all(&self, newest: &Header, threads: usize) -> Result<RollingSum, Error> {
        let mut sequential = BTreeSet::new();
        loop {
            self.progress.started(self.plan);
            self.progress.step(Step::Restoring);
            match self.attempt(newest, threads, &sequential) {
                Err(Failure { file: Some(file), error: Error::Damaged { .. } })
                    if sequential.insert(file) => {}
                result => return result.map_err(|failure| failure.error),
            }
        }
    }

    fn attempt(
        &self,
        newest: &Header,
        threads: usize,
        sequential: &BTreeSet<usize>,
    ) -> Result<RollingSum, Failure> {
        let fresh = self.out.set_len(0).and_then(|()| self.out.set_len(size_of(newest)));
        fresh.map_err(|error| Failure::of(Error::output(self.path, error)))?;
        let shared = Shared::new(self, newest);
        let mut claims = Claims::new(newest);
        let sum = thread::scope(|scope| {
            let (jobs, queue) = crossbeam_channel::bounded(2 * threads);
            let (written, ticks) = Written::new();
            let written = Arc::new(written);
            let shared = &shared;
            scope.spawn(move || flush::run(shared, &ticks));
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let (queue, written) = (queue.clone(), Arc::clone(&written));
                    scope.spawn(move || Worker::new(shared, written).run(&queue))
                })
                .collect();
            drop(written);
            drop(queue);
            let mut sum = Feed::new(shared, jobs, 2 * threads, sequential).run(&mut claims);
            for worker in workers {
                match worker.join() {
                    Ok(part) => sum.add(part.checksum()),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            shared.result(sum)
        })?;
        match claims.first_missing() {
            Some(first) => Err(Failure::of(self.missing_page(newest, first))),
            None => Ok(sum),
        }
    }

    fn check_header(&self, header: &Header, newest: &Header, file: &Object) -> Result<(), Error> {
        let object = || self.name(file);
        if header.txids != file.txids {
            return Err(Error::Misnamed { object: object(), holds: header.txids });
        }
        if header.page_size != newest.page_size {
            let (found, newest) = (header.page_size, newest.page_size);
            return Err(Error::PageSizeChange { object: object(), found, newest });
        }
        Ok(())
    }

    fn missing_page(&self, newest: &Header, first: u32) -> Error {
        let object = self.name(self.plan.last());
        Error::MissingPages { object, pages: newest.commit, first }
    }

    fn name(&self, file: &Object) -> String {
        name(self.storage, file)
    }
}

/// Whether a file begins and ends as one of its name does, by ranged reads.
pub(crate) fn check_ends(storage: &dyn Storage, file: &Object) -> Result<(), Error> {
    let header = files::Opened::open(storage, file)?.header;
    match header.txids == file.txids {
        true => Ok(()),
        false => Err(Error::Misnamed { object: name(storage, file), holds: header.txids }),
    }
}

/// The size of the database in bytes.
fn size_of(newest: &Header) -> u64 {
    u64::from(newest.commit) * newest.page_size.bytes() as u64
}
