//! A local copy, written to by SQLite itself.
//!
//! SQLite's `sqlite_dbpage` takes whole pages inside of an ordinary transaction in WAL mode. So a
//! reader sees the state before or the one after, never waits and is never waited for, and a
//! process that is killed half way leaves what the next one rolls back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ltx::{Checksum, PageSize, Pgno, RollingSum, page_sum};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Statement, TransactionBehavior};

use crate::restore::Error;

/// How long to wait for somebody who writes to the copy, or switches its mode.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the WAL that are kept once its content is copied back.
const WAL_KEPT: u32 = 16 << 20;
/// Where the two bytes are that say how a database is written to, and their value for a WAL.
const MODE: std::ops::Range<usize> = 18..20;
const WAL_MODE: [u8; 2] = [2, 2];

/// The page that has a header.
const FIRST: Pgno = Pgno::FIRST;
/// Where the number is by which readers know whether the schema changed.
const SCHEMA: usize = 40;

/// `sqlite_dbpage` forgets where it was told to cut when it is given a page, even page 1. One of its
/// own for the cut does not. It is in this connection's memory only.
const CUT: &str = "CREATE VIRTUAL TABLE temp.cut USING sqlite_dbpage";

/// An open copy.
#[derive(Debug)]
pub(super) struct Copy {
    connection: Connection,
    path: PathBuf,
    page_size: PageSize,
    /// What SQLite counts of the commits of others.
    version: i64,
}

impl Copy {
    /// Opens the copy at `path`, and switches it to WAL mode should it not be in it.
    pub(super) fn open(path: &Path) -> Result<Copy, Error> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            let mode: String = connection.query_row("PRAGMA journal_mode = wal", [], first)?;
            connection.execute_batch(&format!(
                "PRAGMA synchronous = full; PRAGMA cache_size = -4096; \
                 PRAGMA journal_size_limit = {WAL_KEPT}; PRAGMA temp_store = memory; {CUT}"
            ))?;
            let page_size: u32 = connection.query_row("PRAGMA page_size", [], first)?;
            Ok((connection, mode, page_size))
        };
        let (connection, mode, page_size) = open().map_err(|error| failed(path, error))?;
        let broken = |reason: String| Error::Copy { path: path.to_owned(), reason };
        if mode != "wal" {
            return Err(broken(format!("it is in {mode} mode and cannot be switched to WAL")));
        }
        let page_size = PageSize::new(page_size)
            .ok_or_else(|| broken(format!("pages of {page_size} bytes")))?;
        let mut copy = Copy { connection, path: path.to_owned(), page_size, version: 0 };
        copy.version = copy.current_version()?;
        Ok(copy)
    }

    pub(super) fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Whether somebody else has written to the copy since this was last asked.
    pub(super) fn was_written_to(&mut self) -> Result<bool, Error> {
        let now = self.current_version()?;
        Ok(std::mem::replace(&mut self.version, now) != now)
    }

    fn current_version(&self) -> Result<i64, Error> {
        let version = self.connection.query_row("PRAGMA data_version", [], first);
        version.map_err(|error| failed(&self.path, error))
    }

    /// The sum of all its pages.
    pub(super) fn sum(&self) -> Result<Checksum, Error> {
        let add = || {
            let mut sum = RollingSum::new();
            let mut pages = self.connection.prepare("SELECT pgno, data FROM sqlite_dbpage")?;
            let mut rows = pages.query([])?;
            while let Some(row) = rows.next()? {
                let pgno = Pgno::new(row.get(0)?).filter(|it| *it != self.page_size.lock_page());
                if let Some(pgno) = pgno {
                    sum.add(page_sum(pgno, row.get_ref(1)?.as_blob()?));
                }
            }
            Ok(sum.checksum())
        };
        add().map_err(|error| failed(&self.path, error))
    }

    /// The sum of page 1 as it is here.
    pub(super) fn first_sum(&self) -> Result<Checksum, Error> {
        let sum = |row: &rusqlite::Row<'_>| Ok(page_sum(FIRST, row.get_ref(0)?.as_blob()?));
        let page = "SELECT data FROM sqlite_dbpage WHERE pgno = 1";
        self.connection.query_row(page, [], sum).map_err(|error| failed(&self.path, error))
    }

    /// Changes pages, all or none, so that the database has as many as `change` returns. What came
    /// of it is kept if `keep` says so.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Pages<'_>) -> Result<(u32, T), Error>,
        keep: impl FnOnce(&Written, &T) -> Result<(), Error>,
    ) -> Result<(Written, T), Error> {
        let path = &self.path;
        let behavior = TransactionBehavior::Immediate;
        let transaction = rusqlite::Transaction::new_unchecked(&self.connection, behavior)
            .map_err(|error| failed(path, error))?;
        let mut pages = Pages::of(&self.connection, path)?;
        let (count, changed) = change(&mut pages)?;
        let written = pages.finish(count, self.page_size.lock_page())?;
        keep(&written, &changed)?;
        transaction.commit().map_err(|error| failed(path, error))?;
        // What SQLite remembers of pages that changed under it is of no use.
        self.connection.release_memory().map_err(|error| failed(path, error))?;
        Ok((written, changed))
    }

    /// Copies everything from the WAL into the database file and ends the WAL.
    pub(super) fn settle(self) -> Result<(), Error> {
        let settled =
            self.connection.query_row("PRAGMA wal_checkpoint(truncate)", [], first::<i64>);
        match settled.map_err(|error| failed(&self.path, error))? {
            0 => Ok(()),
            _ => Err(Error::InUse { path: self.path }),
        }
    }
}

