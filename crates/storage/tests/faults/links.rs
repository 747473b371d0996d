//! Connections that break, or go silent.

use std::time::{Duration, Instant};

use ltx::{Level, Txid};
use storage::Error;
use testkit::faults::{Fault, FaultProxy};
use testkit::{scaled, wait};

use crate::{MIB, ONE, Replica, bytes, list, put, read, seaweed};

/// So that a machine under load is no failure.
const SLACK: Duration = Duration::from_secs(5);

fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (call(), began.elapsed())
}

/// `BROOKLET_TEST_SCALE=5` reads 1 GB.
#[test]
fn a24_a_link_that_breaks_every_8_mib_is_read_to_its_end() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    let count = scaled(200);
    let expected = bytes(count as usize * MIB);
    put(&*replica.with(&server.host, &[]), Level::SNAPSHOT, ONE, &expected).expect("put");
    proxy.set(Fault::ResetDown(8 << 20));
    let found = read(&*replica.at(&proxy.host), Level::SNAPSHOT, ONE).expect("all of it");
    assert!(found == expected, "what was read is not what was written");
    assert!(proxy.connections() >= count / 8, "{} connections", proxy.connections());
}

#[test]
fn a24_an_upload_over_a_link_that_breaks_every_8_mib_arrives() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    let expected = bytes(64 * MIB);
    proxy.set(Fault::ResetUp(8 << 20));
    // A part fits through, most of the time: two of them share no connection that lives.
    let storage = replica.with(&proxy.host, &[("timeout", "5s")]);
    put(&*storage, Level::SNAPSHOT, ONE, &expected).expect("put");
    let direct = replica.at(&server.host);
    assert!(read(&*direct, Level::SNAPSHOT, ONE).expect("read") == expected);
}

#[test]
fn a24_silence_ends_a_call_within_its_deadline() {
    let Some(server) = seaweed() else { return };
    let proxy = FaultProxy::start(&server.host);
    for fault in [Fault::BlackHole(0), Fault::Stall, Fault::Trickle] {
        proxy.set(fault);
        let storage = Replica::new().at(&proxy.host);
        let (listed, took) = timed(|| list(&*storage));
        assert!(matches!(listed, Err(Error::Unreachable { .. })), "{fault:?}: {listed:?}");
        assert!(took < Duration::from_secs(2) + SLACK, "{fault:?}: {took:?}");
        let (stored, took) = timed(|| put(&*storage, Level::L0, ONE, &bytes(4 * MIB)));
        assert!(matches!(stored, Err(Error::Unreachable { .. })), "{fault:?}: {stored:?}");
        assert!(took < Duration::from_secs(2) + SLACK, "{fault:?}: {took:?}");
    }
}

#[test]
fn a24_a_black_hole_is_noticed_in_30_s() {
    let Some(server) = seaweed() else { return };
    let proxy = FaultProxy::start(&server.host);
    proxy.set(Fault::BlackHole(0));
    let (listed, took) = timed(|| list(&*Replica::new().with(&proxy.host, &[])));
    assert!(matches!(listed, Err(Error::Unreachable { .. })), "{listed:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// What was handed over and has not arrived is on its way: the server is not silent.
#[test]
fn a24_a_slow_line_is_no_silence() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    let storage = replica.with(&proxy.host, &[("timeout", "1s"), ("part-size", "6MiB")]);
    // Alone, the part takes longer than silence may last.
    let expected = bytes(6 * MIB - 1);
    proxy.set(Fault::SlowUp(1 << 20));
    let (stored, took) = timed(|| {
        wait::within(Duration::from_secs(120), || put(&*storage, Level::L0, ONE, &expected).ok())
    });
    assert!(stored.is_some(), "it never arrived, in {took:?}");
    let (stored, took) = timed(|| put(&*storage, Level::L0, ONE, &expected));
    stored.expect("what was learnt holds");
    assert!(took > Duration::from_secs(2), "the line was not slow: {took:?}");
    proxy.set(Fault::None);
    assert!(read(&*replica.at(&server.host), Level::L0, ONE).expect("read") == expected);
}

#[test]
fn a24_a_read_goes_on_where_a_connection_went_silent() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    let expected = bytes(20 * MIB);
    put(&*replica.with(&server.host, &[]), Level::SNAPSHOT, ONE, &expected).expect("put");
    proxy.set(Fault::BlackHole(8 << 20));
    let (found, took) = timed(|| read(&*replica.at(&proxy.host), Level::SNAPSHOT, ONE));
    assert!(found.expect("all of it") == expected);
    assert!(took > Duration::from_secs(2), "two connections went silent in {took:?}");
}

/// Retries are counted since the last progress: a read may break as often as it likes, but one
/// that brings nothing ends.
#[test]
fn a24_a_read_without_progress_ends() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    put(&*replica.with(&server.host, &[]), Level::SNAPSHOT, ONE, &bytes(20 * MIB)).expect("put");
    for fault in [Fault::BlackHole(0), Fault::Close(0), Fault::Refuse] {
        proxy.set(Fault::None);
        let mut reader = replica.at(&proxy.host).open(Level::SNAPSHOT, ONE, 0).expect("open");
        proxy.set(fault);
        let (end, took) = timed(|| std::io::copy(&mut reader, &mut std::io::sink()));
        let error = Error::from_io("read", end.expect_err("no end of the object"));
        assert!(matches!(error, Error::Unreachable { .. }), "{fault:?}: {error:?}");
        assert!(took < Duration::from_secs(5) + SLACK, "{fault:?}: {took:?}");
    }
}

#[test]
fn a_server_that_comes_back_is_used_at_once() {
    let Some(server) = seaweed() else { return };
    let (proxy, replica) = (FaultProxy::start(&server.host), Replica::new());
    let storage = replica.with(&proxy.host, &[("timeout", "20s")]);
    put(&*storage, Level::L0, ONE, b"hello").expect("put");
    for fault in [Fault::Refuse, Fault::Close(0), Fault::ResetUp(1)] {
        proxy.set(fault);
        let (listed, took) = std::thread::scope(|scope| {
            let call = scope.spawn(|| timed(|| list(&*storage)));
            let failures = || storage.usage().map(|it| it.tallies[0].1.errors);
            let before = failures();
            wait::until(&format!("a failure by {fault:?}"), SLACK, || {
                (failures() > before).then_some(())
            });
            proxy.set(Fault::None);
            call.join().expect("join")
        });
        assert_eq!(listed.expect("it is back"), 1, "{fault:?}");
        assert!(took < SLACK, "{fault:?}: {took:?}");
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let proxy = FaultProxy::start("127.0.0.1:1");
    proxy.set(Fault::Refuse);
    for host in [proxy.host.as_str(), "no-such-host.invalid:9000"] {
        let storage = Replica::new().at(host);
        let (listed, took) = timed(|| storage.list(Level::L0, Txid::FIRST));
        assert!(matches!(listed, Err(Error::Unreachable { .. })), "{host}: {listed:?}");
        assert!(took < Duration::from_secs(2) + SLACK, "{host}: {took:?}");
    }
}
