//! A deterministic application: transaction `n` of a seed does the same to every database, so that
//! the content after any `n` can be computed again, whoever wrote it and whenever.

use std::path::Path;

use fastrand::Rng;
use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

/// What kinds of transactions a workload is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mix {
    /// One-row inserts at the end of a table without index: the least that a commit can do.
    Inserts,
    /// Inserts, updates and deletes of a few small rows.
    Small,
    /// Small ones, blobs that grow the file by hundreds of pages, deletes that free them, schema
    /// changes, copies of tables and incremental vacuum.
    Everything,
    /// Mostly blobs of up to 4 MB.
    Growth,
}

/// The shape of a new database file.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Bytes per page, a power of two from 512 to 65536.
    pub page_size: u32,
    /// Whether `auto_vacuum` is INCREMENTAL rather than NONE.
    pub incremental_vacuum: bool,
    /// Whether the database is put into WAL mode at once.
    pub wal: bool,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { page_size: 4096, incremental_vacuum: false, wal: true }
    }
}

/// A seed and a mix: all that is needed to know what transaction `n` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The kinds of transactions.
    pub mix: Mix,
}

enum Step {
    Insert,
    Update,
    Delete,
    Blob,
    DropBlobs,
    NewTable,
    CopyTable,
    NewIndex,
    DropTable,
    Shrink,
}

impl Workload {
    /// Creates the database file with the state of `n = 0`, and returns its open connection.
    pub fn create(&self, path: &Path, layout: Layout) -> Connection {
        let db = Connection::open(path).expect("open a new database");
        let vacuum = if layout.incremental_vacuum { "INCREMENTAL" } else { "NONE" };
        db.execute_batch(&format!(
            "PRAGMA page_size={}; PRAGMA auto_vacuum={vacuum};",
            layout.page_size
        ))
        .expect("set the layout");
        if layout.wal {
            db.execute_batch("PRAGMA journal_mode=WAL").expect("switch to WAL mode");
        }
        self.create_schema(&db).expect("create the schema");
        db
    }

    /// The state of `n = 0` in an empty database.
    pub fn create_schema(&self, db: &Connection) -> rusqlite::Result<()> {
        db.execute_batch(
            "BEGIN;
             CREATE TABLE ledger(id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL,
                                 seed TEXT NOT NULL);
             CREATE TABLE item(id INTEGER PRIMARY KEY, n INTEGER, name TEXT, payload BLOB);
             CREATE TABLE big(id INTEGER PRIMARY KEY, n INTEGER, data BLOB);",
        )?;
        if self.mix != Mix::Inserts {
            db.execute_batch("CREATE INDEX item_name ON item(name)")?;
        }
        db.execute("INSERT INTO ledger VALUES (1, 0, ?1)", [self.seed.to_string()])?;
        db.execute_batch("COMMIT")
    }

    /// Commits the next transaction, whichever it is, and returns its number.
    pub fn commit_next(&self, db: &mut Connection) -> rusqlite::Result<u64> {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let n = last(&tx)? + 1;
        self.apply(&tx, n)?;
        tx.commit()?;
        Ok(n)
    }

    /// Commits the next `count` transactions, and returns the number of the last.
    pub fn commit_many(&self, db: &mut Connection, count: u64) -> u64 {
        (0..count).map(|_| self.commit_next(db).expect("commit")).last().unwrap_or(0)
    }