/// What was written in a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Pages.
    pub(super) pages: u64,
    /// The sum of page 1 as it was given, if it was. SQLite itself changes some bytes of it.
    pub(super) first: Option<Checksum>,
    /// What came to the sum of all other pages, and went from it.
    others: RollingSum,
}

impl Written {
    /// The sum of all pages, of which this was the sum before, and that of page 1.
    pub(super) fn sum(&self, before: Checksum, first_before: Checksum) -> Checksum {
        let mut sum = RollingSum::from_checksum(before);
        sum.add(self.others.checksum());
        if let Some(first) = self.first {
            sum.remove(first_before);
            sum.add(first);
        }
        sum.checksum()
    }
}

/// The pages of a copy in a transaction.
pub(super) struct Pages<'a> {
    connection: &'a Connection,
    read: Statement<'a>,
    write: Statement<'a>,
    path: &'a Path,
    /// The size before, in pages.
    before: u32,
    /// SQLite looks at the schema again when page 1 says so, which it must not do in between: that
    /// page is written last.
    first: Option<Vec<u8>>,
    first_sum: Option<Checksum>,
    others: RollingSum,
    written: u64,
}

impl<'a> Pages<'a> {
    fn of(connection: &'a Connection, path: &'a Path) -> Result<Pages<'a>, Error> {
        let prepare = || {
            let before = connection.query_row("PRAGMA page_count", [], first)?;
            let read = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";
            let write = "INSERT INTO sqlite_dbpage (pgno, data) VALUES (?1, ?2)";
            let (read, write) = (connection.prepare(read)?, connection.prepare(write)?);
            Ok(Pages {
                connection,
                read,
                write,
                path,
                before,
                first: None,
                first_sum: None,
                others: RollingSum::new(),
                written: 0,
            })
        };
        prepare().map_err(|error| failed(path, error))
    }

    /// Whether a page is there with this content.
    pub(super) fn holds(&mut self, pgno: Pgno, page: &[u8]) -> Result<bool, Error> {
        let same = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_blob()? == page);
        let found = self.read.query_row([pgno.get()], same).optional();
        Ok(found.map_err(|error| failed(self.path, error))?.unwrap_or(false))
    }

    /// Writes a page.
    pub(super) fn put(&mut self, pgno: Pgno, page: &[u8]) -> Result<(), Error> {
        if pgno == FIRST {
            self.first_sum = Some(page_sum(FIRST, page));
            let first = self.first.insert(page.to_vec());
            first[MODE].copy_from_slice(&WAL_MODE);
            return Ok(());
        }
        if pgno.get() <= self.before {
            self.count_out(pgno)?;
        }
        self.others.add(page_sum(pgno, page));
        let inserted = self.write.execute((pgno.get(), page));
        inserted.map_err(|error| failed(self.path, error))?;
        self.written += 1;
        Ok(())
    }

    /// Other content takes the place of a page, or none does.
    fn count_out(&mut self, pgno: Pgno) -> Result<(), Error> {
        let sum = |row: &rusqlite::Row<'_>| Ok(page_sum(pgno, row.get_ref(0)?.as_blob()?));
        let sum = self.read.query_row([pgno.get()], sum);
        self.others.remove(sum.map_err(|error| failed(self.path, error))?);
        Ok(())
    }

    /// What is written has nothing to do with what is there: readers shall look at the schema again,
    /// even if its number happens to be the same.
    pub(super) fn forget_schema(&mut self) -> Result<(), Error> {
        let Some(first) = &mut self.first else { return Ok(()) };
        let same = |row: &rusqlite::Row<'_>| {
            let old = row.get_ref(0)?.as_blob()?;
            Ok(old.get(SCHEMA..SCHEMA + 4) == first.get(SCHEMA..SCHEMA + 4))
        };
        let same = self.read.query_row([1], same).map_err(|error| failed(self.path, error))?;
        first[SCHEMA] ^= u8::from(same) << 7;
        Ok(())
    }

    /// Writes page 1, and makes the database as many pages long.
    fn finish(mut self, count: u32, lock_page: Pgno) -> Result<Written, Error> {
        let cut = (count + 1..=self.before).filter_map(Pgno::new);
        cut.filter(|pgno| *pgno != lock_page).try_for_each(|pgno| self.count_out(pgno))?;
        let mut finish = || {
            if count < self.before {
                // No page at all cuts the database off before it.
                let cut = "INSERT INTO temp.cut (pgno, data) VALUES (?1, NULL)";
                self.connection.execute(cut, [count + 1])?;
            }
            self.first.as_ref().map_or(Ok(0), |first| self.write.execute((1, first)))
        };
        let finished = finish();
        finished.map_err(|error| failed(self.path, error))?;
        let pages = self.written + u64::from(self.first.is_some());
        Ok(Written { pages, first: self.first_sum, others: self.others })
    }
}

