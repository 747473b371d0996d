//! A database beyond 1 GiB: its lock page is in no file and nowhere missed. (failures.md A14)

use std::fs;

use rusqlite::Connection;
use testkit::{Layout, Mix, Tool, scaled, turn};

use crate::stage::Stage;

const LOCK_PAGE: u64 = 1 << 30;

#[test]
fn a14_a37_a_database_grows_over_its_lock_page_in_little_memory() {
    let sizes: &[u32] = if scaled(1) > 1 { &[512, 1024, 4096, 8192, 65536] } else { &[4096] };
    for &page_size in sizes {
        grow_over_the_lock_page(page_size);
    }
}

fn grow_over_the_lock_page(page_size: u32) {
    let _turn = turn::shared();
    let stage = Stage::new("large", Mix::Growth);
    let mut app = stage.create(Layout { page_size, wal: false, ..Layout::default() });
    fill(&app, LOCK_PAGE - (2 << 20));
    app.execute_batch("PRAGMA journal_mode=WAL").expect("switch to WAL mode");
    assert!(length(&app) < LOCK_PAGE);
    let replicator = stage.replicate_first();
    let mut txids = vec![stage.replica.last_txid()];
    let mut n = 0;
    while n < 12 {
        n = stage.workload.commit_many(&mut app, 4);
        stage.tool.await_n(&stage.replica, n);
        txids.push(stage.replica.last_txid());
    }
    assert!(length(&app) > LOCK_PAGE + u64::from(page_size), "the lock page was not reached");
    let peak = replicator.peak_memory();
    assert!(peak < 64 << 20, "{peak} bytes of memory for a database of {} bytes", length(&app));
    replicator.stop();
    drop(app);
    let expected = stage.db.clone();
    let mut tools = vec![stage.tool.clone()];
    tools.extend(Tool::litestream());
    for tool in tools {
        let output = stage.scratch.path("restored");
        tool.restore(&stage.replica, None, &output).expect("restore");
        assert_eq!(stage.oracle().check_file(&output), Ok(n), "{tool:?}");
        let same = std::process::Command::new("cmp").args([&output, &expected]).status();
        assert!(same.expect("run cmp").success(), "{tool:?}: the bytes differ");
        fs::remove_file(output).expect("remove the restored file");
    }
    testkit::sweep::sweep_of(&stage.tool, &stage.replica, &mut stage.oracle(), &txids[..1])
        .expect_all_right(0);
}

/// Makes the file about `size` bytes large, of zeros, without a journal.
fn fill(db: &Connection, size: u64) {
    db.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE filler(x)")
        .expect("create the filler");
    for _ in 0..size >> 26 {
        db.execute("INSERT INTO filler VALUES (zeroblob(1 << 26))", []).expect("fill");
    }
    let rest = size.saturating_sub(length(db));
    db.execute("INSERT INTO filler VALUES (zeroblob(?1))", [rest as i64]).expect("fill");
}

fn length(db: &Connection) -> u64 {
    let pragma = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a pragma");
    (pragma("PRAGMA page_count") * pragma("PRAGMA page_size")).unsigned_abs()
}
