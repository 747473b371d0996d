//! The application's databases: made before a measurement, compared after it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags};

/// Opens as the application does: WAL, `synchronous=OFF` unless a load has it otherwise (so that
/// the disk's fsync does not hide the cost of replication), the default auto-checkpoint, a patient
/// busy handler.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).with_context(|| format!("open {}", path.display()))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// A table for small rows, the same for all measurements that insert.
pub(crate) fn create_small(path: &Path) -> Result<Connection> {
    let connection = open(path)?;
    connection
        .execute_batch("CREATE TABLE event (id INTEGER PRIMARY KEY, at INTEGER, note TEXT)")?;
    connection.execute("INSERT INTO event (at, note) VALUES (0, 'first')", [])?;
    Ok(connection)
}

/// Fills a database of about `bytes` with documents whose LTX is about 0.73 of its size, as found
/// in databases that hold JSON: repeated keys around values that do not repeat.
pub(crate) fn create_large(path: &Path, bytes: u64) -> Result<()> {
    let mut connection = create_small(path)?;
    connection.execute_batch("CREATE TABLE document (id INTEGER PRIMARY KEY, body TEXT)")?;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    while fs::metadata(path)?.len() < bytes {
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare("INSERT INTO document (body) VALUES (?)")?;
        for _ in 0..10_000 {
            insert.execute([document(&mut random)])?;
        }
        drop(insert);
        transaction.commit()?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    drop(connection);
    File::open(path)?.sync_all()?;
    Ok(())
}

fn document(random: &mut Random) -> String {
    let mut body = String::with_capacity(512);
    let _ = write!(
        body,
        r#"{{"customer":"{}","reference":"{}{}{}","delivery address":"{}{}{}","notes":"{}{}{}{}"}}"#,
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
        random.word(),
    );
    body
}

/// Splitmix64 with a fixed seed: every run measures the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Ten characters that LZ4 finds no match for.
    fn word(&mut self) -> String {
        const LETTERS: &[u8; 64] =
            b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let bits = self.next();
        (0..10).map(|i| char::from(LETTERS[(bits >> (6 * i)) as usize & 63])).collect()
    }
}

/// Fails unless `restored` is sound and holds what `source` holds.
pub(crate) fn assert_same(source: &Path, restored: &Path) -> Result<()> {
    let (expected, found) = (summary(source)?, summary(restored)?);
    if expected != found {
        bail!("{}: expected {expected:?}, found {found:?}", restored.display());
    }
    let check: String =
        existing(restored)?.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if check != "ok" {
        bail!("{}: integrity check: {check}", restored.display());
    }
    Ok(())
}

/// Rows, last id and total bytes of each table of the application's own.
fn summary(path: &Path) -> Result<Vec<(String, i64, i64)>> {
    let connection = existing(path)?;
    let mut found = Vec::new();
    for (table, column) in [("event", "note"), ("document", "body"), ("counter", "filler")] {
        let exists = "SELECT count(*) FROM sqlite_schema WHERE name = ?";
        if connection.query_row(exists, [table], |row| row.get::<_, i64>(0))? == 0 {
            continue;
        }
        let sql = format!(
            "SELECT count(*), coalesce(max(id), 0) + coalesce(sum(length({column})), 0) FROM {table}"
        );
        let (rows, sum) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        found.push((table.to_owned(), rows, sum));
    }
    Ok(found)
}

/// Whether row `id` of the small table is in the database at `path`.
pub(crate) fn has_event(path: &Path, id: i64) -> Result<bool> {
    let sql = "SELECT count(*) FROM event WHERE id = ?";
    Ok(existing(path)?.query_row(sql, [id], |row| row.get::<_, i64>(0))? == 1)
}

fn existing(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("open {}", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}
