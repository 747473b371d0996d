//! The checks themselves. Each gets a fresh, empty storage.

use std::any::Any;
use std::io::{Read, Write};
use std::sync::Arc;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, Object, Storage};

/// An empty storage, and whatever must live as long as it does.
pub(crate) struct Fixture {
    pub(crate) storage: Arc<dyn Storage>,
    #[expect(dead_code, reason = "dropped with the fixture, not before")]
    pub(crate) keep: Box<dyn Any>,
}

type Check = fn(&dyn Storage);

/// Runs every check on a storage of its own.
pub(crate) fn run(fixture: impl Fn() -> Fixture) {
    let checks: &[(&str, Check)] = &[
        ("an empty replica is empty", an_empty_replica_is_empty),
        ("what is put can be read", what_is_put_can_be_read),
        ("ranges are exact", ranges_are_exact),
        ("missing objects are not found", missing_objects_are_not_found),
        ("lists are ordered and seek by min", lists_are_ordered_and_seek),
        ("times keep their milliseconds", times_keep_their_milliseconds),
        ("nothing is seen before commit", nothing_is_seen_before_commit),
        ("a dropped upload leaves nothing", a_dropped_upload_leaves_nothing),
        ("a second put replaces the first", a_second_put_replaces_the_first),
        ("files are copied in", files_are_copied_in),
        ("deleting twice is fine", deleting_twice_is_fine),
        ("empty and large objects", empty_and_large_objects),
        ("uploads run side by side", uploads_run_side_by_side),
    ];
    for (name, check) in checks {
        println!("{name}");
        check(&*fixture().storage);
    }
}

const NOON: i64 = 1_795_382_352_998;

fn range(min: u64, max: u64) -> TxidRange {
    let txid = |number| Txid::new(number).expect("a TXID is at least 1");
    TxidRange { min: txid(min), max: txid(max) }
}

fn put(storage: &dyn Storage, level: Level, txids: TxidRange, bytes: &[u8]) -> Object {
    let mut upload = storage.create(level, txids, Timestamp::from_millis(NOON)).expect("create");
    upload.write_all(bytes).expect("write");
    upload.commit().expect("commit")
}

fn read(storage: &dyn Storage, level: Level, txids: TxidRange, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = storage.open(level, txids, offset).expect("open");
    reader.read_to_end(&mut bytes).expect("read");
    bytes
}

fn names(objects: &[Object]) -> Vec<(u64, u64)> {
    objects.iter().map(|object| (object.txids.min.get(), object.txids.max.get())).collect()
}

fn an_empty_replica_is_empty(storage: &dyn Storage) {
    for level in Level::all() {
        assert_eq!(storage.list(level, Txid::FIRST).expect("list"), []);
    }
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
}

fn what_is_put_can_be_read(storage: &dyn Storage) {
    let put = put(storage, Level::L0, range(1, 1), b"hello");
    assert_eq!((put.level, put.txids, put.size), (Level::L0, range(1, 1), 5));
    assert_eq!(put.created.as_millis(), NOON);
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), [put]);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"hello");
    assert_eq!(storage.list(Level::SNAPSHOT, Txid::FIRST).expect("list"), []);
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
}

fn ranges_are_exact(storage: &dyn Storage) {
    let bytes: Vec<u8> = (0..=255).collect();
    put(storage, Level::SNAPSHOT, range(1, 9), &bytes);
    let mut part = [0; 16];
    storage.read_at(Level::SNAPSHOT, range(1, 9), 240, &mut part).expect("up to the last byte");
    assert_eq!(part, bytes[240..]);
    storage.read_at(Level::SNAPSHOT, range(1, 9), 256, &mut []).expect("nothing at the end");
    let past = storage.read_at(Level::SNAPSHOT, range(1, 9), 241, &mut part);
    assert!(matches!(past, Err(Error::Short { offset: 241, wanted: 16, .. })), "{past:?}");
    assert_eq!(read(storage, Level::SNAPSHOT, range(1, 9), 250), &bytes[250..]);
    assert_eq!(read(storage, Level::SNAPSHOT, range(1, 9), 256), b"");
}

fn missing_objects_are_not_found(storage: &dyn Storage) {
    put(storage, Level::L0, range(2, 2), b"other");
    let read = storage.read_at(Level::L0, range(1, 1), 0, &mut [0; 1]);
    let error = read.expect_err("read of a missing object");
    assert!(error.is_not_found(), "{error:?}");
    assert!(error.to_string().contains(&range(1, 1).file_name()), "{error} names the object");
    let error = storage.open(Level::L0, range(1, 1), 0).err().expect("open of a missing object");
    assert!(error.is_not_found(), "{error:?}");
}

