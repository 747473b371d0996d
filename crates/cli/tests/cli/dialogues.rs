//! Whole dialogues as a user would type them, kept in `tests/dialogues`.
//!
//! A line that begins with `$ ` is typed into a shell (those that follow with `> ` belong to it),
//! one with `sqlite> ` is what the application does to `app.db`. What follows is what the terminal
//! shows; `[code N]` is the exit code if that is not 0. What differs from run to run is replaced:
//! `/here` is the folder. `BROOKLET_TEST_BLESS=1 cargo test` writes the answers anew.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::program::Folder;

/// Plays all dialogues of the folder.
#[track_caller]
fn plays(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues").join(name);
    let written = std::fs::read_to_string(&path).unwrap();
    let stage = Stage::new();
    let mut played = String::new();
    let mut lines = written.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(sql) = line.strip_prefix("sqlite> ") {
            stage.application.execute_batch(sql).unwrap();
        } else if let Some(typed) = line.strip_prefix("$ ") {
            let mut typed = typed.to_owned();
            let mut shown = line.to_owned();
            while let Some(more) = lines.next_if(|it| it.starts_with("> ")) {
                let _ = write!(typed, "\n{}", &more[2..]);
                let _ = write!(shown, "\n{more}");
            }
            let answer = stage.answer(&typed);
            let _ = write!(played, "{shown}\n{answer}");
            while lines.next_if(|it| !is_typed(it) && !it.is_empty()).is_some() {}
            continue;
        } else if !(line.is_empty() || line.starts_with('#')) {
            panic!("{name}: nobody says {line:?}");
        }
        let _ = writeln!(played, "{line}");
    }
    if std::env::var_os("BROOKLET_TEST_BLESS").is_some() {
        return std::fs::write(&path, &played).unwrap();
    }
    assert_eq!(played, written, "{name} went otherwise; BROOKLET_TEST_BLESS=1 writes it anew");
}

fn is_typed(line: &str) -> bool {
    ["$ ", "sqlite> ", "#"].iter().any(|sign| line.starts_with(sign))
}

/// A folder with an application in it, and a shell.
struct Stage {
    folder: Folder,
    application: Connection,
}

impl Stage {
    fn new() -> Stage {
        let folder = Folder::new();
        std::fs::create_dir(folder.path("bin")).unwrap();
        let program = folder.path("bin/brooklet");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_brooklet"), program).unwrap();
        let application = Connection::open(folder.path("app.db")).unwrap();
        Stage { folder, application }
    }

    /// What the terminal shows. Empty lines of it become lines with a dot, so that an empty line
    /// always ends an answer.
    fn answer(&self, typed: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path("bin");
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{typed}")])
            .current_dir(self.folder.path(""))
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", "/nonexistent")
            .env("TZ", "UTC")
            .env_remove("LITESTREAM_CONFIG")
            .env_remove("LOG_LEVEL")
            .output()
            .unwrap();
        let folder = self.folder.path("").canonicalize().unwrap();
        let folder = folder.display().to_string();
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.replace(folder.trim_end_matches('/'), "/here");
        // Its columns are as wide as the folder's name was.
        let has_paths = text.starts_with("path ");
        let mut answer = String::new();
        for line in text.lines().map(steady) {
            let line = if has_paths { squeezed(&line) } else { line };
            let _ = writeln!(answer, "{}", if line.is_empty() { "." } else { &line });
        }
        if let Some(code) = output.status.code().filter(|code| *code != 0) {
            let _ = writeln!(answer, "[code {code}]");
        }
        answer
    }
}

/// The line with everything that changes from run to run replaced.
fn steady(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let mut steady: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let core = word.trim_matches(|c: char| "\",();".contains(c));
        let next = words.get(index + 1).map_or("", |it| it.trim_end_matches(','));
        let before = index.checked_sub(1).map_or("", |it| words[it]);
        let replaced = if word.starts_with("time=") {
            "time=<time>".to_owned()
        } else if core.parse::<jiff::Timestamp>().is_ok() {
            word.replace(core, "<time>")
        } else if is_number(core) && ["µs", "ms", "s"].contains(&next) {
            word.replace(core, "<n>")
        } else if ["µs", "ms"].contains(&core) && is_number(before) {
            word.replace(core, "s")
        } else if ["\"duration_ms\":", "\"age_seconds\":"].contains(&before) {
            word.replace(core, "<n>")
        } else if ["kB", "MB", "GB", "TB"].contains(&core) && next == "are" {
            steady.pop();
            "<size>".to_owned()
        } else {
            (*word).to_owned()
        };
        steady.push(replaced);
    }
    steady.join(" ").trim_end().to_owned()
}

/// With columns two spaces apart.
fn squeezed(line: &str) -> String {
    let columns = line.split("  ").map(str::trim).filter(|it| !it.is_empty());
    columns.collect::<Vec<_>>().join("  ")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[test]
fn what_changes_from_run_to_run_is_replaced() {
    for (line, expected) in [
        ("at 2026-11-22T10:00:00.123Z, yes", "at <time>, yes"),
        ("in 12.5 ms, good", "in <n> s, good"),
        ("  \"duration_ms\": 12,", "  \"duration_ms\": <n>,"),
        ("12.3 GB are free", "<size> are free"),
        ("12.3 GB in 3 files", "12.3 GB in 3 files"),
    ] {
        assert_eq!(steady(line), expected);
    }
}

#[test]
fn first_steps() {
    plays("first-steps.txt");
}

#[test]
fn a_bad_day() {
    plays("a-bad-day.txt");
}

#[test]
fn slips_of_the_pen() {
    plays("slips-of-the-pen.txt");
}

#[test]
fn a_configuration_is_written() {
    plays("a-configuration.txt");
}

#[test]
fn help_is_asked_for() {
    plays("help.txt");
}
