//! What a restore leaves behind, whatever happens. (failures.md A9, A17, A43)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Layout, Mix, turn};

use crate::stage::Stage;

/// A replica with some TXIDs, and the transaction of the last one.
fn replicated(name: &str) -> (Stage, u64) {
    let stage = Stage::new(name, Mix::Small);
    let mut app = stage.create(Layout::default());
    let replicator = stage.replicate_first();
    let mut n = 0;
    for _ in 0..4 {
        n = stage.workload.commit_many(&mut app, 10);
        stage.tool.await_n(&stage.replica, n);
    }
    replicator.stop();
    (stage, n)
}

#[test]
fn stale_files_beside_the_output_do_no_harm() {
    let _turn = turn::shared();
    let (stage, n) = replicated("leftovers");
    let output = stage.scratch.path("out.db");
    let suffixes = ["-wal", "-shm", "-journal"];
    for suffix in suffixes {
        fs::copy(&stage.db, stage.scratch.path(&format!("out.db{suffix}"))).expect("a stale file");
    }
    let first = stage.tool.restore(&stage.replica, None, &output);
    match first {
        Err(_) => assert!(!output.exists(), "a refused restore left its output"),
        Ok(()) => {
            for suffix in suffixes {
                let stale = stage.scratch.path(&format!("out.db{suffix}"));
                assert!(!stale.exists(), "{} is still there", stale.display());
            }
            assert_eq!(stage.oracle().check_file(&output), Ok(n));
        }
    }
}

#[test]
fn an_existing_output_is_not_touched_without_force() {
    let _turn = turn::shared();
    let (stage, _) = replicated("exists");
    let output = stage.scratch.path("out.db");
    fs::write(&output, "precious").expect("write a file");
    stage.tool.restore(&stage.replica, None, &output).expect_err("the output exists");
    assert_eq!(fs::read_to_string(&output).expect("read it"), "precious");
}

/// Every file of the replica in turn is deleted, emptied, cut in half, or gets a bit flipped: the
/// restore is right, or it fails and leaves nothing. Only that the last file is gone, nothing in
/// the replica can tell.
#[test]
fn a_damaged_replica_never_restores_to_something_else() {
    let _turn = turn::shared();
    let (mut stage, n) = replicated("damage");
    let output = stage.scratch.path("out.db");
    let last = stage.replica.last_txid();
    for file in stage.replica.files() {
        let whole = fs::read(&file.path).expect("read an object");
        let mut flipped = whole.clone();
        let at = stage.rng.usize(0..flipped.len());
        flipped[at] ^= 1 << stage.rng.u8(0..8);
        let damages = [None, Some(&[][..]), Some(&whole[..whole.len() / 2]), Some(&flipped)];
        for damage in damages {
            match damage {
                None => fs::remove_file(&file.path).expect("remove an object"),
                Some(bytes) => fs::write(&file.path, bytes).expect("damage an object"),
            }
            let before = listed(stage.scratch.root());
            let shape = damage.map(<[u8]>::len);
            match stage.tool.restore(&stage.replica, None, &output) {
                Ok(()) => {
                    let found = stage.oracle().check_file(&output);
                    let hidden = damage.is_none() && file.max == last;
                    let right = found == Ok(n) || hidden && found.is_ok();
                    assert!(
                        right,
                        "{file:?}, {shape:?} (or byte {at} flipped): {found:?}, not {n}"
                    );
                    fs::remove_file(&output).expect("remove the output");
                }
                Err(said) => {
                    assert_eq!(listed(stage.scratch.root()), before, "residue after: {said}");
                }
            }
            fs::write(&file.path, &whole).expect("mend the object");
        }
    }
    stage.tool.restore(&stage.replica, None, &output).expect("restore the mended replica");
    assert_eq!(stage.oracle().check_file(&output), Ok(n));
}

fn listed(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).expect("list").flatten().map(|entry| entry.path()).collect()
}

#[test]
fn a_backup_of_version_3_restores_as_litestream_restores_it() {
    let Some(litestream) = testkit::Tool::litestream() else { return };
    let stage = Stage::new("restore-v3", Mix::Small);
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/v0.3.13-plain/replica");
    let replica = testkit::Replica::new(vectors.into());
    let restored = |tool: &testkit::Tool, name: &str| {
        let output = stage.scratch.path(name);
        tool.restore(&replica, None, &output).expect("restore");
        std::fs::read(output).expect("read")
    };
    assert!(restored(&stage.tool, "ours") == restored(&litestream, "theirs"));
}