fn lists_are_ordered_and_seek(storage: &dyn Storage) {
    let level = Level::all().nth(1).expect("level 1");
    for (min, max) in [(300, 300), (1, 16), (17, 40), (17, 30), (0xa_0000, 0xa_0001)] {
        put(storage, level, range(min, max), b"x");
    }
    put(storage, Level::L0, range(20, 20), b"another level");
    let list = |from| names(&storage.list(level, Txid::new(from).expect("txid")).expect("list"));
    assert_eq!(list(1), [(1, 16), (17, 30), (17, 40), (300, 300), (0xa_0000, 0xa_0001)]);
    assert_eq!(list(2), [(17, 30), (17, 40), (300, 300), (0xa_0000, 0xa_0001)]);
    assert_eq!(list(17), list(2));
    assert_eq!(list(301), [(0xa_0000, 0xa_0001)]);
    assert_eq!(list(u64::MAX), []);
}

fn times_keep_their_milliseconds(storage: &dyn Storage) {
    for (number, millis) in [0, 1, 999, NOON, NOON + 1].into_iter().enumerate() {
        let txids = range(number as u64 + 1, number as u64 + 1);
        let created = Timestamp::from_millis(millis);
        storage.create(Level::L0, txids, created).expect("create").commit().expect("commit");
        let listed = storage.list(Level::L0, txids.min).expect("list");
        assert_eq!(listed.iter().map(|it| it.created).collect::<Vec<_>>(), [created]);
    }
}

fn nothing_is_seen_before_commit(storage: &dyn Storage) {
    let mut upload =
        storage.create(Level::L0, range(1, 1), Timestamp::from_millis(NOON)).expect("create");
    upload.write_all(b"half").expect("write");
    upload.flush().expect("flush");
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), []);
    let open = storage.open(Level::L0, range(1, 1), 0).err().expect("not there yet");
    assert!(open.is_not_found());
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
    upload.write_all(b" and half").expect("write");
    upload.commit().expect("commit");
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"half and half");
}

fn a_dropped_upload_leaves_nothing(storage: &dyn Storage) {
    put(storage, Level::L0, range(1, 1), b"first");
    for txids in [range(1, 1), range(2, 2)] {
        let mut upload =
            storage.create(Level::L0, txids, Timestamp::from_millis(NOON)).expect("create");
        upload.write_all(b"never mind").expect("write");
    }
    assert_eq!(names(&storage.list(Level::L0, Txid::FIRST).expect("list")), [(1, 1)]);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"first");
}

fn a_second_put_replaces_the_first(storage: &dyn Storage) {
    put(storage, Level::L0, range(7, 7), b"a longer first version");
    let second = put(storage, Level::L0, range(7, 7), b"second");
    assert_eq!(read(storage, Level::L0, range(7, 7), 0), b"second");
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), [second]);
}

fn files_are_copied_in(storage: &dyn Storage) {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    let bytes = vec![0x5a; 3_000_000];
    file.write_all(&bytes).expect("write");
    let created = Timestamp::from_millis(NOON);
    let put = storage.put_file(Level::L0, range(3, 3), created, file.path()).expect("put");
    assert_eq!((put.size, put.created), (3_000_000, created));
    assert_eq!(read(storage, Level::L0, range(3, 3), 0), bytes);
    assert_eq!(std::fs::read(file.path()).expect("source").len(), bytes.len(), "source is kept");
}

fn deleting_twice_is_fine(storage: &dyn Storage) {
    put(storage, Level::L0, range(1, 1), b"a");
    put(storage, Level::L0, range(2, 2), b"b");
    let gone = [(Level::L0, range(1, 1)), (Level::SNAPSHOT, range(1, 5))];
    storage.delete(&gone).expect("delete");
    storage.delete(&gone).expect("delete again");
    assert_eq!(names(&storage.list(Level::L0, Txid::FIRST).expect("list")), [(2, 2)]);
    storage.delete(&[]).expect("delete nothing");
}

fn empty_and_large_objects(storage: &dyn Storage) {
    assert_eq!(put(storage, Level::L0, range(1, 1), b"").size, 0);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"");
    let large: Vec<u8> = (0..12_000_000_u32).map(|i| (i / 7 + i % 251) as u8).collect();
    assert_eq!(put(storage, Level::SNAPSHOT, range(1, 1), &large).size, large.len() as u64);
    assert_eq!(read(storage, Level::SNAPSHOT, range(1, 1), 0), large);
}

fn uploads_run_side_by_side(storage: &dyn Storage) {
    std::thread::scope(|scope| {
        for number in 1..=16 {
            scope.spawn(move || {
                put(storage, Level::L0, range(number, number), &vec![number as u8; 100_000]);
            });
        }
    });
    let listed = storage.list(Level::L0, Txid::FIRST).expect("list");
    assert_eq!(names(&listed), (1..=16).map(|it| (it, it)).collect::<Vec<_>>());
    for object in listed {
        let byte = object.txids.min.get() as u8;
        assert_eq!(read(storage, Level::L0, object.txids, 0), vec![byte; 100_000]);
    }
}
