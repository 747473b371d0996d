//! The checks themselves. Each gets a fresh, empty storage.

use std::any::Any;
use std::io::{Read, Write};
use std::sync::Arc;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Condition, Error, Object, Storage};

/// An empty storage, and whatever must live as long as it does.
pub(crate) struct Fixture {
    pub(crate) storage: Arc<dyn Storage>,
    #[expect(dead_code, reason = "dropped with the fixture, not before")]
    pub(crate) keep: Box<dyn Any>,
}

/// Which creation times a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Those of the uploader, to the millisecond.
    Millis,
    /// Those of the uploader, to the second.
    Seconds,
    /// When the object arrived.
    Arrival,
}

/// What a kind of storage is known to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    pub(crate) times: Times,
    /// Whether it keeps to conditions.
    pub(crate) conditions: bool,
}

type Check = fn(&dyn Storage, Abilities);

/// Runs every check on a storage of its own.
pub(crate) fn run(abilities: Abilities, fixture: impl Fn() -> Fixture) {
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
        ("long lists come in pages", long_lists_come_in_pages),
        ("a large object is read in ranges", a_large_object_is_read_in_ranges),
        ("other names are told", other_names_are_told),
        ("conditions are kept or refused", conditions_are_kept_or_refused),
    ];
    for (name, check) in checks {
        println!("{name}");
        check(&*fixture().storage, abilities);
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

/// Listed objects are those that were put; their times are as good as the storage can tell.
fn expect_listed(listed: &[Object], put: &[Object], times: Times) {
    let shown = |object: &Object| Object { created: shown(object.created, times), ..*object };
    let listed: Vec<Object> = listed.iter().map(shown).collect();
    assert_eq!(listed, put.iter().map(shown).collect::<Vec<_>>());
}

/// What is left of a time, for comparisons.
fn shown(created: Timestamp, times: Times) -> Timestamp {
    Timestamp::from_millis(match times {
        Times::Millis => created.as_millis(),
        Times::Seconds => created.as_millis().div_euclid(1000),
        Times::Arrival => 0,
    })
}

fn an_empty_replica_is_empty(storage: &dyn Storage, _: Abilities) {
    for level in Level::all() {
        assert_eq!(storage.list(level, Txid::FIRST).expect("list"), []);
    }
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
}

fn what_is_put_can_be_read(storage: &dyn Storage, it: Abilities) {
    let put = put(storage, Level::L0, range(1, 1), b"hello");
    assert_eq!((put.level, put.txids, put.size), (Level::L0, range(1, 1), 5));
    assert_eq!(put.created.as_millis(), NOON);
    expect_listed(&storage.list(Level::L0, Txid::FIRST).expect("list"), &[put], it.times);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"hello");
    assert_eq!(storage.list(Level::SNAPSHOT, Txid::FIRST).expect("list"), []);
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
}

