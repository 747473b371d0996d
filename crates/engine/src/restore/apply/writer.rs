//! Writing pages, neighbours together.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ltx::{PageSize, Pgno};

/// Bytes gathered before a write.
const RUN: usize = 256 << 10;

/// Gathers pages that follow each other and writes them at once.
#[derive(Debug)]
pub(super) struct PageWriter<'a> {
    out: &'a File,
    page_size: PageSize,
    run: Vec<u8>,
    /// Where the run begins in the file.
    offset: u64,
}

impl<'a> PageWriter<'a> {
    pub(super) fn new(out: &'a File, page_size: PageSize) -> PageWriter<'a> {
        PageWriter { out, page_size, run: Vec::with_capacity(RUN), offset: 0 }
    }

    /// Takes the next page. One without content stays a hole in the file, which reads the same.
    pub(super) fn push(&mut self, pgno: Pgno, page: &[u8]) -> io::Result<()> {
        if page.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let offset = pgno.offset(self.page_size);
        let follows = offset == self.offset + self.run.len() as u64;
        if !follows || self.run.len() + page.len() > RUN {
            self.flush()?;
            self.offset = offset;
        }
        self.run.extend_from_slice(page);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all_at(&self.run, self.offset)?;
        self.run.clear();
        Ok(())
    }
}
