//! Files that Litestream wrote, and files made to be wrong: `tests/vectors/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ltx::{Decoder, Error, Header, Level, Txid, TxidRange, merge};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sample::{Pages, read, read_both, read_ranges};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// The file of one transaction in a directory.
pub(crate) fn file(dir: &str, txid: u64) -> Vec<u8> {
    let range = TxidRange::single(Txid::new(txid).unwrap());
    fs::read(root().join(dir).join(range.file_name())).unwrap()
}

/// The files of a replica directory by level and range.
fn replica(dir: &Path) -> BTreeMap<(Level, TxidRange), Vec<u8>> {
    let mut files = BTreeMap::new();
    for level in Level::all() {
        let Ok(entries) = fs::read_dir(dir.join(level.to_string())) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let range = TxidRange::parse_file_name(name).unwrap();
            files.insert((level, range), fs::read(path).unwrap());
        }
    }
    files
}

/// Files that lead to the transaction, the longest stride first; none if there is no way.
fn chain(files: &BTreeMap<(Level, TxidRange), Vec<u8>>, target: Txid) -> Option<Vec<&Vec<u8>>> {
    let (mut chain, mut at) = (Vec::new(), 0);
    while at < target.get() {
        let usable = |range: &TxidRange| {
            range.min.get() <= at + 1 && range.max.get() > at && range.max <= target
        };
        let usable = files.iter().filter(|((_, range), _)| usable(range));
        let ((_, range), file) = usable.max_by_key(|((_, range), _)| range.max)?;
        at = range.max.get();
        chain.push(file);
    }
    Some(chain)
}

/// The database that the files leave when they are applied one after the other.
fn apply(files: &[&Vec<u8>]) -> Vec<u8> {
    let mut database = Vec::new();
    for file in files {
        let contents = read_both(file).unwrap();
        assert!(contents.index_trusted);
        put(&mut database, contents.header, &contents.pages);
    }
    database
}

fn put(database: &mut Vec<u8>, header: Header, pages: &Pages) {
    let size = header.page_size.bytes();
    database.resize(header.commit as usize * size, 0);
    for (&number, page) in pages {
        let at = (number as usize - 1) * size;
        database[at..at + size].copy_from_slice(page);
    }
}

/// The database that the merge of the files holds.
fn apply_merged(files: &[&Vec<u8>]) -> Vec<u8> {
    let inputs = files.iter().map(|file| Decoder::new(file.as_slice()).unwrap()).collect();
    let merged = merge(inputs, Vec::new()).unwrap().out;
    apply(&[&merged])
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_chain_restores_to_its_hash() {
    let mut restored = 0;
    for dir in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = fs::read_to_string(dir.join("sha256.json")) else { continue };
        let Value::Object(expected) = serde_json::from_str(&text).unwrap() else { panic!() };
        let files = replica(&dir.join("replica/ltx"));
        for (txid, hash) in &expected {
            let Ok(txid) = txid.parse() else { continue };
            let hash = hash.as_str().or_else(|| hash["sha256"].as_str()).unwrap();
            let chain = chain(&files, txid).unwrap();
            assert_eq!(sha256(&apply(&chain)), hash, "{} at {txid}", dir.display());
            assert_eq!(sha256(&apply_merged(&chain)), hash, "{} at {txid}", dir.display());
            restored += 1;
        }
        for txid in expected.get("unavailable").and_then(Value::as_array).into_iter().flatten() {
            let txid = txid.as_str().unwrap().parse().unwrap();
            assert!(chain(&files, txid).is_none(), "{} at {txid}", dir.display());
        }
    }
    assert!(restored >= 50, "only {restored} databases restored");
}

#[test]
fn every_file_of_litestream_decodes() {
    let mut files = 0;
    for dir in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()) {
        for ((level, range), file) in replica(&dir.join("replica/ltx")) {
            let contents = read_both(&file).unwrap();
            assert!(contents.index_trusted);
            assert_eq!(contents.header.txids, range);
            assert!(level != Level::SNAPSHOT || range.is_snapshot());
            assert_eq!(contents.header.tag(), None);
            assert_eq!(contents.header.encode().unwrap(), file[..Header::SIZE]);
            files += 1;
        }
    }
    assert!(files > 400, "only {files} files found");
}

