//! Any bytes as a WAL: nothing may panic, and a frame verifies only if its checksum continues.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sqlite::wal::{FRAME_HEADER, HEADER, WalHeader};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, frames)) = bytes.split_first_chunk::<{ HEADER as usize }>() else { return };
    let Some(header) = WalHeader::parse(head) else { return };
    let mut checksum = header.checksum;
    for frame in frames.chunks_exact(FRAME_HEADER + header.page_size.bytes()) {
        let Some(next) = header.verify(checksum, frame) else { return };
        assert_eq!(frame[8..16], head[16..24], "a frame of another WAL verified");
        checksum = next;
    }
});
