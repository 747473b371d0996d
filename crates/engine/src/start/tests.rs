use super::*;

fn txids(numbers: impl IntoIterator<Item = u64>) -> Vec<Txid> {
    numbers.into_iter().map(|n| Txid::new(n).unwrap()).collect()
}

fn decided(local: &[u64], remote: u64) -> Start {
    decide(&txids(local.iter().copied()), Txid::new(remote))
}

#[test]
fn a_snapshot_that_was_cut_off_keeps_nobody_from_going_on() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage::FileStorage::new(folder.path());
    std::fs::create_dir_all(folder.path().join("ltx/9")).unwrap();
    let name = "ltx/9/0000000000000001-0000000000000005.ltx";
    std::fs::write(folder.path().join(name), b"LTX1").unwrap();
    let remote = Remote::read(&storage).unwrap();
    assert_eq!(remote.base, Some(0));
    assert!(remote.inventory(Some(7)).is_borrowed(), "one of ours is due at once");
}

/// A captured file, of this history if of any, whose page holds this.
fn captured(lineage: Option<u64>, byte: u8) -> Vec<u8> {
    let (size, txids) = (ltx::PageSize::new(512).unwrap(), TxidRange::single(TXID));
    let mut header = Header::new(size, 3, txids, ltx::Timestamp::from_millis(1));
    let sum = page_sum(Pgno::FIRST, &[byte; 512]);
    lineage.into_iter().for_each(|lineage| header.set_tag(Tag { sum, lineage }));
    let mut encoder = ltx::Encoder::new(Vec::new(), header).unwrap();
    let page: Vec<u8> = (0..=255).cycle().map(|it: u8| it ^ byte).take(512).collect();
    encoder.write_page(Pgno::FIRST, &page).unwrap();
    encoder.finish().unwrap().0
}

const TXID: Txid = Txid::FIRST.next();

/// What is said of a replica with this file, where the file of our history is the other.
fn compared(there: &[u8], here: &[u8]) -> Newest {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::at(&folder.path().join("app.db"), None, u64::MAX);
    let storage = storage::FileStorage::new(folder.path().join("replica"));
    let name = TxidRange::single(TXID);
    for (path, file) in
        [(local.path(Level::L0, name), here), (storage.path(Level::L0, name), there)]
    {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    newest(&local, &storage, &Remote::read(&storage).unwrap()).unwrap()
}

#[test]
fn only_what_is_left_of_our_own_file_is_damage() {
    let ours = captured(Some(7), 1);
    let is_damage = |there: &[u8]| matches!(compared(there, &ours), Newest::Damaged(..));
    assert_eq!(compared(&ours, &ours), Newest::Same);
    for cut in [0, 50, 100, ours.len() - 1] {
        assert!(is_damage(&ours[..cut]), "{cut}");
    }
    let foreign = [captured(Some(8), 1), captured(Some(7), 2), captured(None, 1)];
    for other in &foreign {
        assert_eq!(compared(other, &ours), Newest::Other);
        assert_eq!(compared(&[&other[..], b"more"].concat(), &ours), Newest::Other);
        assert_eq!(compared(&other[..other.len() - 1], &ours), Newest::Other);
    }
    // If it is ours that is cut, its tag has the say.
    assert_eq!(compared(&ours, &ours[..ours.len() - 1]), Newest::Same);
    for other in &foreign {
        assert_eq!(compared(other, &ours[..ours.len() - 1]), Newest::Other);
    }
    // Where both have come to harm, that there is not overlooked.
    let mut rotten = ours.clone();
    rotten[120] ^= 1;
    assert!(matches!(compared(&ours[..ours.len() - 1], &rotten), Newest::Damaged(..)));
    assert_eq!(compared(&foreign[2], &ours[..5]), Newest::Other);
    // Nor is it damage if nobody knows what ours is.
    assert_eq!(compared(&foreign[2][..120], &foreign[2]), Newest::Other);
}

#[test]
fn begins_where_both_sides_agree() {
    let at = |n| Start::Continue(Txid::new(n).unwrap());
    assert_eq!(decided(&[], 0), Start::Fresh);
    assert_eq!(decided(&[9], 9), at(9));
    assert_eq!(decided(&[8, 9, 10], 8), at(10));
    assert_eq!(decided(&[1, 2], 0), at(2));
}

#[test]
fn a_replica_that_cannot_be_continued_is_anchored_behind_its_end() {
    for (local, remote) in [(&[][..], 5), (&[3], 5), (&[8, 9], 5), (&[6, 8], 5)] {
        match decided(local, remote) {
            Start::Anchor { after, .. } => assert_eq!(after.get(), remote),
            other => panic!("{other:?} for {local:?} and {remote}"),
        }
    }
}

#[test]
fn replicas_share_one_history() {
    let txid = |n| Txid::new(n).unwrap();
    let anchor = |n| Some(Start::Anchor { after: txid(n), reason: n.to_string() });
    let on = Some(Start::Continue(txid(9)));
    let combined = |starts: &[Option<Start>]| combine(starts, Some(txid(9)));
    assert_eq!(combined(&[on.clone(), None]), Start::Continue(txid(9)));
    assert_eq!(combined(&[None, None]), Start::Continue(txid(9)));
    assert_eq!(combined(&[on.clone(), anchor(7)]), Start::Continue(txid(9)));
    assert_eq!(combined(&[on.clone(), Some(Start::Fresh)]), Start::Continue(txid(9)));
    assert_eq!(combined(&[on, anchor(12)]), anchor(12).unwrap());
    assert_eq!(combined(&[anchor(3), anchor(7)]), anchor(7).unwrap());
    assert_eq!(combined(&[Some(Start::Fresh), anchor(7)]), anchor(7).unwrap());
    // The other one may hold all that is here, under the names that would be given again.
    let silent = combined(&[anchor(7), None]);
    assert!(matches!(silent, Start::Anchor { after, .. } if after == txid(9)), "{silent:?}");
    assert_eq!(combined(&[Some(Start::Fresh), None]), Start::Fresh);
}

#[test]
fn a_replica_that_looks_emptied_gets_names_that_it_never_held() {
    match decided(&[8, 9], 0) {
        Start::Anchor { after, .. } => assert_eq!(after.get(), 9),
        other => panic!("{other:?}"),
    }
}