#[test]
fn a_file_without_wal_range_decodes() {
    let contents = read_both(&file("vfs-written", 1)).unwrap();
    assert_eq!(contents.header.wal, ltx::WalRange::default());
}

#[test]
fn files_with_database_checksums_decode_and_merge_without() {
    let files = [1, 2].map(|txid| file("synthetic/checksummed/ltx/0", txid));
    let chain: Vec<_> = files.iter().collect();
    for file in &files {
        assert!(!read_both(file).unwrap().header.no_checksum);
    }
    assert_eq!(apply_merged(&chain), apply(&chain));
}

#[test]
fn wrong_files_are_rejected_for_what_is_wrong() {
    let reject = |name: &str| {
        let file = file(&format!("synthetic/{name}/ltx/0"), 1);
        assert!(read_ranges(&file, 2).is_err(), "{name}");
        read(&file).map(drop).unwrap_err()
    };
    assert!(matches!(reject("bad-post-apply"), Error::PostApply { .. }));
    assert!(matches!(reject("bad-flag1"), Error::BadHeader(_)));
    assert!(matches!(reject("bad-txid0"), Error::BadHeader(_)));
    assert!(matches!(reject("bad-negative-walsize"), Error::BadHeader(_)));
    assert!(matches!(reject("bad-salt-without-offset"), Error::BadHeader(_)));
    assert!(matches!(reject("bad-missing-page"), Error::MissingPage(_)));
    assert!(matches!(reject("bad-commit-too-big"), Error::MissingPage(_)));
    assert!(matches!(reject("bad-duplicate-page"), Error::Disorder { .. }));
    assert!(matches!(reject("bad-trailing-bytes"), Error::TrailingBytes));
}

#[test]
fn odd_files_that_litestream_restores_are_accepted() {
    let accept = |name: &str| read_both(&file(&format!("synthetic/{name}/ltx/0"), 1)).unwrap();
    let dropped = accept("bad-page-beyond-commit");
    assert!(dropped.index_trusted);
    assert_eq!(dropped.pages.len() as u32, dropped.header.commit);
    assert!(!accept("bad-index-size-field").index_trusted);
    assert!(!accept("ok-wrong-index-offset").index_trusted);
    let reserved = accept("ok-reserved-nonzero");
    assert!(reserved.index_trusted);
    assert_eq!(reserved.header.tag(), None);
}

#[test]
fn snapshot_beyond_one_gibibyte_leaves_out_the_lock_page() {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .arg(root().join("synthetic/lockpage-65536-1GiB.ltx.gz"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut file = Vec::new();
    gzip.stdout.take().unwrap().read_to_end(&mut file).unwrap();
    assert!(gzip.wait().unwrap().success());
    assert_eq!(sha256(&file), "92d044d04dddfd07575d9bbb917ace0a1d345df969f54ced25578556c087f573");

    let mut decoder = Decoder::new(file.as_slice()).unwrap();
    let header = *decoder.header();
    let (mut page, lock_page) = (vec![0; header.page_size.bytes()], vec![0; 65536]);
    let (mut database, mut next) = (Sha256::new(), 1);
    while let Some(pgno) = decoder.next_page(&mut page).unwrap() {
        if next == header.page_size.lock_page().get() {
            database.update(&lock_page);
            next += 1;
        }
        assert_eq!(pgno.get(), next);
        database.update(&page);
        next += 1;
    }
    assert!(decoder.finish().unwrap().index_trusted);
    assert_eq!(next - 1, header.commit);
    let hash = "8e0a4395718f9fbf269805d0d7e1d2143bfb78f3e089ecdf3117a0bb47f9bbcd";
    assert_eq!(hex(&database.finalize()), hash);
}
