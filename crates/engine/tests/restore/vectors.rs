//! Every state of every vector tree restores to the bytes that Litestream 0.5.17 restores.

use engine::restore::{self, IntegrityCheck, PlanError, Request, Target};
use ltx::Timestamp;

use crate::support::{Vectors, scratch, sha256, txid};

/// Restores a state and returns the file's hash.
fn restored(vectors: &Vectors, request: impl Fn(&mut Request)) -> Result<String, restore::Error> {
    let directory = scratch();
    let output = directory.path().join("restored.db");
    let mut wanted = Request::new(vectors.storage(), &output);
    wanted.integrity = IntegrityCheck::Full;
    request(&mut wanted);
    let outcome = restore::run(&wanted, &())?;
    assert_eq!(std::fs::metadata(&output).expect("output").len(), outcome.bytes);
    assert_eq!(std::fs::read_dir(directory.path()).expect("directory").count(), 1, "no residue");
    Ok(sha256(&output))
}

#[test]
fn every_known_transaction_has_its_hash() {
    for tree in Vectors::TREES {
        let vectors = Vectors::open(tree);
        let hashes = vectors.hashes();
        assert!(!hashes.is_empty(), "{tree} has known states");
        for (id, hash) in hashes {
            let found = restored(&vectors, |request| request.target = Target::Txid(txid(id)));
            assert_eq!(found.expect("restore"), hash, "{tree} at {id:x}");
        }
    }
}

#[test]
fn any_parallelism_gives_the_same_bytes() {
    let vectors = Vectors::open("tree");
    let latest = vectors.hashes()[&0x151].clone();
    for threads in [1, 2, 3, 16] {
        let found = restored(&vectors, |request| request.parallelism = threads);
        assert_eq!(found.expect("restore"), latest, "{threads} threads");
    }
}

#[test]
fn plans_are_those_of_litestream() {
    let plan = |tree: &str, id| {
        let vectors = Vectors::open(tree);
        let plan = restore::find_plan(&*vectors.storage(), Target::Txid(txid(id))).expect("plan");
        plan.files().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let name = |level: u8, min: u64, max: u64| format!("ltx/{level}/{min:016x}-{max:016x}.ltx");
    let mut wanted = vec![name(9, 1, 3), name(1, 4, 0x3a), name(1, 0x3b, 0x90)];
    wanted.extend((0x91..=0xa6).map(|id| name(0, id, id)));
    assert_eq!(plan("tree", 0xa6), wanted);

    let mut wanted = vec![name(2, 1, 3), name(2, 4, 0xec), name(1, 0xed, 0x126)];
    wanted.extend((0x127..=0x151).map(|id| name(0, id, id)));
    assert_eq!(plan("tree-pruned", 0x151), wanted);
    assert_eq!(plan("ps512", 7), [name(9, 1, 7)]);
}

#[test]
fn what_was_pruned_names_its_neighbours() {
    let vectors = Vectors::open("tree-pruned");
    for (id, before, after) in [(0x90, 3, 0xec), (0x100, 0xec, 0x126)] {
        let error = restore::find_plan(&*vectors.storage(), Target::Txid(txid(id)));
        let restore::Error::NotRestorable { reason, .. } = error.expect_err("pruned") else {
            panic!("another error")
        };
        let PlanError::InsideFile { before: below, after: above, .. } = reason else {
            panic!("{reason}")
        };
        assert_eq!((below, above), (Some(txid(before)), Some(txid(after))));
    }
}

#[test]
fn a_moment_means_the_last_state_at_or_before_it() {
    let vectors = Vectors::open("ps4096");
    let hashes = vectors.hashes();
    let objects = restore::list(&*vectors.storage()).expect("list");
    let created = |id| {
        let is_it = |object: &&storage::Object| {
            object.level == ltx::Level::L0 && object.txids.max == txid(id)
        };
        objects.iter().find(is_it).expect("an L0 file").created.as_millis()
    };
    let at = |millis| {
        let moment = Target::Timestamp(Timestamp::from_millis(millis));
        restored(&vectors, |request| request.target = moment)
    };
    for id in 1..=7 {
        assert_eq!(at(created(id)).expect("exactly then"), hashes[&id], "at {id}");
    }
    assert_eq!(at(created(4) - 1).expect("just before"), hashes[&3]);
    assert_eq!(at(created(7) + 86_400_000).expect("a day later"), hashes[&7]);
    let error = at(created(1) - 1).expect_err("before the first");
    assert_eq!(error.kind(), restore::ErrorKind::NotRestorable);
    assert!(error.to_string().contains("the replica reaches from 2026-11-22T"), "{error}");
}

#[test]
fn a_copied_replica_that_lost_its_times_still_knows_them() {
    let vectors = Vectors::open("ps4096");
    let objects = restore::list(&*vectors.storage()).expect("list");
    let created = objects.iter().find(|object| object.txids.max == txid(4)).expect("4").created;
    for object in &objects {
        let file =
            std::fs::File::options().write(true).open(vectors.path().join(object.to_string()));
        file.expect("object").set_modified(std::time::SystemTime::now()).expect("time");
    }
    let moment = Target::Timestamp(created);
    let hash = restored(&vectors, |request| request.target = moment).expect("restore");
    assert_eq!(hash, vectors.hashes()[&4]);
}

#[test]
fn every_transaction_of_the_tree_is_a_sound_database() {
    let vectors = Vectors::open("tree");
    for id in 1..=0x151 {
        let sound = restored(&vectors, |request| request.target = Target::Txid(txid(id)));
        sound.expect("restore");
    }
}

#[test]
fn synthetic_files_are_accepted_or_rejected_as_their_readme_says() {
    for name in Vectors::synthetic() {
        let is_accepted = name.starts_with("ok-")
            || ["checksummed", "bad-page-beyond-commit", "bad-index-size-field"]
                .contains(&name.as_str());
        let vectors = Vectors::open(&format!("synthetic/{name}"));
        let found = restored(&vectors, |request| request.integrity = IntegrityCheck::None);
        assert_eq!(found.is_ok(), is_accepted, "{name}: {found:?}");
        if let Err(error) = found {
            assert_eq!(error.kind(), restore::ErrorKind::NotRestorable, "{name}: {error}");
        }
    }
}
