//! Compares a database with the exact state after the transaction that it claims to be at.
//!
//! Counts and `integrity_check` prove little: a restore that mixes two commits often passes both.

use std::fmt;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::workload::{Workload, last};

/// How a database differs from every state that was ever committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Mismatch {
    /// `SQLite` cannot read it, or it is not a database of the workload.
    Unreadable(String),
    /// The first lines of `PRAGMA integrity_check`.
    Integrity(String),
    /// It names a transaction that was never committed.
    NeverCommitted {
        /// The transaction it names.
        n: u64,
        /// The last one that was committed.
        last: u64,
    },
    /// The file is not as long as its pages.
    Size {
        /// Bytes of the file.
        file: u64,
        /// Bytes of its pages.
        pages: u64,
    },
    /// The schema is not the one after transaction `n`.
    Schema {
        /// The transaction it names.
        n: u64,
        /// What was found, what was expected.
        difference: String,
    },
    /// A table's content is not the one after transaction `n`.
    Content {
        /// The transaction it names.
        n: u64,
        /// The table.
        table: String,
        /// The first row that differs: found, expected.
        difference: String,
    },
    /// It is at an earlier transaction than a restore of a smaller TXID.
    Backwards {
        /// The transaction it names.
        n: u64,
        /// The one that the smaller TXID had.
        before: u64,
    },
    /// The program gave no database.
    NotRestored(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Unreadable(why) => write!(f, "unreadable: {why}"),
            Mismatch::Integrity(why) => write!(f, "integrity_check: {why}"),
            Mismatch::NeverCommitted { n, last } => {
                write!(f, "is at transaction {n}, but {last} was the last")
            }
            Mismatch::Size { file, pages } => {
                write!(f, "the file has {file} bytes, its pages have {pages}")
            }
            Mismatch::Schema { n, difference } => write!(f, "schema at {n}: {difference}"),
            Mismatch::Content { n, table, difference } => {
                write!(f, "table {table} at {n}: {difference}")
            }
            Mismatch::Backwards { n, before } => {
                write!(f, "is at transaction {n}, a smaller TXID was at {before}")
            }
            Mismatch::NotRestored(why) => write!(f, "not restored: {why}"),
        }
    }
}

/// Recomputes the content after any transaction; cheapest when asked in ascending order.
#[derive(Debug)]
pub struct Oracle {
    workload: Workload,
    model: Connection,
    at: u64,
    committed: u64,
}

impl Oracle {
    /// An oracle for one workload, at transaction 0.
    pub fn new(workload: Workload) -> Oracle {
        let model = empty_model(&workload);
        Oracle { workload, model, at: 0, committed: u64::MAX }
    }

    /// From now on a database beyond transaction `n` is a mismatch.
    pub fn committed(&mut self, n: u64) {
        self.committed = n;
    }

    /// Checks a whole database file that nobody has open; returns its transaction number.
    pub fn check_file(&mut self, path: &Path) -> Result<u64, Mismatch> {
        let db = open_immutable(path).map_err(unreadable)?;
        check_size(&db, path)?;
        self.check(&db)
    }

    /// Checks what a connection sees; returns its transaction number.
    pub fn check(&mut self, db: &Connection) -> Result<u64, Mismatch> {
        let n = last(db).map_err(unreadable)?;
        check_integrity(db)?;
        if n > self.committed {
            return Err(Mismatch::NeverCommitted { n, last: self.committed });
        }
        self.advance_to(n);
        compare(db, &self.model, n)?;
        Ok(n)
    }

    fn advance_to(&mut self, n: u64) {
        if n < self.at {
            self.model = empty_model(&self.workload);
            self.at = 0;
        }
        self.model.execute_batch("BEGIN").expect("begin in the model");
        for n in self.at + 1..=n {
            self.workload.apply(&self.model, n).expect("apply to the model");
        }
        self.model.execute_batch("COMMIT").expect("commit in the model");
        self.at = n;
    }
}

fn empty_model(workload: &Workload) -> Connection {
    let model = Connection::open_in_memory().expect("open the model");
    workload.create_schema(&model).expect("create the model");
    model
}

/// Opens a file that nobody writes, leaving nothing beside it.
pub fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let uri = format!("file:{}?immutable=1", path.display());
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

fn unreadable(error: rusqlite::Error) -> Mismatch {
    Mismatch::Unreadable(error.to_string())
}

fn check_size(db: &Connection, path: &Path) -> Result<(), Mismatch> {
    let pragma = |name| db.query_row(name, [], |row| row.get::<_, i64>(0)).map_err(unreadable);
    let pages = pragma("PRAGMA page_count")? * pragma("PRAGMA page_size")?;
    let pages = pages.unsigned_abs();
    let file = std::fs::metadata(path).map_err(|e| Mismatch::Unreadable(e.to_string()))?.len();
    if file == pages { Ok(()) } else { Err(Mismatch::Size { file, pages }) }
}

/// Ok if `PRAGMA integrity_check` is.
pub fn check_integrity(db: &Connection) -> Result<(), Mismatch> {
    let lines = texts(db, "PRAGMA integrity_check(5)").map_err(unreadable)?;
    if lines == ["ok"] { Ok(()) } else { Err(Mismatch::Integrity(lines.join("; "))) }
}

