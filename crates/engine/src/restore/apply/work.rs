//! What the worker threads do.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use ltx::{FileCheck, FramesSum, Header, RollingSum, page_sum};
use storage::Object;

use super::claims::Bits;
use super::files::Opened;
use super::flush::Written;
use super::writer::PageWriter;
use super::{Apply, Error};

/// A piece of work.
pub(super) enum Job {
    /// Find out where the pages of a file are.
    Open { object: Object, reply: Sender<Result<Opened, Error>> },
    /// Decode some frames and write the claimed pages.
    Decode(Chunk),
}

/// Consecutive frames of a file.
pub(super) struct Chunk {
    pub(super) file: Arc<FileWork>,
    /// Its place among the chunks of the file.
    pub(super) number: usize,
    /// Its frames, by their places in the index.
    pub(super) entries: Range<usize>,
    /// Those of its frames, counted from the first, whose pages are to be written.
    pub(super) claimed: Bits,
}

/// A file while its chunks are worked on.
pub(super) struct FileWork {
    /// Its place in the plan, the newest file being 0.
    pub(super) number: usize,
    pub(super) opened: Opened,
    sums: Mutex<Vec<Option<FramesSum>>>,
    pending: AtomicUsize,
}

impl FileWork {
    pub(super) fn new(number: usize, opened: Opened, chunks: usize) -> FileWork {
        let sums = Mutex::new(vec![None; chunks]);
        FileWork { number, opened, sums, pending: AtomicUsize::new(chunks) }
    }

    /// Notes that a chunk is done; with the last one, the file's checksum must be right.
    fn done(&self, chunk: usize, sum: FramesSum) -> Result<(), ltx::Error> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums[chunk] = Some(sum);
        if self.pending.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        self.check(sums.iter().flatten())
    }

    /// Compares the sums of all frames, in file order, with the trailer.
    pub(super) fn check<'a>(
        &self,
        sums: impl Iterator<Item = &'a FramesSum>,
    ) -> Result<(), ltx::Error> {
        let mut check = FileCheck::new(&self.opened.header, &self.opened.index)?;
        sums.for_each(|sum| check.add(sum));
        check.finish()
    }
}

/// What went wrong, and with which file of the plan (the newest being 0), if with one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) file: Option<usize>,
    pub(super) error: Error,
}

impl Failure {
    pub(super) fn of(error: Error) -> Failure {
        Failure { file: None, error }
    }
}

/// What all threads of an attempt see.
pub(super) struct Shared<'a> {
    pub(super) apply: &'a Apply<'a>,
    pub(super) newest: &'a Header,
    stopped: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(apply: &'a Apply<'a>, newest: &'a Header) -> Shared<'a> {
        Shared { apply, newest, stopped: AtomicBool::new(false), failure: Mutex::new(None) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Stops everybody. The first failure counts.
    pub(super) fn fail(&self, failure: Failure) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn result<T>(&self, result: T) -> Result<T, Failure> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(result), Err)
    }

    /// A new writer of pages.
    pub(super) fn writer(&self) -> PageWriter<'a> {
        PageWriter::new(self.apply.out, self.newest.page_size)
    }
}

/// One thread's buffers.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    frames: Vec<u8>,
    writer: PageWriter<'a>,
    written: Arc<Written>,
    /// Of the pages that this worker wrote.
    sum: RollingSum,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, written: Arc<Written>) -> Worker<'a> {
        let (frames, writer) = (Vec::new(), shared.writer());
        Worker { shared, frames, writer, written, sum: RollingSum::EMPTY }
    }

    /// Works until no more work can come. After a failure the rest of it is let go.
    pub(super) fn run(mut self, queue: &Receiver<Job>) -> RollingSum {
        for job in queue {
            if self.shared.is_stopped() {
                continue;
            }
            match job {
                Job::Open { object, reply } => {
                    // Nobody waits for the reply after a failure.
                    let _ = reply.send(Opened::open(self.shared.apply.storage, &object));
                }
                Job::Decode(chunk) => {
                    if let Err(error) = self.decode(&chunk) {
                        self.shared.fail(Failure { file: Some(chunk.file.number), error });
                    }
                }
            }
        }
        self.sum
    }

    fn decode(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let apply = self.shared.apply;
        let opened = &chunk.file.opened;
        let entries = &opened.index.entries()[chunk.entries.clone()];
        let bytes = opened.frames(apply.storage, entries, &mut self.frames)?;
        let (writer, sum) = (&mut self.writer, &mut self.sum);
        let is_summed = self.shared.newest.tag().is_some();
        let mut frame = 0;
        // Frames that are not handed out lie beyond the database's end, so they come last.
        let decoded = ltx::decode_frames(&opened.header, bytes, entries, |pgno, page| {
            if chunk.claimed.contains(frame) {
                writer.push(pgno, page)?;
                if is_summed {
                    sum.add(page_sum(pgno, page));
                }
            }
            frame += 1;
            Ok::<(), Trouble>(())
        });
        decoded
            .and_then(|sum| {
                writer.flush()?;
                Ok(chunk.file.done(chunk.number, sum)?)
            })
            .map_err(|trouble| match trouble {
                Trouble::Frames(reason) => Error::damaged(apply.storage, &opened.object, reason),
                Trouble::Output(error) => Error::output(apply.path, error),
            })?;
        self.written.add(bytes.len() as u64);
        apply.progress.read(bytes.len() as u64);
        Ok(())
    }
}

/// Either side of decoding may fail.
enum Trouble {
    Frames(ltx::Error),
    Output(io::Error),
}

impl From<ltx::Error> for Trouble {
    fn from(error: ltx::Error) -> Trouble {
        Trouble::Frames(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}
