//! Any bytes as the two headers of a WAL-index: no panic, and only equal copies are believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sqlite::wal_index::parse;

fuzz_target!(|bytes: &[u8]| {
    let Some(copies) = bytes.first_chunk::<96>() else { return };
    if let Some((tip, page_size)) = parse(copies) {
        assert_eq!(copies[..48], copies[48..]);
        assert!(page_size.is_some() || tip.frame == 0);
    }
});