fn texts(db: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn compare(db: &Connection, model: &Connection, n: u64) -> Result<(), Mismatch> {
    let found = schema(db).map_err(unreadable)?;
    let expected = schema(model).expect("the model's schema");
    if found != expected {
        let extra = found.iter().filter(|line| !expected.contains(line)).collect::<Vec<_>>();
        let missing = expected.iter().filter(|line| !found.contains(line)).collect::<Vec<_>>();
        let difference = format!("not expected: {extra:?}, missing: {missing:?}");
        return Err(Mismatch::Schema { n, difference });
    }
    compare_tables(db, model, n)
}

/// Whether two databases hold the same rows in the same tables; the second is the expected one.
pub fn same_content(db: &Connection, expected: &Connection) -> Result<(), Mismatch> {
    check_integrity(db)?;
    compare(db, expected, 0)
}

fn compare_tables(db: &Connection, model: &Connection, n: u64) -> Result<(), Mismatch> {
    for table in tables(model) {
        if let Some(difference) = compare_table(db, model, &table).map_err(unreadable)? {
            return Err(Mismatch::Content { n, table, difference });
        }
    }
    Ok(())
}

/// Every entry of the schema but Litestream's own tables (which [`own_tables`] looks for), and
/// tables called `filler`, which a test may add for their size alone.
pub fn schema(db: &Connection) -> rusqlite::Result<Vec<String>> {
    texts(
        db,
        "SELECT type || ' ' || name || ' on ' || tbl_name || ': ' || coalesce(sql, '')
         FROM sqlite_schema WHERE name NOT LIKE '\\_litestream\\_%' ESCAPE '\\'
         AND name NOT LIKE 'filler%' ORDER BY name",
    )
}

/// Tables that a replicator has made in the user's database.
pub fn own_tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    texts(
        db,
        "SELECT name FROM sqlite_schema
         WHERE name LIKE '\\_litestream%' ESCAPE '\\' OR name LIKE '%brooklet%'",
    )
}

fn tables(model: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema
               WHERE type = 'table' AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\'
               AND name NOT LIKE 'filler%' ORDER BY name";
    texts(model, sql).expect("the model's tables")
}

fn compare_table(
    db: &Connection,
    model: &Connection,
    table: &str,
) -> rusqlite::Result<Option<String>> {
    let sql = format!("SELECT * FROM \"{table}\" NOT INDEXED ORDER BY 1");
    let (mut found, mut expected) = (db.prepare(&sql)?, model.prepare(&sql)?);
    let columns = expected.column_count();
    if found.column_count() != columns {
        return Ok(Some(format!("{} columns, expected {columns}", found.column_count())));
    }
    let (mut found, mut expected) = (found.query([])?, expected.query([])?);
    loop {
        match (found.next()?, expected.next()?) {
            (None, None) => return Ok(None),
            (Some(found), Some(expected)) => {
                for column in 0..columns {
                    if found.get_ref(column)? != expected.get_ref(column)? {
                        let (found, expected) = (row(found, columns)?, row(expected, columns)?);
                        return Ok(Some(format!("found {found}, expected {expected}")));
                    }
                }
            }
            (Some(found), None) => {
                return Ok(Some(format!("a row too many: {}", row(found, columns)?)));
            }
            (None, Some(expected)) => {
                return Ok(Some(format!("missing: {}", row(expected, columns)?)));
            }
        }
    }
}

fn row(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<String> {
    let values = (0..columns).map(|column| {
        Ok(match row.get::<_, Value>(column)? {
            Value::Blob(bytes) => {
                let head = &bytes[..bytes.len().min(4)];
                format!("{} bytes {head:02x?}..", bytes.len())
            }
            other => format!("{other:?}"),
        })
    });
    Ok(format!("({})", values.collect::<rusqlite::Result<Vec<_>>>()?.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Layout, Mix};
    use crate::{Scratch, seed};

    fn workload() -> Workload {
        Workload { seed: seed("oracle"), mix: Mix::Everything }
    }

    #[test]
    fn agrees_with_every_state_of_the_workload() {
        let scratch = Scratch::new("agrees");
        let workload = workload();
        let layout = Layout { incremental_vacuum: true, wal: false, ..Layout::default() };
        let mut db = workload.create(&scratch.path("db"), layout);
        let mut oracle = Oracle::new(workload);
        for n in 1..=200 {
            assert_eq!(workload.commit_next(&mut db), Ok(n));
            assert_eq!(oracle.check(&db), Ok(n));
        }
        db.execute_batch("VACUUM").unwrap();
        assert_eq!(oracle.check(&db), Ok(200));
        drop(db);
        assert_eq!(oracle.check_file(&scratch.path("db")), Ok(200));
    }

    #[test]
    fn sees_a_phantom_a_hole_and_a_change() {
        let scratch = Scratch::new("sees");
        let workload = Workload { mix: Mix::Small, ..workload() };
        let mut db = workload.create(&scratch.path("db"), Layout::default());
        workload.commit_many(&mut db, 50);
        let mut oracle = Oracle::new(workload);
        for harm in [
            "INSERT INTO item VALUES (100000, 1, 'phantom', NULL)",
            "DELETE FROM item WHERE id = (SELECT max(id) FROM item)",
            "UPDATE item SET payload = zeroblob(9) WHERE id = (SELECT min(id) FROM item)",
            "UPDATE ledger SET n = n + 1",
        ] {
            db.execute_batch("BEGIN").unwrap();
            db.execute(harm, []).unwrap();
            let verdict = oracle.check(&db);
            assert!(matches!(verdict, Err(Mismatch::Content { .. })), "{harm}: {verdict:?}");
            db.execute_batch("ROLLBACK").unwrap();
        }
        db.execute_batch("CREATE TABLE other(x)").unwrap();
        assert!(matches!(oracle.check(&db), Err(Mismatch::Schema { .. })));
        oracle.committed(49);
        assert_eq!(oracle.check(&db), Err(Mismatch::NeverCommitted { n: 50, last: 49 }));
    }
}
