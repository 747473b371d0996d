//! Any bytes: neither way of reading them may panic, and the two must agree.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ltx::{Decoder, Error, FileCheck, Header, Index, Result, decode_frames, merge};

type Contents = (Header, BTreeMap<u32, Vec<u8>>);

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    let streamed = match read(&file) {
        // A fuzzer cannot guess a checksum; help it to get behind that wall.
        Err(Error::FileChecksum { computed, .. }) => {
            let at = file.len() - 8;
            file[at..].copy_from_slice(&computed.get().to_be_bytes());
            read(&file)
        }
        other => other,
    };
    match (read_ranges(&file), streamed) {
        (Ok(ranges), Ok((contents, _))) => assert_eq!(ranges, contents),
        (Ok(_), Err(error)) => panic!("ranges are accepted, the stream is not: {error}"),
        (Err(error), Ok((_, index_trusted))) => assert!(!index_trusted, "{error}"),
        (Err(_), Err(_)) => return,
    }
    rewrite(&file);
});

fn read(file: &[u8]) -> Result<(Contents, bool)> {
    let mut decoder = Decoder::new(file)?;
    let header = *decoder.header();
    let mut page = vec![0; header.page_size.bytes()];
    let mut pages = BTreeMap::new();
    while let Some(pgno) = decoder.next_page(&mut page)? {
        pages.insert(pgno.get(), page.clone());
    }
    let index_trusted = decoder.finish()?.index_trusted;
    Ok(((header, pages), index_trusted))
}

fn read_ranges(file: &[u8]) -> Result<Contents> {
    let header = Header::decode(file.first_chunk().ok_or(Error::Truncated)?)?;
    let index = Index::parse(file, file.len() as u64)?;
    let mut check = FileCheck::new(&header, &index)?;
    let mut pages = BTreeMap::new();
    for entries in index.entries().chunks(3) {
        let range = entries[0].offset as usize..entries[entries.len() - 1].end() as usize;
        check.add(&decode_frames(&header, &file[range], entries, |pgno, page| {
            pages.insert(pgno.get(), page.to_vec());
            Ok::<_, Error>(())
        })?);
    }
    check.finish()?;
    Ok((header, pages))
}

/// A valid file, merged with nothing, is a valid file with the same pages.
fn rewrite(file: &[u8]) {
    let decoder = Decoder::new(file).expect("read before");
    if decoder.header().commit == 0 {
        return;
    }
    let merged = merge(vec![decoder], Vec::new()).expect("valid input");
    let (before, after) = (read(file).expect("valid"), read(&merged.out).expect("just written"));
    assert_eq!(before.0.1, after.0.1);
    assert!(after.1, "the index of a new file is right");
}
