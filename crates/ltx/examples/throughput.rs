//! How fast pages are hashed, compressed and read back, in MB/s of page data on one thread.
//!
//! `cargo run --release -p ltx --example throughput [page size]`
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ltx::{
    Crc64, Decoder, Encoder, FrameRun, Header, Index, PageSize, Pgno, Timestamp, Txid, TxidRange,
    decode_frames, page_sum,
};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

const PAGES: u32 = 4096;
const ENOUGH: Duration = Duration::from_millis(1500);

fn main() {
    let size = std::env::args().nth(1).map_or(4096, |size| size.parse().unwrap());
    let page_size = PageSize::new(size).unwrap();
    for (name, page) in [("rows", rows as fn(u32, usize) -> Vec<u8>), ("noise", noise)] {
        let pages: Vec<_> = (1..=PAGES).map(|n| page(n, page_size.bytes())).collect();
        measure(name, page_size, &pages);
    }
}

fn measure(name: &str, page_size: PageSize, pages: &[Vec<u8>]) {
    let numbered = || (1..).filter_map(Pgno::new).zip(pages);
    let total = pages.len() * page_size.bytes();
    let report = |what: &str, work: &mut dyn FnMut()| {
        let (mut best, begin) = (Duration::MAX, Instant::now());
        while begin.elapsed() < ENOUGH {
            let start = Instant::now();
            work();
            best = best.min(start.elapsed());
        }
        let (mbps, nanos) = (total as f64 / best.as_secs_f64() / 1e6, best.as_nanos());
        println!("{name:6} {what:22} {mbps:8.0} MB/s {:7} ns/page", nanos / pages.len() as u128);
    };

    report("page_sum", &mut || {
        for (pgno, page) in numbered() {
            black_box(page_sum(pgno, page));
        }
    });
    report("Crc64 head + page", &mut || {
        let mut crc = Crc64::new();
        for page in pages {
            crc.update(&page[..10]);
            crc.update(page);
        }
        black_box(crc.value());
    });
    report("Crc64 page", &mut || {
        let mut crc = Crc64::new();
        for page in pages {
            crc.update(page);
        }
        black_box(crc.value());
    });

    let mut block = vec![0; get_maximum_output_size(page_size.bytes())];
    let mut table = CompressTable::default();
    report("LZ4 compress alone", &mut || {
        for page in pages {
            black_box(compress_into_with_table(page, &mut block, &mut table).unwrap());
        }
    });
    let mut run = FrameRun::new(page_size);
    report("FrameRun::push", &mut || {
        run.clear();
        for (pgno, page) in numbered() {
            run.push(pgno, page).unwrap();
        }
    });

    let txids = TxidRange::single(Txid::FIRST);
    let header = Header::new(page_size, PAGES, txids, Timestamp::from_millis(0));
    let write = |run: &FrameRun| {
        let mut encoder = Encoder::new(Vec::new(), header).unwrap();
        encoder.append(run).unwrap();
        encoder.finish().unwrap().0
    };
    let file = write(&run);
    report("Encoder::append, finish", &mut || {
        black_box(write(&run));
    });

    let index = Index::parse(&file, file.len() as u64).unwrap();
    let entries = index.entries();
    let frames = &file[entries[0].offset as usize..entries[entries.len() - 1].end() as usize];
    let mut page = vec![0; page_size.bytes()];
    report("LZ4 decompress alone", &mut || {
        for entry in entries {
            let frame = &file[entry.offset as usize + 10..entry.end() as usize];
            black_box(lz4_flex::block::decompress_into(frame, &mut page).unwrap());
        }
    });
    report("decode_frames", &mut || {
        let sink = |_, page: &[u8]| {
            black_box(page);
            Ok::<_, ltx::Error>(())
        };
        black_box(decode_frames(&header, frames, entries, sink).unwrap());
    });
    report("Decoder", &mut || {
        let mut decoder = Decoder::new(file.as_slice()).unwrap();
        while decoder.next_page(&mut page).unwrap().is_some() {
            black_box(&page);
        }
        decoder.finish().unwrap();
    });
    println!("{name:6} {:22} {:8.2} x", "compression", total as f64 / file.len() as f64);
}

/// A b-tree page as of a table with short text and numbers: cell pointers, free space, cells.
fn rows(pgno: u32, size: usize) -> Vec<u8> {
    let mut random = u64::from(pgno) * 0x9E37_79B9_7F4A_7C15 + 1;
    let mut page = vec![0; size];
    let (mut pointer, mut cell) = (8, size);
    for row in 0.. {
        let id = pgno as usize * 100 + row;
        let text = format!(
            "{id}customer-{}@example.com2026-11-{:02}T{:02}:00:00Z{:08x}",
            step(&mut random) % 100_000,
            step(&mut random) % 30,
            step(&mut random) % 24,
            step(&mut random)
        );
        if pointer + 2 + text.len() > cell - size / 8 {
            break;
        }
        cell -= text.len();
        page[cell..cell + text.len()].copy_from_slice(text.as_bytes());
        page[pointer..pointer + 2].copy_from_slice(&(cell as u16).to_be_bytes());
        pointer += 2;
    }
    page
}

/// A page that cannot be compressed.
fn noise(pgno: u32, size: usize) -> Vec<u8> {
    let mut random = u64::from(pgno) * 0x9E37_79B9_7F4A_7C15 + 1;
    (0..size).map(|_| step(&mut random) as u8).collect()
}

fn step(state: &mut u64) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u32
}
