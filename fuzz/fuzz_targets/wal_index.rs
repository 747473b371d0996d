//! Any bytes as a WAL-index: no panic, only two equal copies of a header with a right checksum are
//! believed, and of each page the last frame is found.
#![no_main]

use std::collections::BTreeMap;
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use sqlite::wal_index::{WalIndex, parse};

const HEADER: usize = 48;
const BLOCK: usize = 32 * 1024;
const MOST_FRAMES: u32 = 20_000;

fuzz_target!(|bytes: &[u8]| {
    let Some(copies) = bytes.first_chunk::<{ 2 * HEADER }>() else { return };
    read_header(*copies);
    read_frames(bytes);
});

fn read_header(mut copies: [u8; 2 * HEADER]) {
    let (bit, is_mended) = (usize::from(copies[95]), copies[94] % 4 != 0);
    if is_mended {
        // A fuzzer cannot guess a checksum; help it to get behind that wall.
        copies[..4].copy_from_slice(&3_007_000_u32.to_ne_bytes());
        copies[12] |= 1;
        copies[14..16].copy_from_slice(&512_u16.to_ne_bytes());
        let (s0, s1) = sum(&copies[..40]);
        copies[40..44].copy_from_slice(&s0.to_ne_bytes());
        copies[44..48].copy_from_slice(&s1.to_ne_bytes());
        copies.copy_within(..HEADER, HEADER);
        let (tip, page_size) = parse(&copies).expect("a good header");
        assert_eq!(page_size.map(|it| it.bytes()), Some(512));
        assert_eq!((tip.frame, tip.pages), (word(&copies, 16), word(&copies, 20)));
        copies[bit % copies.len()] ^= 1 << (bit % 8);
    }
    match parse(&copies) {
        None => {}
        Some(_) if is_mended => panic!("two different copies are believed"),
        Some((tip, page_size)) => {
            assert_eq!(copies[..HEADER], copies[HEADER..]);
            assert_eq!(sum(&copies[..40]), (word(&copies, 40), word(&copies, 44)));
            assert!(page_size.is_some() || tip.frame == 0);
        }
    }
}

fn read_frames(bytes: &[u8]) {
    let (after, count) = (word(bytes, 0) % MOST_FRAMES, word(bytes, 4) % MOST_FRAMES);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("write");
    let index = WalIndex::open(file.path()).expect("open");
    let numbers: Option<Vec<(u32, u32)>> = (after + 1..=after + count)
        .map(|frame| bytes.get(place(frame)..).and_then(|it| it.first_chunk()).map(|it| (frame, it)))
        .map(|it| it.map(|(frame, pgno)| (u32::from_ne_bytes(*pgno), frame)))
        .collect();
    let last: Option<BTreeMap<u32, u32>> = numbers.map(|it| it.into_iter().collect());
    let good = last.filter(|last| !last.contains_key(&0));
    let found = index.last_frames(after, after + count);
    let found = found.ok().map(|it| it.into_iter().map(|(pgno, frame)| (pgno.get(), frame)).collect());
    assert_eq!(found, good);
}

/// Where the page number of a frame stands: the first block begins with 136 bytes of header.
fn place(frame: u32) -> usize {
    match frame as usize - 1 {
        first @ ..4062 => 136 + 4 * first,
        other => BLOCK * (1 + (other - 4062) / 4096) + 4 * ((other - 4062) % 4096),
    }
}

fn sum(bytes: &[u8]) -> (u32, u32) {
    let (mut s0, mut s1) = (0_u64, 0_u64);
    for at in (0..bytes.len()).step_by(8) {
        s0 = (s0 + u64::from(word(bytes, at)) + s1) % (1 << 32);
        s1 = (s1 + u64::from(word(bytes, at + 4)) + s0) % (1 << 32);
    }
    (s0 as u32, s1 as u32)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
