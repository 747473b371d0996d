//! What a lease says of its owner: Litestream's fields, and some of ours.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::process;

/// Litestream's.
const USUAL_TIME: Duration = Duration::from_secs(30);

/// The content of `lock.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    pub(super) generation: u64,
    /// For Litestream, and for people. At the epoch, it was given back.
    #[serde(default = "never")]
    expires_at: Timestamp,
    /// `host:pid`
    #[serde(default)]
    pub(super) owner: String,
    /// Tells one holder from the next.
    #[serde(default)]
    pub(super) id: String,
    /// What tells whether the process lives, on the machine where it runs.
    #[serde(default)]
    process: String,
    /// How long nobody renews it before it is taken over.
    #[serde(default)]
    milliseconds: u64,
    /// Who wrote to the replica last, which its holder may not have done yet.
    #[serde(default)]
    pub(super) writer: String,
}

impl Record {
    pub(super) fn ours(
        generation: u64,
        expires_at: SystemTime,
        id: &str,
        time: Duration,
        writer: &str,
    ) -> Record {
        Record {
            generation,
            expires_at: Timestamp::try_from(expires_at).unwrap_or(never()),
            owner: process::owner(),
            id: id.to_owned(),
            process: process::ours().unwrap_or_default(),
            milliseconds: u64::try_from(time.as_millis()).unwrap_or_default(),
            writer: writer.to_owned(),
        }
    }

    /// One that cannot be read belongs to somebody unknown.
    pub(super) fn parse(body: &[u8]) -> Record {
        serde_json::from_slice(body).unwrap_or_else(|_| Record {
            generation: 0,
            expires_at: never(),
            owner: "an unknown writer".to_owned(),
            id: String::new(),
            process: String::new(),
            milliseconds: 0,
            writer: String::new(),
        })
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// How long it lasts without being renewed.
    pub(super) fn time(&self) -> Duration {
        match self.milliseconds {
            0 => USUAL_TIME,
            milliseconds => Duration::from_millis(milliseconds),
        }
    }

    /// Whether it need not be waited for: it was given back, or its owner was a process of this
    /// machine that has ended. That it ran out says another machine's clock, which may be wrong by
    /// any time; whether anybody renews it is seen by ours.
    pub(super) fn is_over(&self) -> bool {
        self.expires_at == Timestamp::UNIX_EPOCH || process::has_ended(&self.process)
    }
}

/// Not known to be given back.
fn never() -> Timestamp {
    Timestamp::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litestreams_lease_is_read() {
        let body = br#"{"generation":7,"expires_at":"2026-11-26T10:00:00Z","owner":"db1:42"}"#;
        let record = Record::parse(body);
        assert_eq!((record.generation, &*record.owner), (7, "db1:42"));
        assert_eq!(record.time(), USUAL_TIME);
    }

    #[test]
    fn no_clock_of_another_machine_ends_a_lease() {
        let expired = |at: &str| {
            let body = format!(r#"{{"generation":7,"expires_at":"{at}","owner":"db1:42"}}"#);
            Record::parse(body.as_bytes()).is_over()
        };
        for at in ["2001-01-01T00:00:00Z", "1970-01-01T00:00:30Z", "0001-01-01T00:00:00Z"] {
            assert!(!expired(at), "{at}");
        }
        assert!(expired("1970-01-01T00:00:00Z"), "given back");
    }

    #[test]
    fn what_cannot_be_read_is_never_over() {
        for body in ["?", "{}", r#"{"generation":7,"owner":"db1:42"}"#] {
            assert!(!Record::parse(body.as_bytes()).is_over(), "{body}");
        }
    }

    #[test]
    fn ours_is_not_over_while_we_live_unless_it_was_given_back() {
        let time = Duration::from_secs(1);
        let ours = Record::ours(1, SystemTime::now() + time, "a", time, "w");
        assert_eq!(Record::parse(&ours.to_json()), ours);
        assert!(!ours.is_over());
        assert!(Record::ours(1, SystemTime::UNIX_EPOCH, "a", time, "w").is_over());
    }

    #[test]
    fn one_of_a_process_that_has_ended_is_over() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let time = Duration::from_secs(30);
        let mut record = Record::ours(1, SystemTime::now() + time, "a", time, "w");
        record.process = process::of(child.id()).expect("a process");
        assert!(!record.is_over());
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(record.is_over());
    }
}
