//! Walking the files from the newest to the oldest, claiming pages and handing out work.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use ltx::{Decoder, PageEntry, RollingSum, page_sum};
use storage::Object;

use super::claims::{Bits, Claims};
use super::files::{Opened, SMALL};
use super::work::{Chunk, Failure, FileWork, Job, Shared};
use crate::restore::Error;

/// Bytes of frames that make one piece of work.
const CHUNK: u64 = 1 << 20;

/// The one thread that sees the files in order.
pub(super) struct Feed<'a> {
    shared: &'a Shared<'a>,
    jobs: Sender<Job>,
    sequential: &'a BTreeSet<usize>,
    /// Newest first; those before `next` are being opened.
    files: Vec<&'a Object>,
    next: usize,
    opening: VecDeque<Opening>,
    most_opening: usize,
    /// Of the pages that this thread wrote itself.
    sum: RollingSum,
}

/// A file that the feed will come to.
enum Opening {
    ByRanges(Receiver<Result<Opened, Error>>),
    Sequential,
}

/// A failure is noted already, or all work is done.
struct Stopped;

impl<'a> Feed<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        jobs: Sender<Job>,
        most_opening: usize,
        sequential: &'a BTreeSet<usize>,
    ) -> Feed<'a> {
        let files = shared.apply.plan.files().iter().rev().collect();
        let (opening, sum) = (VecDeque::new(), RollingSum::EMPTY);
        Feed { shared, jobs, sequential, files, next: 0, opening, most_opening, sum }
    }

    /// Feeds all files, or until something fails. Returns the sum of the pages written here.
    pub(super) fn run(mut self, claims: &mut Claims) -> RollingSum {
        for number in 0..self.files.len() {
            match self.feed(number, claims) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.shared.fail(Failure { file: Some(number), error });
                    break;
                }
                Err(Stopped) => break,
            }
        }
        self.sum
    }

    fn feed(&mut self, number: usize, claims: &mut Claims) -> Result<Result<(), Error>, Stopped> {
        self.open_ahead()?;
        match self.opening.pop_front() {
            Some(Opening::ByRanges(reply)) => match reply.recv() {
                Ok(Ok(opened)) => self.cut(number, opened, claims),
                Ok(Err(error)) => Ok(Err(error)),
                Err(_) => Err(Stopped),
            },
            Some(Opening::Sequential) => Ok(self.decode(self.files[number], claims)),
            None => Err(Stopped),
        }
    }

    /// Has some files opened before their turn, so that small files do not wait for each other.
    /// The index of a large file takes memory: it is read only when it is next.
    fn open_ahead(&mut self) -> Result<(), Stopped> {
        while self.opening.len() < self.most_opening && self.next < self.files.len() {
            let object = *self.files[self.next];
            if object.size > SMALL && !self.opening.is_empty() {
                return Ok(());
            }
            if self.sequential.contains(&self.next) {
                self.opening.push_back(Opening::Sequential);
            } else {
                let (reply, opened) = bounded(1);
                self.send(Job::Open { object, reply })?;
                self.opening.push_back(Opening::ByRanges(opened));
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Claims the pages of a file and cuts it into chunks.
    fn cut(
        &mut self,
        number: usize,
        opened: Opened,
        claims: &mut Claims,
    ) -> Result<Result<(), Error>, Stopped> {
        let apply = self.shared.apply;
        if let Err(error) = apply.check_header(&opened.header, self.shared.newest, &opened.object) {
            return Ok(Err(error));
        }
        let entries = opened.index.entries();
        let commit = opened.header.commit;
        let frames = entries.iter().map(|entry| u64::from(entry.size)).sum::<u64>();
        apply.progress.read(opened.object.size - frames);

        let ranges = chunks(entries);
        let file = Arc::new(FileWork::new(number, opened, ranges.len()));
        if ranges.is_empty() {
            let whole = file.check(std::iter::empty());
            return Ok(whole.map_err(|e| Error::damaged(apply.storage, &file.opened.object, e)));
        }
        for (number, range) in ranges.into_iter().enumerate() {
            let mut claimed = Bits::new(range.len());
            for (frame, entry) in file.opened.index.entries()[range.clone()].iter().enumerate() {
                if entry.pgno.get() <= commit && claims.claim(entry.pgno) {
                    claimed.insert(frame);
                }
            }
            let chunk = Chunk { file: Arc::clone(&file), number, entries: range, claimed };
            self.send(Job::Decode(chunk))?;
        }
        Ok(Ok(()))
    }

    fn send(&self, job: Job) -> Result<(), Stopped> {
        if self.shared.apply.progress.cancelled() {
            self.shared.fail(Failure::of(Error::Cancelled));
        }
        if self.shared.is_stopped() {
            return Err(Stopped);
        }
        self.jobs.send(job).map_err(|_| Stopped)
    }

    /// Decodes a file from start to end.
    fn decode(&mut self, object: &Object, claims: &mut Claims) -> Result<(), Error> {
        let apply = self.shared.apply;
        let damaged = |reason| Error::damaged(apply.storage, object, reason);
        let output = |error| Error::output(apply.path, error);
        let reader = apply.storage.open(object.level, object.txids, 0)?;
        let mut decoder = Decoder::new(reader).map_err(damaged)?;
        apply.check_header(decoder.header(), self.shared.newest, object)?;

        let mut writer = self.shared.writer();
        let mut page = vec![0; decoder.header().page_size.bytes()];
        while let Some(pgno) = decoder.next_page(&mut page).map_err(damaged)? {
            if apply.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if claims.claim(pgno) {
                writer.push(pgno, &page).map_err(output)?;
                self.sum.add(page_sum(pgno, &page));
            }
        }
        writer.flush().map_err(output)?;
        decoder.finish().map_err(damaged)?;
        apply.progress.read(object.size);
        Ok(())
    }
}

/// Cuts frames into runs of about [`CHUNK`] bytes.
fn chunks(entries: &[PageEntry]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (number, entry) in entries.iter().enumerate() {
        bytes += u64::from(entry.size);
        if bytes >= CHUNK || number + 1 == entries.len() {
            ranges.push(start..number + 1);
            (start, bytes) = (number + 1, 0);
        }
    }
    ranges
}
