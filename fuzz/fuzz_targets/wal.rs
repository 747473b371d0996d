//! Any bytes as a WAL: no panic, and a frame verifies exactly if a plain reading of the format's
//! description says so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sqlite::Salts;
use sqlite::wal::{FRAME_HEADER, HEADER, WalHeader};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, frames)) = bytes.split_first_chunk::<{ HEADER as usize }>() else { return };
    let mut head = *head;
    if head[0] % 8 != 0 {
        mend_header(&mut head);
    }
    let Some(header) = WalHeader::parse(&head) else {
        assert_eq!(head[0] % 8, 0, "a good header is refused");
        return;
    };
    let big_endian = head[3] & 1 == 1;
    assert_eq!((header.page_size.bytes() as u32, header.salts), (word(&head, 8), salts(&head, 16)));
    let (mut known, mut checksum) = ((word(&head, 24), word(&head, 28)), header.checksum);
    for frame in frames.chunks_exact(FRAME_HEADER + header.page_size.bytes()) {
        let mut frame = frame.to_vec();
        if frame[0] % 4 != 0 {
            mend_frame(&mut frame, &head, known, big_endian);
        }
        let sum = sum_of_frame(&frame, known, big_endian);
        let stored = (word(&frame, 16), word(&frame, 20));
        let is_good =
            word(&frame, 0) != 0 && salts(&frame, 8) == salts(&head, 16) && stored == sum;
        let verified = header.verify(checksum, &frame);
        assert_eq!(verified.map(|it| (it.0, it.1)), is_good.then_some(sum));
        let Some(next) = verified else { return };
        (known, checksum) = (sum, next);
    }
});

/// A fuzzer cannot guess a checksum; this helps it to get behind that wall.
fn mend_header(head: &mut [u8]) {
    let big_endian = head[3] & 1 == 1;
    set(head, 0, 0x377f_0682 | u32::from(big_endian));
    set(head, 4, 3_007_000);
    set(head, 8, 512 << (head[11] % 8));
    let (s0, s1) = sum((0, 0), &head[..24], big_endian);
    set(head, 24, s0);
    set(head, 28, s1);
}

fn mend_frame(frame: &mut [u8], head: &[u8], before: (u32, u32), big_endian: bool) {
    frame[8..16].copy_from_slice(&head[16..24]);
    let (s0, s1) = sum_of_frame(frame, before, big_endian);
    set(frame, 16, s0);
    set(frame, 20, s1);
}

fn sum_of_frame(frame: &[u8], before: (u32, u32), big_endian: bool) -> (u32, u32) {
    sum(sum(before, &frame[..8], big_endian), &frame[FRAME_HEADER..], big_endian)
}

fn sum((s0, s1): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let (mut s0, mut s1) = (u64::from(s0), u64::from(s1));
    for at in (0..bytes.len()).step_by(8) {
        let read = |at| match big_endian {
            true => u64::from(word(bytes, at)),
            false => u64::from(word(bytes, at).swap_bytes()),
        };
        s0 = (s0 + read(at) + s1) % (1 << 32);
        s1 = (s1 + read(at + 4) + s0) % (1 << 32);
    }
    (s0 as u32, s1 as u32)
}

fn salts(bytes: &[u8], at: usize) -> Salts {
    Salts(word(bytes, at), word(bytes, at + 4))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn set(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
}
