//! Profiles at the control socket, as `go tool pprof` reads them: which threads take the processors'
//! time.
//!
//! No signal is sent for that. A profiler's own (`SIGPROF`) would interrupt the system calls of all
//! threads a hundred times a second, in a process that people trust with their only copy. The
//! kernel counts each thread's time anyway, and our threads are named after what they do: two looks
//! at these counts say what a profile of stacks is mostly read for, and disturb nobody.

mod profile;
mod threads;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use storage::Url;

use profile::Profile;
use threads::Thread;

const INDEX: &str = "\
cmdline  the command line, without the secrets of URLs; separated by zero bytes
profile  the time that each thread has on processors, for go tool pprof; ?seconds=30
threads  all threads: what they do now, and their time so far
";
/// Litestream's, of which we have none.
const OF_GO: [&str; 8] =
    ["allocs", "block", "goroutine", "heap", "mutex", "symbol", "threadcreate", "trace"];

/// How long a profile takes unless told otherwise, in seconds.
const USUAL: u64 = 30;
const LONGEST: u64 = 300;

const TEXT: &str = "text/plain; charset=utf-8";

/// All of it. For the control socket alone.
pub fn router() -> Router {
    Router::new()
        .route("/debug/pprof", get(|| async { Redirect::permanent("/debug/pprof/") }))
        .route("/debug/pprof/", get(|| async { text(INDEX.to_owned()) }))
        .route("/debug/pprof/cmdline", get(|| async { text(command_line(std::env::args_os())) }))
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/threads", get(all_threads))
        .route("/debug/pprof/{name}", get(unknown))
}

fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}

fn refused(status: StatusCode, why: String) -> Response {
    (status, text(why)).into_response()
}

async fn unknown(Path(name): Path<String>) -> Response {
    let whose = if OF_GO.contains(&&*name) { ", which is Go's" } else { "" };
    refused(
        StatusCode::NOT_FOUND,
        format!("there is no profile {name:?} here{whose}; there are:\n{INDEX}"),
    )
}

/// Separated as Go's program would.
fn command_line(args: impl Iterator<Item = impl AsRef<std::ffi::OsStr>>) -> String {
    args.map(|it| without_secrets(&it.as_ref().to_string_lossy())).collect::<Vec<_>>().join("\0")
}

/// An argument, which is a URL, or holds some: `-exec` takes a whole command line.
fn without_secrets(argument: &str) -> String {
    if Url::is_url(argument) {
        return Url::without_secrets(argument);
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = |word: &str| {
        let (word, end) = word.split_at(word.trim_end_matches(is_end).len());
        let before = word.split("://").next().unwrap_or(word);
        let (before, url) = word.split_at(before.trim_end_matches(is_of_scheme).len());
        format!("{before}{}{end}", Url::without_secrets(url))
    };
    argument.split_inclusive(is_end).map(word).collect()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    seconds: Option<u64>,
}

/// Whoever asks waits, and nobody else; if they go, this future is dropped where it waits.
async fn profile(Query(window): Query<Window>) -> Response {
    let seconds = window.seconds.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&seconds) {
        let why = format!("seconds must be from 1 to {LONGEST}\n");
        return refused(StatusCode::BAD_REQUEST, why);
    }
    let (began, started) = (SystemTime::now(), Instant::now());
    let before = match threads::all() {
        Ok(before) => before,
        Err(error) => return untold(&error),
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = match threads::all() {
        Ok(after) => after,
        Err(error) => return untold(&error),
    };
    let profile = Profile { began, lasted: started.elapsed(), spent: spent(&before, &after) };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile\""),
    ];
    (headers, profile.encode()).into_response()
}

/// The time of all threads of each name. That of threads that have ended is not known any more.
fn spent(before: &[Thread], after: &[Thread]) -> BTreeMap<String, Duration> {
    let mut spent = BTreeMap::new();
    for thread in after {
        let known = before.iter().find(|it| it.id == thread.id).map_or(Duration::ZERO, |it| it.cpu);
        // Less than before, it is another thread with an old number.
        let more = thread.cpu.checked_sub(known).unwrap_or(thread.cpu);
        *spent.entry(thread.name.clone()).or_default() += more;
    }
    spent
}

async fn all_threads() -> Response {
    let mut all = match threads::all() {
        Ok(all) => all,
        Err(error) => return untold(&error),
    };
    all.sort_by(|a, b| b.cpu.cmp(&a.cpu).then(a.id.cmp(&b.id)));
    let line = |it: &Thread| {
        format!("{:>8}  {:<16} {:<14} {:>12.6}s\n", it.id, it.name, it.state, it.cpu.as_secs_f64())
    };
    text(all.iter().map(line).collect())
}

fn untold(error: &io::Error) -> Response {
    let why = format!(
        "this system does not tell what threads do, as Linux would in {}: {error}\n",
        threads::PLACE
    );
    refused(StatusCode::NOT_IMPLEMENTED, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_the_secrets_of_its_urls() {
        let args = [
            "brooklet",
            "replicate",
            "-exec",
            "app -db 'postgres://me:hush@db/x?password=hush' --to=redis://:hush@cache:1/0 -v",
            "app.db",
            "s3://b/p?secret-access-key=hush",
            "sftp://me:my hush@host/x",
            "file:///backup/a@b",
        ];
        let shown = command_line(args.iter());
        assert!(!shown.contains("hush"), "{shown}");
        let shown: Vec<_> = shown.split('\0').collect();
        assert_eq!(shown.len(), args.len());
        assert_eq!(shown[3], "app -db 'postgres://db/x' --to=redis://cache:1/0 -v");
        assert_eq!(shown[5..], ["s3://b/p", "sftp://host/x", "file:///backup/a@b"]);
    }

    #[test]
    fn threads_that_begin_count_whole_and_those_of_a_name_together() {
        let thread = |id, name: &str, seconds| Thread {
            id,
            name: name.into(),
            state: "sleeping",
            cpu: Duration::from_secs(seconds),
        };
        let before = [thread(1, "main", 5), thread(2, "job", 7), thread(3, "job", 9)];
        let after =
            [thread(1, "main", 5), thread(2, "job", 8), thread(3, "job", 4), thread(4, "new", 2)];
        let spent = spent(&before, &after);
        let seconds: Vec<_> = spent.iter().map(|(name, it)| (&**name, it.as_secs())).collect();
        assert_eq!(seconds, [("job", 1 + 4), ("main", 0), ("new", 2)]);
    }
}