fn ranges_are_exact(storage: &dyn Storage, _: Abilities) {
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

fn missing_objects_are_not_found(storage: &dyn Storage, _: Abilities) {
    put(storage, Level::L0, range(2, 2), b"other");
    let read = storage.read_at(Level::L0, range(1, 1), 0, &mut [0; 1]);
    let error = read.expect_err("read of a missing object");
    assert!(error.is_not_found(), "{error:?}");
    assert!(error.to_string().contains(&range(1, 1).file_name()), "{error} names the object");
    let error = storage.open(Level::L0, range(1, 1), 0).err().expect("open of a missing object");
    assert!(error.is_not_found(), "{error:?}");
}

fn lists_are_ordered_and_seek(storage: &dyn Storage, _: Abilities) {
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

fn times_keep_their_milliseconds(storage: &dyn Storage, it: Abilities) {
    for (number, millis) in [0, 1, 999, NOON, NOON + 1].into_iter().enumerate() {
        let txids = range(number as u64 + 1, number as u64 + 1);
        let created = Timestamp::from_millis(millis);
        storage.create(Level::L0, txids, created).expect("create").commit().expect("commit");
        let listed = storage.list(Level::L0, txids.min).expect("list");
        let listed = listed.iter().map(|object| shown(object.created, it.times));
        assert_eq!(listed.collect::<Vec<_>>(), [shown(created, it.times)]);
    }
}

fn nothing_is_seen_before_commit(storage: &dyn Storage, _: Abilities) {
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

fn a_dropped_upload_leaves_nothing(storage: &dyn Storage, _: Abilities) {
    put(storage, Level::L0, range(1, 1), b"first");
    for txids in [range(1, 1), range(2, 2)] {
        let mut upload =
            storage.create(Level::L0, txids, Timestamp::from_millis(NOON)).expect("create");
        upload.write_all(b"never mind").expect("write");
    }
    assert_eq!(names(&storage.list(Level::L0, Txid::FIRST).expect("list")), [(1, 1)]);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"first");
}

fn a_second_put_replaces_the_first(storage: &dyn Storage, it: Abilities) {
    put(storage, Level::L0, range(7, 7), b"a longer first version");
    let second = put(storage, Level::L0, range(7, 7), b"second");
    assert_eq!(read(storage, Level::L0, range(7, 7), 0), b"second");
    expect_listed(&storage.list(Level::L0, Txid::FIRST).expect("list"), &[second], it.times);
}

fn files_are_copied_in(storage: &dyn Storage, _: Abilities) {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    let bytes = vec![0x5a; 3_000_000];
    file.write_all(&bytes).expect("write");
    let created = Timestamp::from_millis(NOON);
    let put = storage.put_file(Level::L0, range(3, 3), created, file.path()).expect("put");
    assert_eq!((put.size, put.created), (3_000_000, created));
    assert_eq!(read(storage, Level::L0, range(3, 3), 0), bytes);
    assert_eq!(std::fs::read(file.path()).expect("source").len(), bytes.len(), "source is kept");
}

fn deleting_twice_is_fine(storage: &dyn Storage, _: Abilities) {
    put(storage, Level::L0, range(1, 1), b"a");
    put(storage, Level::L0, range(2, 2), b"b");
    let gone = [(Level::L0, range(1, 1)), (Level::SNAPSHOT, range(1, 5))];
    storage.delete(&gone).expect("delete");
    storage.delete(&gone).expect("delete again");
    assert_eq!(names(&storage.list(Level::L0, Txid::FIRST).expect("list")), [(2, 2)]);
    storage.delete(&[]).expect("delete nothing");
}

fn empty_and_large_objects(storage: &dyn Storage, _: Abilities) {
    assert_eq!(put(storage, Level::L0, range(1, 1), b"").size, 0);
    assert_eq!(read(storage, Level::L0, range(1, 1), 0), b"");
    let large: Vec<u8> = (0..12_000_000_u32).map(|i| (i / 7 + i % 251) as u8).collect();
    assert_eq!(put(storage, Level::SNAPSHOT, range(1, 1), &large).size, large.len() as u64);
    assert_eq!(read(storage, Level::SNAPSHOT, range(1, 1), 0), large);
}

fn uploads_run_side_by_side(storage: &dyn Storage, _: Abilities) {
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

fn long_lists_come_in_pages(storage: &dyn Storage, _: Abilities) {
    const COUNT: u64 = 1_050;
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for number in (1..=COUNT).filter(|it| it % 8 == worker) {
                    put(storage, Level::L0, range(number, number), b"x");
                }
            });
        }
    });
    let listed = storage.list(Level::L0, Txid::FIRST).expect("list");
    assert_eq!(names(&listed), (1..=COUNT).map(|it| (it, it)).collect::<Vec<_>>());
    let late = storage.list(Level::L0, Txid::new(COUNT - 1).expect("txid")).expect("list");
    assert_eq!(names(&late), [(COUNT - 1, COUNT - 1), (COUNT, COUNT)]);
    let all: Vec<_> = listed.iter().map(|it| (Level::L0, it.txids)).collect();
    storage.delete(&all).expect("delete many");
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), []);
}

fn a_large_object_is_read_in_ranges(storage: &dyn Storage, _: Abilities) {
    let large: Vec<u8> = (0..12_000_000_u32).map(|it| (it / 13 + it % 241) as u8).collect();
    put(storage, Level::SNAPSHOT, range(1, 4), &large);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let large = &large;
            scope.spawn(move || {
                let mut buf = vec![0; 1 << 20];
                for offset in (worker << 20..large.len() - buf.len()).step_by(4 << 20) {
                    let read =
                        storage.read_at(Level::SNAPSHOT, range(1, 4), offset as u64, &mut buf);
                    read.expect("a range");
                    assert!(buf == large[offset..offset + buf.len()], "at {offset}");
                }
            });
        }
    });
    let from = 11_999_000;
    assert_eq!(read(storage, Level::SNAPSHOT, range(1, 4), from as u64), &large[from..]);
}

fn other_names_are_told(storage: &dyn Storage, it: Abilities) {
    put(storage, Level::L0, range(1, 1), b"x");
    if it.conditions {
        storage.put_if("notes.txt", b"other", &Condition::Absent).expect("put another name");
        assert_eq!(storage.unknown().expect("unknown"), ["notes.txt"]);
        let keys = storage.keys("").expect("keys");
        assert!(keys.iter().any(|key| key.name == "notes.txt" && key.size == 5), "{keys:?}");
        let mut text = String::new();
        let mut reader = storage.open_key("notes.txt").expect("open");
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "other");
    }
    let missing = storage.open_key("none.txt").err().expect("open of a missing name");
    assert!(missing.is_not_found(), "{missing:?}");
}

fn conditions_are_kept_or_refused(storage: &dyn Storage, it: Abilities) {
    assert_eq!(storage.keeps_conditions().expect("try conditions"), it.conditions);
    if !it.conditions {
        return;
    }
    let winners: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|it| {
                let name = format!("writer {it}");
                scope.spawn(move || {
                    storage.put_if("race", name.as_bytes(), &Condition::Absent).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|it| usize::from(it.join().expect("join"))).sum()
    });
    assert_eq!(winners, 1, "one of eight creates it");
    let (body, version) = storage.get_versioned("race").expect("read it");
    assert!(body.starts_with(b"writer "));
    let next =
        storage.put_if("race", b"next", &Condition::Unchanged(version.clone())).expect("put");
    let stale = storage.put_if("race", b"stale", &Condition::Unchanged(version));
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    assert_eq!(storage.get_versioned("race").expect("read it"), (b"next".to_vec(), next));
}
