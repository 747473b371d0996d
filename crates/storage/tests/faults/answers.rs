//! Servers that refuse, lie, or are not heard.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ltx::{Level, Txid, TxidRange};
use storage::{Environment, Error};
use testkit::stub::{Reply, Request, Stub};

use crate::{MIB, ONE, Replica, bytes, list, open, put, read, seaweed};

/// The real server behind a stub that replies otherwise to the first so many requests that are
/// chosen.
fn first(
    host: &str,
    count: usize,
    chosen: impl Fn(&Request) -> bool + Send + Sync + 'static,
    reply: Reply,
) -> Stub {
    let seen = AtomicUsize::new(0);
    Stub::start(Some(host), move |request| {
        let is_first = chosen(request) && seen.fetch_add(1, Ordering::Relaxed) < count;
        if is_first { reply.clone() } else { Reply::Pass }
    })
}

fn refusal(status: u16, code: &str, after: Option<&str>) -> Reply {
    let Reply::Answer(status, mut headers, body) = Reply::refusal(status, code) else {
        unreachable!("a refusal is an answer")
    };
    headers.extend(after.map(|after| ("retry-after", after.to_owned())));
    Reply::Answer(status, headers, body)
}

const BUSY: [(u16, &str); 5] = [
    (429, "TooManyRequests"),
    (500, "InternalError"),
    (503, "SlowDown"),
    (503, ""),
    (408, "RequestTimeout"),
];

#[test]
fn a24_a_busy_server_is_asked_again() {
    let Some(server) = seaweed() else { return };
    for (status, code) in BUSY {
        let stub = first(&server.host, 2, |_| true, refusal(status, code, None));
        let storage = Replica::new().with(&stub.host, &[("timeout", "5s")]);
        assert_eq!(list(&*storage).expect(code), 0, "{status} {code}");
    }
}

#[test]
fn a24_a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let Some(server) = seaweed() else { return };
    for (status, code) in [(429, "TooManyRequests"), (503, "SlowDown"), (503, "")] {
        let stub = first(&server.host, 1, |_| true, refusal(status, code, Some("1")));
        let storage = Replica::new().with(&stub.host, &[("timeout", "5s")]);
        let began = Instant::now();
        assert_eq!(list(&*storage).expect(code), 0, "{status} {code}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{status} {code}");
    }
}

#[test]
fn a24_a_server_that_stays_busy_ends_a_call() {
    for (status, code) in BUSY {
        for after in [None, Some("3600")] {
            let stub = Stub::start(None, move |_| refusal(status, code, after));
            let began = Instant::now();
            let error = list(&*Replica::new().at(&stub.host)).expect_err(code);
            assert!(began.elapsed() < Duration::from_secs(5), "{status} {code} {after:?}");
            let is_throttled = matches!(error, Error::Throttled { .. });
            let busy = matches!(code, "TooManyRequests" | "SlowDown")
                || (status == 503 && after.is_some());
            assert_eq!(is_throttled, busy, "{status} {code} {after:?}: {error:?}");
            assert!(busy || matches!(error, Error::Unreachable { .. }), "{status} {error:?}");
        }
    }
}

#[test]
fn a24_an_answer_that_ends_early_is_asked_for_again() {
    let Some(server) = seaweed() else { return };
    let (replica, expected) = (Replica::new(), bytes(3 * MIB));
    put(&*replica.with(&server.host, &[]), Level::L0, ONE, &expected).expect("put");
    for cut in [0, 1, 100_000, 2 * MIB] {
        let stub = first(&server.host, 2, |_| true, Reply::Truncate(cut));
        let storage = replica.at(&stub.host);
        assert!(read(&*storage, Level::L0, ONE).expect("read") == expected, "cut at {cut}");
        let mut part = vec![0; 200_000];
        storage.read_at(Level::L0, ONE, 300_000, &mut part).expect("read a part");
        assert!(part == expected[300_000..500_000], "cut at {cut}");
    }
    let stub = first(&server.host, 2, |_| true, Reply::Truncate(100));
    assert_eq!(list(&*replica.with(&stub.host, &[("timeout", "5s")])).expect("list"), 1);
}

/// A size that is too small cannot be seen through here: the sums in the files do that.
#[test]
fn a24_a_server_that_lies_about_a_size_is_not_believed() {
    let Some(server) = seaweed() else { return };
    let (replica, expected) = (Replica::new(), bytes(3 * MIB));
    put(&*replica.with(&server.host, &[]), Level::L0, ONE, &expected).expect("put");
    let stub = first(&server.host, 1, |_| true, Reply::Claim(10));
    let found = read(&*replica.at(&stub.host), Level::L0, ONE);
    assert!(found.is_err(), "ten bytes are missing");
    let stub = Stub::start(Some(&server.host), |_| Reply::Claim(-10));
    let found = read(&*replica.at(&stub.host), Level::L0, ONE).expect("what was promised");
    assert!(found == expected[..expected.len() - 10]);
    let stub = first(&server.host, 1, |_| true, Reply::Claim(-10));
    let mut part = vec![0; 1000];
    let filled = replica.at(&stub.host).read_at(Level::L0, ONE, 0, &mut part);
    filled.expect("what a range leaves out is asked for");
    assert!(part == expected[..1000]);
}

