//! A damaged file is rejected, or it still means the same.

use crate::sample::{Pages, encode, header, page, read, read_both, txids};
use crate::vectors;

fn samples() -> Vec<Vec<u8>> {
    let pages = Pages::from_iter((1..=4).map(|n| (n, page(512, n.into()))));
    let snapshot = encode(header(512, 4, txids(1, 3)), &pages);
    let increment = encode(header(512, 9, txids(2, 2)), &pages);
    let frame_form = vectors::file("frame-v0.5.15/replica/ltx/0", 2);
    let stored_frame = vectors::file("mixed-v0.5.15-then-v0.5.17/replica/ltx/0", 2);
    let checksummed = vectors::file("synthetic/checksummed/ltx/0", 1);
    vec![snapshot, increment, frame_form, stored_frame, checksummed]
}

#[test]
fn every_changed_bit_is_noticed_or_harmless() {
    for file in samples() {
        let whole = read_both(&file).unwrap();
        let mut harmless = 0;
        for at in 0..file.len() {
            // In large incompressible pages all bytes are alike: look at some.
            if file.len() > 4096 && at > 600 && at + 300 < file.len() && at % 41 != 0 {
                continue;
            }
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut damaged = file.clone();
                damaged[at] ^= mask;
                if let Ok(contents) = read_both(&damaged) {
                    assert_eq!(contents, whole, "byte {at} xor {mask:#x}");
                    harmless += 1;
                }
            }
        }
        // Only a compressed payload has several forms with one meaning.
        assert!(harmless < file.len() / 4, "{harmless} harmless changes");
    }
}

#[test]
fn every_truncation_is_noticed() {
    for file in samples() {
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "cut to {len} of {} bytes", file.len());
        }
    }
}

#[test]
fn appended_bytes_are_noticed() {
    for file in samples() {
        for byte in [0, 1, 255] {
            let longer = [file.as_slice(), &[byte]].concat();
            assert!(matches!(read(&longer), Err(ltx::Error::TrailingBytes)));
            assert!(crate::sample::read_ranges(&longer, 1).is_err());
        }
    }
}
