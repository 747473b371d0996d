//! A merge of files leaves what applying them one by one leaves.

use ltx::{Decoder, Error, Header, TxidRange, merge};
use proptest::prelude::*;

use crate::history::{History, steps, tag};
use crate::sample::{Pages, encode, header, page, read_both, txids};

fn merged(files: &[impl AsRef<[u8]>]) -> ltx::Result<Vec<u8>> {
    let inputs = files.iter().map(|file| Decoder::new(file.as_ref()));
    Ok(merge(inputs.collect::<ltx::Result<_>>()?, Vec::new())?.out)
}

fn one_page(page_size: u32, range: TxidRange) -> Vec<u8> {
    let pages = Pages::from([(1, page(page_size as usize, 1))]);
    encode(header(page_size, 1, range), &pages)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_part_of_any_history(steps in steps(), cut in any::<[prop::sample::Index; 2]>()) {
        let history = History::new(512, &steps);
        let (a, b) = (cut[0].index(steps.len()) + 1, cut[1].index(steps.len()) + 1);
        let (first, last) = (a.min(b), a.max(b));

        let contents = read_both(&merged(&history.files[first - 1..last]).unwrap()).unwrap();
        prop_assert_eq!(&contents.pages, &history.net_change(first, last));
        if first == 1 {
            prop_assert_eq!(&contents.pages, &history.states[last - 1]);
        }
        let [first, last] = [first, last].map(|txid| txid as u64);
        let newest = history.files[last as usize - 1].first_chunk().unwrap();
        let newest = Header::decode(newest).unwrap();
        let expected = Header { txids: txids(first, last), ..newest };
        prop_assert_eq!(contents.header, expected);
        prop_assert_eq!(contents.header.tag(), Some(tag(last)));
    }

    #[test]
    fn in_two_overlapping_steps(steps in steps(), cut in any::<[prop::sample::Index; 2]>()) {
        let history = History::new(512, &steps);
        let all = steps.len();
        prop_assume!(all >= 2);
        let middle = cut[0].index(all - 1) + 1;
        let overlap = cut[1].index(middle + 1);
        let older = merged(&history.files[..middle]).unwrap();
        let newer = merged(&history.files[middle - overlap..]).unwrap();
        let contents = read_both(&merged(&[older, newer]).unwrap()).unwrap();
        prop_assert_eq!(&contents.pages, &history.states[all - 1]);
    }
}

#[test]
fn pages_cut_off_by_a_shrink_are_dropped() {
    let big = Pages::from_iter((1..=5).map(|n| (n, page(512, n.into()))));
    let small = Pages::from([(1, page(512, 77))]);
    let files =
        [encode(header(512, 5, txids(1, 1)), &big), encode(header(512, 2, txids(2, 2)), &small)];
    let contents = read_both(&merged(&files).unwrap()).unwrap();
    assert_eq!(contents.header.commit, 2);
    assert_eq!(contents.pages, Pages::from([(1, page(512, 77)), (2, page(512, 2))]));
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let file = |min, max| one_page(512, txids(min, max));
    let gap = merged(&[file(1, 1), file(3, 3)]);
    assert!(matches!(gap, Err(Error::Discontinuous { .. })));
    let contained = merged(&[file(1, 4), file(2, 4)]);
    assert!(matches!(contained, Err(Error::Discontinuous { .. })));
    let sizes = merged(&[file(1, 1), one_page(1024, txids(2, 2))]);
    assert!(matches!(sizes, Err(Error::MixedPageSizes { first: 512, other: 1024 })));
    assert!(matches!(merged(&[] as &[Vec<u8>]), Err(Error::NothingToMerge)));
}

#[test]
fn a_hole_in_a_snapshot_fails_the_merge() {
    let grown_without_page_2 = Pages::from([(3, page(512, 3))]);
    let files =
        [one_page(512, txids(1, 1)), encode(header(512, 3, txids(2, 2)), &grown_without_page_2)];
    assert!(matches!(merged(&files), Err(Error::MissingPage(2))));
}

#[test]
fn every_input_is_verified_to_its_end() {
    let mut damaged = one_page(512, txids(2, 2));
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let result = merged(&[one_page(512, txids(1, 1)), damaged]);
    assert!(matches!(result, Err(Error::FileChecksum { .. })));
}
