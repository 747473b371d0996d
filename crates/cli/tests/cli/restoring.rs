//! `restore`: what it says, and the matrix of what is there and what is not.

use crate::program::{Folder, add};

const URL: &str = "@replica";

/// A folder with a replica of a database that holds 1, 2, 3, one transaction after the other.
fn replicated() -> Folder {
    let folder = Folder::new();
    let database = folder.database("app.db");
    for n in 1..=3 {
        add(&database, n..=n);
        folder.run(&["replicate", "-once", "app.db", URL]).ok();
    }
    folder
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn one_line_says_what_was_restored() {
    let folder = replicated();
    let ran = folder.run(&["restore", "-o", "out.db", "-integrity-check", "full", URL]).ok();
    assert_eq!(ran.stderr, "");
    let line = ran.stdout.trim_end();
    assert!(line.starts_with("restored /here/out.db: transaction 0000"), "{line}");
    assert!(line.contains("proven against the captured checksum"), "{line}");
    assert!(line.ends_with("SQLite's full check passed"), "{line}");
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
}

#[test]
fn json_has_litestreams_fields() {
    let folder = replicated();
    let result = json(&folder.run(&["restore", "-json", "-o", "out.db", URL]).ok().stdout);
    assert_eq!(result["db_path"], "/here/out.db");
    assert_eq!(result["replica"], "file");
    assert_eq!(result["txid"].as_str().map(str::len), Some(16));
    assert!(result["duration_ms"].is_u64());
    assert_eq!(result["integrity_check"], "none");
    assert_eq!(result["proven"], true);
    let result = json(
        &folder.run(&["restore", "-json", "-if-db-not-exists", "-o", "out.db", URL]).ok().stdout,
    );
    assert_eq!(result["status"], "already_exists");
}

#[test]
fn any_listed_transaction_and_moment_can_be_chosen() {
    let folder = replicated();
    let files = json(&folder.run(&["ltx", "-json", URL]).ok().stdout);
    let files = files.as_array().unwrap();
    assert!(files.len() >= 3, "{files:?}");
    let newest = files.last().unwrap();
    let mut states = Vec::new();
    for file in files {
        let txid = file["max_txid"].as_str().unwrap();
        folder.run(&["restore", "-force", "-txid", txid, "-o", "out.db", URL]).ok();
        states.push(folder.numbers("out.db"));
    }
    assert!(states.contains(&vec![1]) && states.contains(&vec![1, 2]), "{states:?}");
    let moment = newest["timestamp"].as_str().unwrap();
    folder.run(&["restore", "-force", "-timestamp", moment, "-o", "out.db", URL]).ok();
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
    let ran = folder.run(&["restore", "-force", "-timestamp", "2001-01-01", "-o", "out.db", URL]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let ran = folder.run(&["restore", "-force", "-txid", "00000000000000ff", "-o", "out.db", URL]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let folder = replicated();
    let plan = folder.run(&["restore", "-dry-run", "-o", "out.db", URL]).ok().stdout;
    assert!(
        plan.starts_with("Restore plan:\n  source: file:///here/replica\n  target: /here/out.db\n"),
        "{plan}"
    );
    assert!(plan.contains("\nFiles to fetch:\nlevel  file "), "{plan}");
    let plan =
        json(&folder.run(&["restore", "-dry-run", "-json", "-o", "out.db", URL]).ok().stdout);
    assert_eq!(plan["min_txid"], "0000000000000001");
    assert_eq!(plan["files"].as_array().unwrap().last().unwrap()["max_txid"], plan["max_txid"]);
    assert!(!folder.path("out.db").exists());
}

#[test]
fn what_is_there_and_what_is_not() {
    let folder = replicated();
    std::fs::create_dir(folder.path("empty")).unwrap();
    std::fs::create_dir_all(folder.path("unknown/generations/0123456789abcdef")).unwrap();
    std::fs::write(folder.path("unknown/generations/0123456789abcdef/x.snapshot.lz4"), "x")
        .unwrap();
    let start = |url: &str| {
        let flags = ["-if-db-not-exists", "-if-replica-exists", "-o", "out.db"];
        folder.run(&[&["restore"], &flags[..], &[url]].concat())
    };
    assert_eq!(start("@empty").ok().stdout, "skipped: no backup in file:///here/empty\n");
    assert_eq!(start("@nowhere").code, Some(0));
    assert_eq!(start("@unknown").code, Some(7));
    folder.run(&["restore", "-o", "out.db", "@empty"]).fails(
        4,
        "error: file:///here/empty: no backup found\n\
         hint: is it the right place? restore goes on without a backup with -if-replica-exists",
    );
    assert!(!folder.path("out.db").exists());
    folder.write("out.db", "");
    assert_eq!(start("@empty").code, Some(0));
    start(URL).ok();
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
    assert_eq!(start(URL).ok().stdout, "skipped: /here/out.db exists already\n");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let folder = replicated();
    folder.write("out.db", "precious");
    let ran = folder.run(&["restore", "-o", "out.db", URL]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("-force"), "{ran:?}");
    assert_eq!(std::fs::read(folder.path("out.db")).unwrap(), b"precious");
    std::fs::remove_file(folder.path("out.db")).unwrap();
    folder.write("out.db-wal", "stale");
    let ran = folder.run(&["restore", "-o", "out.db", URL]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    folder.run(&["restore", "-force", "-o", "out.db", URL]).ok();
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_left() {
    let folder = replicated();
    let level = folder.path("replica").join("ltx/0");
    let mut files: Vec<_> =
        std::fs::read_dir(level).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let newest = files.last().unwrap();
    let mut bytes = std::fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(newest, bytes).unwrap();
    let before = std::fs::read_dir(folder.path("")).unwrap().count();
    let ran = folder.run(&["restore", "-o", "out.db", URL]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(ran.stderr.contains(name) && ran.stderr.contains("hint: "), "{ran:?}");
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), before);
}

#[test]
fn on_a_terminal_the_bar_goes_and_the_summary_stays() {
    let folder = replicated();
    let (code, sent) = folder.run_on_a_terminal(&["restore", "-o", "out.db", URL]);
    assert_eq!(code, Some(0), "{sent}");
    let last = sent.trim_end().rsplit(['\r', '\n']).next().unwrap();
    assert!(last.contains("restored ") && !last.contains('#'), "{sent:?}");
    assert_eq!(folder.numbers("out.db"), [1, 2, 3]);
}