#[test]
fn what_was_done_but_not_heard_of_is_done_again() {
    let Some(server) = seaweed() else { return };
    for size in [1000, 12 * MIB] {
        let (replica, expected) = (Replica::new(), bytes(size));
        let puts = |request: &Request| request.method != "GET";
        for lost in 0..6 {
            let count = AtomicUsize::new(0);
            let stub = Stub::start(Some(&server.host), move |request| {
                match puts(request) && count.fetch_add(1, Ordering::Relaxed) == lost {
                    true => Reply::Lose,
                    false => Reply::Pass,
                }
            });
            let storage = replica.with(&stub.host, &[("timeout", "5s")]);
            put(&*storage, Level::L0, ONE, &expected)
                .unwrap_or_else(|error| panic!("{size} bytes, lost {lost}: {error}"));
            assert!(read(&*storage, Level::L0, ONE).expect("read") == expected);
            storage.delete(&[(Level::L0, ONE)]).expect("delete");
            assert_eq!(list(&*storage).expect("list"), 0);
        }
    }
}

#[test]
fn a49_a_deletion_that_is_denied_is_told() {
    let Some(server) = seaweed() else { return };
    let two = TxidRange { min: Txid::new(2).expect("2"), max: Txid::new(2).expect("2") };
    let all = [(Level::L0, ONE), (Level::L0, two)];
    let replica = Replica::new();
    put(&*replica.with(&server.host, &[]), Level::L0, ONE, b"kept").expect("put");
    let deletes =
        |request: &Request| request.method == "DELETE" || request.target.contains("?delete");
    let denied = |objects: &[(Level, TxidRange)], reply: Reply| {
        let stub = Stub::start(Some(&server.host), move |request| {
            if deletes(request) { reply.clone() } else { Reply::Pass }
        });
        let error = replica.at(&stub.host).delete(objects).expect_err("denied");
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        error.to_string()
    };
    denied(&all[..1], Reply::refusal(403, "AccessDenied"));
    denied(&all, Reply::refusal(403, "AccessDenied"));
    let name = format!("{}/app/0000/{}", replica.0, ONE.file_name());
    let partly = format!(
        "<DeleteResult><Error><Key>{name}</Key><Code>AccessDenied</Code><Message>no</Message>\
         </Error></DeleteResult>"
    );
    let message = denied(&all, Reply::xml(200, &partly));
    assert!(message.contains(&ONE.file_name()), "{message} names the object");
    assert_eq!(list(&*replica.at(&server.host)).expect("list"), 1);
}

#[test]
fn what_is_forbidden_is_denied_at_once() {
    for code in ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"] {
        let stub = Stub::start(None, move |_| Reply::refusal(403, code));
        let storage = Replica::new().with(&stub.host, &[]);
        let began = Instant::now();
        for denied in [
            list(&*storage).err(),
            put(&*storage, Level::L0, ONE, b"x").err(),
            read(&*storage, Level::L0, ONE).err(),
        ] {
            assert!(matches!(denied, Some(Error::Denied { .. })), "{code}: {denied:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "no patience for {code}");
    }
}

/// Something on the way that answers in the server's place, and calls everything a success.
#[test]
fn a19_a_page_of_somebody_else_is_no_answer() {
    const PAGES: [(&str, &str); 2] = [
        ("text/html", "<?xml version=\"1.0\"?><html><body><p>Sign in</p></body></html>"),
        ("application/json", "{\"status\": \"maintenance\"}"),
    ];
    for (kind, page) in PAGES {
        let stub = Stub::start(None, move |_| {
            Reply::Answer(200, vec![("content-type", kind.to_owned())], page.as_bytes().to_vec())
        });
        let host = &stub.host;
        let s3 = [("access-key-id", "a"), ("secret-access-key", "b")];
        let backends: [(String, &[(&str, &str)]); 5] = [
            (format!("s3://b/p?endpoint=http://{host}&region=r"), &s3),
            (format!("oss://b/p?endpoint=http://{host}&region=r"), &s3),
            (format!("abs://acct@box/p?endpoint=http://{host}/acct"), &[("account-key", "a2V5")]),
            (format!("gs://box/p?endpoint=http://{host}"), &[]),
            (format!("webdav://{host}/p"), &[]),
        ];
        for (url, options) in backends {
            let options = [options, &[("timeout", "500ms")]].concat();
            let storage = open(&url, &options, &Environment::default());
            let listed = list(&*storage);
            assert!(listed.is_err(), "{url} {kind}: {listed:?}");
            let stored = put(&*storage, Level::L0, ONE, b"hello");
            assert!(stored.is_err(), "{url} {kind}: stored");
            let stored = put(&*storage, Level::SNAPSHOT, ONE, &bytes(40 * MIB));
            assert!(stored.is_err(), "{url} {kind}: stored in parts");
        }
    }
}
