//! What is written can be read.

use ltx::{Encoder, Error, FrameRun, PageSize};
use proptest::prelude::*;

use crate::sample::{Pages, encode, header, page, pgno, read_both, txids};

fn pages(size: usize, numbers: impl IntoIterator<Item = u32>) -> Pages {
    numbers.into_iter().map(|number| (number, page(size, number.into()))).collect()
}

#[test]
fn all_page_sizes() {
    for size in (9..=16).map(|shift| 1 << shift) {
        let pages = pages(size as usize, 1..=20);
        let header = header(size, 20, txids(1, 4));
        let contents = read_both(&encode(header, &pages)).unwrap();
        assert_eq!((contents.header, contents.pages), (header, pages));
        assert!(contents.index_trusted);
    }
}

#[test]
fn no_pages_at_all() {
    let header = header(512, 7, txids(2, 2));
    let contents = read_both(&encode(header, &Pages::new())).unwrap();
    assert!(contents.pages.is_empty());
}

#[test]
fn runs_made_apart_give_the_same_file() {
    let pages = pages(4096, (3..400).step_by(3));
    let header = header(4096, 500, txids(2, 2));
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    let mut run = FrameRun::new(header.page_size);
    for chunk in pages.iter().collect::<Vec<_>>().chunks(10) {
        run.clear();
        assert!(run.is_empty());
        chunk.iter().for_each(|(number, page)| run.push(pgno(**number), page).unwrap());
        assert_eq!(run.len_pages(), chunk.len());
        assert_eq!(run.pages().map(|(first, _)| first.get()), Some(*chunk[0].0));
        encoder.append(&run).unwrap();
    }
    let (file, trailer) = encoder.finish().unwrap();
    assert_eq!(file, encode(header, &pages));
    assert_eq!(file[file.len() - 8..], trailer.file.get().to_be_bytes());
}

#[test]
fn runs_and_pages_mix() {
    let pages = pages(512, 1..=9);
    let header = header(512, 9, txids(1, 1));
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    for (&number, page) in &pages {
        if number % 2 == 0 {
            encoder.write_page(pgno(number), page).unwrap();
        } else {
            let mut run = FrameRun::new(header.page_size);
            run.push(pgno(number), page).unwrap();
            encoder.append(&run).unwrap();
        }
    }
    assert_eq!(encoder.finish().unwrap().0, encode(header, &pages));
}

#[test]
fn encoder_refuses_what_would_be_invalid() {
    let zeros = [0; 512];
    let encoder = |min, max| Encoder::new(Vec::new(), header(512, 3, txids(min, max))).unwrap();

    let mut snapshot = encoder(1, 2);
    assert!(matches!(snapshot.write_page(pgno(2), &zeros), Err(Error::MissingPage(1))));
    let mut snapshot = encoder(1, 2);
    snapshot.write_page(pgno(1), &zeros).unwrap();
    snapshot.write_page(pgno(2), &zeros).unwrap();
    assert!(matches!(snapshot.finish(), Err(Error::MissingPage(3))));

    let mut increment = encoder(2, 2);
    assert!(matches!(increment.write_page(pgno(4), &zeros), Err(Error::BeyondCommit { .. })));
    let mut increment = encoder(2, 2);
    increment.write_page(pgno(2), &zeros).unwrap();
    assert!(matches!(increment.write_page(pgno(2), &zeros), Err(Error::Disorder { .. })));
    let mut increment = encoder(2, 2);
    assert!(matches!(increment.write_page(pgno(1), &[0; 511]), Err(Error::PageLength { .. })));

    let mut careless = encoder(1, 2);
    assert!(careless.write_page(pgno(1), &[0; 511]).is_err());
    assert!(matches!(careless.write_page(pgno(2), &zeros), Err(Error::MissingPage(1))));

    let mut run = FrameRun::new(PageSize::new(512).unwrap());
    let lock = PageSize::new(512).unwrap().lock_page();
    assert!(matches!(run.push(lock, &zeros), Err(Error::LockPage(_))));
    run.push(pgno(2), &zeros).unwrap();
    assert!(matches!(run.push(pgno(1), &zeros), Err(Error::Disorder { .. })));
    let other_size = FrameRun::new(PageSize::new(1024).unwrap());
    assert!(matches!(encoder(2, 2).append(&other_size), Err(Error::PageLength { .. })));

    let mut checksummed = header(512, 3, txids(1, 1));
    checksummed.no_checksum = false;
    assert!(Encoder::new(Vec::new(), checksummed).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_pages(
        shift in 9..=13_u32,
        seeds in prop::collection::btree_map(1..100_000_u32, any::<u64>(), 0..40),
        spare in 0..10_u32,
    ) {
        let size = 1 << shift;
        let pages: Pages =
            seeds.into_iter().map(|(number, seed)| (number, page(size as usize, seed))).collect();
        let commit = pages.keys().last().map_or(1, |last| last + spare);
        let header = header(size, commit, txids(2, 5));
        let contents = read_both(&encode(header, &pages)).unwrap();
        prop_assert!(contents.index_trusted);
        prop_assert_eq!((contents.header, contents.pages), (header, pages));
    }
}

#[test]
fn runs_and_readers_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<FrameRun>();
    is_send::<Encoder<Vec<u8>>>();
    is_send::<ltx::Decoder<&[u8]>>();
    is_send::<ltx::FramesSum>();
    is_send::<ltx::Index>();
}