    /// Does transaction `n` in a transaction that the caller has open.
    pub fn apply(&self, db: &Connection, n: u64) -> rusqlite::Result<()> {
        let mut rng = Rng::with_seed(self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let n = i64::try_from(n).expect("few transactions");
        match self.step(&mut rng) {
            Step::Insert => self.insert(db, n, &mut rng)?,
            Step::Update => update(db, n, &mut rng)?,
            Step::Delete => delete(db, n, &mut rng)?,
            Step::Blob => self.blob(db, n, &mut rng)?,
            Step::DropBlobs => drop_blobs(db, &mut rng)?,
            Step::NewTable => new_table(db, n, &mut rng)?,
            Step::CopyTable => copy_table(db, n)?,
            Step::NewIndex => new_index(db, n)?,
            Step::DropTable => drop_table(db, n)?,
            Step::Shrink => shrink(db, &mut rng)?,
        }
        db.prepare_cached("UPDATE ledger SET n = ?1")?.execute([n])?;
        Ok(())
    }

    fn step(&self, rng: &mut Rng) -> Step {
        match self.mix {
            Mix::Inserts => Step::Insert,
            Mix::Small => match rng.u8(0..10) {
                0..=4 => Step::Insert,
                5..=7 => Step::Update,
                _ => Step::Delete,
            },
            Mix::Everything => match rng.u8(0..100) {
                0..=39 => Step::Insert,
                40..=59 => Step::Update,
                60..=74 => Step::Delete,
                75..=80 => Step::Blob,
                81..=84 => Step::DropBlobs,
                85..=88 => Step::NewTable,
                89..=91 => Step::CopyTable,
                92..=93 => Step::NewIndex,
                94..=95 => Step::DropTable,
                _ => Step::Shrink,
            },
            Mix::Growth => match rng.u8(0..10) {
                0..=1 => Step::Insert,
                2..=7 => Step::Blob,
                8 => Step::DropBlobs,
                _ => Step::Shrink,
            },
        }
    }

    fn insert(&self, db: &Connection, n: i64, rng: &mut Rng) -> rusqlite::Result<()> {
        let rows = if self.mix == Mix::Inserts { 1 } else { rng.i64(1..=3) };
        let mut insert = db.prepare_cached("INSERT INTO item VALUES (?1, ?2, ?3, ?4)")?;
        for row in 0..rows {
            let size = if self.mix == Mix::Inserts { 40 } else { rng.usize(10..400) };
            insert.execute(params![n * 4 + row, n, name(rng), bytes(rng, size)])?;
        }
        Ok(())
    }

    fn blob(&self, db: &Connection, n: i64, rng: &mut Rng) -> rusqlite::Result<()> {
        let (largest, kept) = if self.mix == Mix::Growth { (4 << 20, 12) } else { (800 << 10, 8) };
        let size = rng.usize(20 << 10..largest);
        db.execute("INSERT INTO big VALUES (?1, ?1, ?2)", params![n, bytes(rng, size)])?;
        db.execute(
            "DELETE FROM big WHERE id NOT IN (SELECT id FROM big ORDER BY id DESC LIMIT ?1)",
            [kept],
        )?;
        Ok(())
    }
}

/// The number of the last transaction in a database of any workload.
pub fn last(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT n FROM ledger")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

fn update(db: &Connection, n: i64, rng: &mut Rng) -> rusqlite::Result<()> {
    for _ in 0..rng.u8(1..=3) {
        let size = rng.usize(10..600);
        db.prepare_cached(
            "UPDATE item SET n = ?2, name = ?3, payload = ?4
             WHERE id = (SELECT id FROM item WHERE id >= ?1 ORDER BY id LIMIT 1)",
        )?
        .execute(params![rng.i64(0..n * 4), n, name(rng), bytes(rng, size)])?;
    }
    Ok(())
}

fn delete(db: &Connection, n: i64, rng: &mut Rng) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM item
         WHERE id IN (SELECT id FROM item WHERE id >= ?1 ORDER BY id LIMIT ?2)",
    )?
    .execute(params![rng.i64(0..n * 4), rng.u8(1..=3)])?;
    Ok(())
}

fn drop_blobs(db: &Connection, rng: &mut Rng) -> rusqlite::Result<()> {
    db.execute("DELETE FROM big WHERE id % 3 = ?1", [rng.u8(0..3)])?;
    Ok(())
}

fn new_table(db: &Connection, n: i64, rng: &mut Rng) -> rusqlite::Result<()> {
    let table = format!("side_{}", n % 5);
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY, name TEXT)"
    ))?;
    let mut insert = db.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2)"))?;
    for row in 0..rng.i64(1..40) {
        insert.execute(params![n * 64 + row, name(rng)])?;
    }
    Ok(())
}

fn copy_table(db: &Connection, n: i64) -> rusqlite::Result<()> {
    let table = format!("copy_{}", n % 2);
    db.execute_batch(&format!(
        "DROP TABLE IF EXISTS {table};
         CREATE TABLE {table} AS SELECT id, name, payload FROM item ORDER BY id LIMIT 1000"
    ))
}

fn new_index(db: &Connection, n: i64) -> rusqlite::Result<()> {
    let index = format!("item_payload_{}", n % 2);
    db.execute_batch(&format!(
        "DROP INDEX IF EXISTS {index}; CREATE INDEX {index} ON item(payload, n)"
    ))
}

fn drop_table(db: &Connection, n: i64) -> rusqlite::Result<()> {
    db.execute_batch(&format!("DROP TABLE IF EXISTS side_{}", n % 5))
}

/// Gives free pages back; nothing where `auto_vacuum` is NONE. Content stays as it is.
fn shrink(db: &Connection, rng: &mut Rng) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({})", rng.u32(1..500)))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn name(rng: &mut Rng) -> String {
    format!("name {:08x}", rng.u32(..))
}

fn bytes(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    bytes
}
