//! What only the file backend promises: crash safety, owners, and no surprises in a directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Error, FileStorage, Storage};
use tempfile::TempDir;

fn range(number: u64) -> TxidRange {
    let txid = Txid::new(number).expect("a TXID is at least 1");
    TxidRange { min: txid, max: txid }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn put(storage: &dyn Storage, txids: TxidRange, bytes: &[u8]) {
    let created = Timestamp::from_millis(1000);
    let mut upload = storage.create(Level::L0, txids, created).expect("create");
    upload.write_all(bytes).expect("write");
    upload.commit().expect("commit");
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<_> =
        entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn objects_lie_where_litestream_looks_for_them() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    put(&storage, range(0x1ab), b"x");
    let path = root.path().join("ltx/0/00000000000001ab-00000000000001ab.ltx");
    assert_eq!(fs::read(&path).expect("object"), b"x");
    assert_eq!(storage.path(Level::L0, range(0x1ab)), path);
    let modified = fs::metadata(&path).expect("metadata");
    assert_eq!((modified.mtime(), modified.mtime_nsec()), (1, 0));
}

#[test]
fn a_kill_between_the_steps_leaves_only_a_temporary_file() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    let level = root.path().join("ltx/0");
    let name = range(1).file_name();

    // A forgotten upload is a killed process: nothing that runs at its end has run.
    let mut upload =
        storage.create(Level::L0, range(1), Timestamp::from_millis(0)).expect("create");
    assert_eq!(names(&level), [format!("{name}.tmp")]);
    upload.write_all(&[7; 5000]).expect("write");
    assert_eq!(names(&level), [format!("{name}.tmp")]);
    assert_eq!(storage.list(Level::L0, Txid::FIRST).expect("list"), []);
    assert_eq!(storage.unknown().expect("unknown"), Vec::<String>::new());
    drop(upload);
    assert_eq!(names(&level), Vec::<String>::new());

    // What such a process leaves is reused, not added to, and its bytes do not show through.
    fs::write(level.join(format!("{name}.tmp")), [9; 9000]).expect("leftover");
    put(&storage, range(1), b"short");
    assert_eq!(names(&level), [name.as_str()]);
    assert_eq!(fs::read(level.join(name)).expect("object"), b"short");
}

#[test]
fn readers_never_see_a_short_object_while_it_is_replaced() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    let size = 200_000;
    put(&storage, range(1), &vec![0; size]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=20_u8 {
                put(&storage, range(1), &vec![round; size]);
            }
        });
        while !writer.is_finished() {
            let mut bytes = vec![0; size];
            storage.read_at(Level::L0, range(1), 0, &mut bytes).expect("whole");
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "one version, not a mix");
        }
    });
}

#[test]
fn two_writers_of_one_object_do_not_mix() {
    let root = directory();
    let (here, there) = (FileStorage::new(root.path()), FileStorage::new(root.path()));
    let created = Timestamp::from_millis(0);
    let mut first = here.create(Level::L0, range(1), created).expect("create");
    first.write_all(b"first").expect("write");
    let second = there.create(Level::L0, range(1), created).expect_err("refused");
    assert!(matches!(second, Error::Busy { .. }), "{second:?}");
    first.commit().expect("commit");
    put(&there, range(1), b"second");
    assert_eq!(fs::read(here.path(Level::L0, range(1))).expect("object"), b"second");
}

#[test]
fn a_captured_file_does_not_take_the_place_of_another_one() {
    let root = directory();
    let storage = FileStorage::new(root.path().join("replica"));
    let source = root.path().join("source");
    let created = Timestamp::from_millis(1000);
    let upload = |bytes: &[u8]| {
        fs::write(&source, bytes).expect("source");
        storage.put_file(Level::L0, range(1), created, &source)
    };
    upload(b"the first transaction").expect("a new name");
    upload(b"the first transaction").expect("the same once more: its upload was interrupted");
    let refused = upload(b"another transaction 1");
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let mut kept = [0; 21];
    storage.read_at(Level::L0, range(1), 0, &mut kept).expect("the first one");
    assert_eq!(&kept, b"the first transaction");
    assert_eq!(names(&root.path().join("replica/ltx/0")).len(), 1);
}

#[test]
fn on_one_disk_a_file_is_not_stored_twice() {
    let root = directory();
    let [database, source] = ["shop.db", "source"].map(|name| root.path().join(name));
    fs::write(&database, b"").expect("database");
    fs::write(&source, b"a transaction").expect("source");
    let storage = FileStorage::new(root.path().join("replica")).with_owner_of(&database);
    let created = Timestamp::from_millis(1000);
    let inode = |path: &Path| fs::metadata(path).expect("metadata").ino();
    let upload = |number| {
        let object = storage.put_file(Level::L0, range(number), created, &source).expect("upload");
        assert_eq!((object.size, object.created), (13, created));
        inode(&storage.path(Level::L0, range(number)))
    };
    assert_ne!(upload(1), inode(&source), "the time of the source would be wrong");
    let file = fs::File::options().write(true).open(&source).expect("source");
    file.set_modified(created.to_system_time()).expect("time");
    assert_eq!(upload(2), inode(&source));
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).expect("chmod");
    assert_ne!(upload(3), inode(&source), "the mode of the source would be wrong");
    fs::remove_file(&source).expect("remove");
    let mut kept = [0; 13];
    storage.read_at(Level::L0, range(2), 0, &mut kept).expect("the other name");
    assert_eq!(&kept, b"a transaction");
}