fn first<T: rusqlite::types::FromSql>(row: &rusqlite::Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    Error::Copy { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of that many rows of a page each, as a whole file.
    fn image(directory: &Path, rows: u32) -> Vec<u8> {
        let path = directory.join(format!("{rows}.db"));
        let database = Connection::open(&path).expect("open");
        database
            .execute_batch(&format!(
                "PRAGMA journal_mode = wal; CREATE TABLE t{rows} (a);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO t{rows} SELECT zeroblob(4000) FROM n"
            ))
            .expect("write");
        drop(database);
        std::fs::read(path).expect("read")
    }

    fn apply(copy: &mut Copy, image: &[u8], keep: bool) {
        let (sum, first) = (copy.sum().expect("sum"), copy.first_sum().expect("sum"));
        let mut wanted = RollingSum::new();
        let pages = image.chunks_exact(4096);
        let count = pages.len() as u32;
        let change = |out: &mut Pages<'_>| {
            for (index, page) in pages.enumerate() {
                let pgno = Pgno::new(index as u32 + 1).unwrap();
                out.put(pgno, page)?;
                wanted.add(page_sum(pgno, page));
            }
            out.forget_schema()?;
            Ok((count, ()))
        };
        let (mut sums, refusal) = (None, Err(Error::Cancelled));
        let changed = copy.change(change, |written, ()| {
            sums = Some(written.sum(sum, first));
            if keep { Ok(()) } else { refusal }
        });
        assert_eq!((changed.is_ok(), sums), (keep, Some(wanted.checksum())));
        if !keep {
            assert_eq!(copy.sum().expect("sum"), sum, "all is as it was");
        }
    }

    #[test]
    fn a_copy_grows_and_shrinks_and_readers_see_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("copy.db");
        let sizes = [300, 20, 3000, 10, 11, 1];
        std::fs::write(&path, image(directory.path(), 5)).expect("write");
        let mut copy = Copy::open(&path).expect("open");
        let reader = Connection::open(&path).expect("open");
        for rows in sizes {
            let image = image(directory.path(), rows);
            apply(&mut copy, &image, false);
            apply(&mut copy, &image, true);
            let count = format!("SELECT count(*) FROM t{rows}");
            assert_eq!(reader.query_row(&count, [], first::<u32>), Ok(rows));
            let check = "PRAGMA integrity_check";
            assert_eq!(reader.query_row(check, [], first::<String>), Ok("ok".to_owned()));
            reader.query_row("PRAGMA wal_checkpoint", [], first::<u32>).expect("checkpoint");
            assert_eq!(std::fs::metadata(&path).expect("size").len(), image.len() as u64);
        }
    }
}
