//! Small files to test with, and the ways to read them.

use std::collections::BTreeMap;

use ltx::{
    Decoder, Encoder, FileCheck, Header, Index, PageSize, Pgno, Timestamp, Txid, TxidRange,
    decode_frames,
};

/// Page content by page number.
pub(crate) type Pages = BTreeMap<u32, Vec<u8>>;

pub(crate) fn pgno(number: u32) -> Pgno {
    Pgno::new(number).unwrap()
}

pub(crate) fn txids(min: u64, max: u64) -> TxidRange {
    TxidRange::new(Txid::new(min).unwrap(), Txid::new(max).unwrap()).unwrap()
}

pub(crate) fn header(page_size: u32, commit: u32, txids: TxidRange) -> Header {
    let timestamp = Timestamp::from_millis(1_795_000_000_000 + txids.max.get() as i64);
    Header::new(PageSize::new(page_size).unwrap(), commit, txids, timestamp)
}

/// A page that is different for each seed: zeros, a pattern, text or noise.
pub(crate) fn page(size: usize, seed: u64) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    let mut page: Vec<u8> = match seed % 4 {
        0 => vec![0; size],
        1 => (0..size).map(|i| (i / 3) as u8).collect(),
        2 => format!("row {seed} of many, ").into_bytes().into_iter().cycle().take(size).collect(),
        _ => (0..size).map(|_| noise()).collect(),
    };
    page[size - 8..].copy_from_slice(&seed.to_be_bytes());
    page
}

pub(crate) fn encode(header: Header, pages: &Pages) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    for (&number, page) in pages {
        encoder.write_page(pgno(number), page).unwrap();
    }
    assert_eq!(encoder.pages(), pages.len() as u64);
    encoder.finish().unwrap().0
}

/// What a file that was read held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) header: Header,
    pub(crate) pages: Pages,
    pub(crate) index_trusted: bool,
}

/// Reads a file as a stream.
pub(crate) fn read(file: &[u8]) -> ltx::Result<Contents> {
    let mut decoder = Decoder::new(file)?;
    let header = *decoder.header();
    let mut page = vec![0; header.page_size.bytes()];
    let mut pages = Pages::new();
    while let Some(pgno) = decoder.next_page(&mut page)? {
        assert!(pages.insert(pgno.get(), page.clone()).is_none());
    }
    let index_trusted = decoder.finish()?.index_trusted;
    Ok(Contents { header, pages, index_trusted })
}

/// Reads a file as threads do: by its index, in ranges of some pages, the last range first.
pub(crate) fn read_ranges(file: &[u8], pages_per_range: usize) -> ltx::Result<Contents> {
    let header = file.first_chunk().ok_or(ltx::Error::Truncated)?;
    let header = Header::decode(header)?;
    let index = Index::parse(file, file.len() as u64)?;
    let mut pages = Pages::new();
    let mut sums = Vec::new();
    for entries in index.entries().chunks(pages_per_range).rev() {
        let range = entries[0].offset as usize..entries[entries.len() - 1].end() as usize;
        sums.push(decode_frames(&header, &file[range], entries, |pgno, page| {
            assert!(pages.insert(pgno.get(), page.to_vec()).is_none());
            Ok::<_, ltx::Error>(())
        })?);
    }
    let mut check = FileCheck::new(&header, &index)?;
    sums.iter().rev().for_each(|sum| check.add(sum));
    check.finish()?;
    Ok(Contents { header, pages, index_trusted: true })
}

/// Reads a file both ways and asserts that they agree: ranges give what the stream gives, and fail
/// if it fails or does not trust the index.
pub(crate) fn read_both(file: &[u8]) -> ltx::Result<Contents> {
    let streamed = read(file);
    for pages_per_range in [1, 3, usize::MAX] {
        match (read_ranges(file, pages_per_range), &streamed) {
            (Ok(ranges), Ok(contents)) => {
                assert_eq!((ranges.header, &ranges.pages), (contents.header, &contents.pages));
            }
            (Ok(_), Err(error)) => panic!("ranges are accepted, the stream is not: {error}"),
            (Err(error), Ok(contents)) => assert!(!contents.index_trusted, "{error}"),
            (Err(_), Err(_)) => {}
        }
    }
    streamed
}