#[test]
fn owner_and_mode_follow_the_database() {
    let root = directory();
    let home = root.path().join("home");
    fs::create_dir(&home).expect("directory");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o750)).expect("chmod");
    let database = home.join("shop.db");
    let storage = FileStorage::new(root.path().join("backup")).with_owner_of(&database);
    let mode = |path: &Path| fs::metadata(path).expect("metadata").mode() & 0o777;

    put(&storage, range(1), b"before the database exists");
    assert_eq!(mode(&storage.path(Level::L0, range(1))), 0o600);
    assert_eq!(mode(&root.path().join("backup")), 0o750);
    assert_eq!(mode(&root.path().join("backup/ltx/0")), 0o750);

    fs::write(&database, b"").expect("database");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o664)).expect("chmod");
    put(&storage, range(2), b"after");
    assert_eq!(mode(&storage.path(Level::L0, range(2))), 0o664);

    let private = FileStorage::new(root.path().join("private"));
    put(&private, range(1), b"no database known");
    assert_eq!(mode(&private.path(Level::L0, range(1))), 0o600);
    assert_eq!(mode(&root.path().join("private/ltx")), 0o700);
}

#[test]
fn strangers_are_skipped_in_lists_and_reported_apart() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    put(&storage, range(1), b"ours");
    let put_stranger = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, b"?").expect("file");
    };
    let upper = "ltx/0/00000000000000AB-00000000000000AB.ltx";
    for name in ["generations/0123/snapshot", "ltx/10/x", "ltx/0/notes.txt", upper, "0000/x"] {
        put_stranger(name);
    }
    for name in [".keep", "lost+found/x", "ltx/0/00000000000000ab-00000000000000ab.ltx.tmp"] {
        put_stranger(name);
    }
    let directory = "ltx/0/00000000000000ff-00000000000000ff.ltx";
    fs::create_dir(root.path().join(directory)).expect("directory with an object's name");

    let listed = storage.list(Level::L0, Txid::FIRST).expect("list");
    assert_eq!(listed.iter().map(|it| it.txids).collect::<Vec<_>>(), [range(1)]);
    let unknown = storage.unknown().expect("unknown");
    assert_eq!(unknown, ["0000", "generations", upper, directory, "ltx/0/notes.txt", "ltx/10"]);
}

#[test]
fn what_cannot_be_looked_at_is_not_empty() {
    let root = directory();
    let file = root.path().join("file");
    fs::write(&file, b"").expect("file");
    let error = FileStorage::new(&file).list(Level::L0, Txid::FIRST).expect_err("not a directory");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");

    let closed = root.path().join("closed");
    fs::create_dir(&closed).expect("directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    if fs::read_dir(&closed).is_err() {
        // Root may look everywhere, then there is nothing to test.
        let error = FileStorage::new(&closed).list(Level::L0, Txid::FIRST).expect_err("closed");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    }
}

/// An input/output error stands for bad sectors: to try again is of no use.
#[test]
fn what_the_disk_has_lost_is_told_from_what_it_cannot_do_now() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    put(&storage, range(1), b"x");
    let path = storage.path(Level::L0, range(2));
    std::os::unix::fs::symlink("/proc/self/mem", &path).expect("link");
    let check = |error: Error| {
        assert!(
            matches!(&error, Error::Lost { object, .. } if *object == path.display().to_string())
        );
        assert!(error.is_damage() && !error.is_passing());
    };
    check(storage.read_at(Level::L0, range(2), 0, &mut [0; 8]).expect_err("nothing to read"));
    let mut reader = storage.open(Level::L0, range(2), 0).expect("open");
    let error = std::io::Read::read(&mut reader, &mut [0; 8]).expect_err("nothing to read");
    check(Error::from_io("another name", error));
    // Nor is it taken for what is stored under its name now.
    let source = root.path().join("source");
    fs::write(&source, b"captured").expect("write");
    let stored = storage.put_file(Level::L0, range(2), Timestamp::from_millis(0), &source);
    assert!(matches!(stored, Err(Error::Conflict { .. })), "{stored:?}");
}

#[test]
fn a_copy_that_fails_names_both_sides() {
    let root = directory();
    let storage = FileStorage::new(root.path());
    let source = root.path().join("source");
    std::os::unix::fs::symlink("/proc/self/mem", &source).expect("link");
    let stored = storage.put_file(Level::L0, range(1), Timestamp::from_millis(0), &source);
    let error = stored.expect_err("nothing to read").to_string();
    let object = storage.path(Level::L0, range(1));
    let sides = format!("{} copied to {}: ", source.display(), object.display());
    assert!(error.starts_with(&sides), "{error}");
}
