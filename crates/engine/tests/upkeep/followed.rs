//! A copy that follows a replica, step by step.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use engine::Replicator;
use engine::restore::{Error, Follower, Request};
use ltx::{Decoder, Encoder, Level, Txid};
use rusqlite::{Connection, OpenFlags};
use storage::{FileStorage, Storage};

use crate::{PATIENCE, Stage};

struct Followed {
    stage: Stage,
    replicator: Replicator,
    follower: Follower,
}

impl Followed {
    fn new() -> Followed {
        let stage = Stage::new();
        let replicator = stage.replicate_untouched();
        stage.commit();
        replicator.sync(Instant::now() + PATIENCE).unwrap();
        let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
        let request = Request::new(storage, copy(&stage));
        let (follower, _) = Follower::open(vec![request], &()).unwrap();
        Followed { stage, replicator, follower }
    }

    fn commit(&self) {
        self.stage.commit();
        self.replicator.sync(Instant::now() + PATIENCE).unwrap();
    }

    fn newest_file(&self) -> PathBuf {
        let newest = self.stage.storage.list(Level::L0, Txid::FIRST).unwrap().pop().unwrap();
        FileStorage::new(self.stage.db.with_file_name("replica")).path(Level::L0, newest.txids)
    }

    /// Rows of the copy.
    fn rows(&self) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let copy = Connection::open_with_flags(copy(&self.stage), flags).unwrap();
        copy.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }
}

fn copy(stage: &Stage) -> PathBuf {
    stage.db.with_extension("copy")
}

#[test]
fn a_copy_that_is_up_to_date_costs_one_listing_a_look() {
    let mut followed = Followed::new();
    for _ in 0..3 {
        followed.commit();
        assert!(followed.follower.advance(&()).unwrap().is_some());
        let before = followed.stage.storage.requests();
        for looks in 1..=5 {
            assert_eq!(followed.follower.advance(&()).unwrap(), None);
            assert_eq!(followed.stage.storage.requests(), before + looks);
        }
    }
}

#[test]
fn an_update_that_does_not_add_up_is_not_kept() {
    let mut followed = Followed::new();
    followed.commit();
    let newest = followed.newest_file();
    let sound = fs::read(&newest).unwrap();
    falsify(&newest);
    for _ in 0..2 {
        let refused = followed.follower.advance(&()).unwrap_err();
        assert!(matches!(refused, Error::Unproven { .. }), "{refused}");
        assert_eq!(followed.rows(), 1);
    }
    fs::write(&newest, sound).unwrap();
    let advance = followed.follower.advance(&()).unwrap().unwrap();
    assert!(!advance.whole);
    assert_eq!(followed.rows(), 2);
}

#[test]
fn a_copy_that_an_update_does_not_fit_is_made_right() {
    let mut followed = Followed::new();
    rot(&copy(&followed.stage));
    followed.commit();
    assert!(followed.follower.advance(&()).unwrap().unwrap().whole);
    assert_eq!(followed.rows(), 2);
    followed.commit();
    assert!(!followed.follower.advance(&()).unwrap().unwrap().whole);
}

/// Other content in the last page, and all else as it was: as if a page had been missed.
fn falsify(path: &Path) {
    let mut decoder = Decoder::new(File::open(path).unwrap()).unwrap();
    let header = *decoder.header();
    let (mut pages, mut page) = (Vec::new(), vec![0; header.page_size.bytes()]);
    while let Some(pgno) = decoder.next_page(&mut page).unwrap() {
        pages.push((pgno, page.clone()));
    }
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    *pages.last_mut().unwrap().1.last_mut().unwrap() ^= 1;
    for (pgno, page) in pages {
        encoder.write_page(pgno, &page).unwrap();
    }
    fs::remove_file(path).unwrap(); // the local state has it under another name
    fs::write(path, encoder.finish().unwrap().0).unwrap();
}

/// Changes a byte of page 2 that no row holds.
fn rot(copy: &Path) {
    let script = "printf x | dd of=\"$0\" bs=1 seek=5000 conv=notrunc status=none";
    assert!(Command::new("sh").args(["-c", script]).arg(copy).status().unwrap().success());
}
