//! Moments as servers write them.

use ltx::Timestamp;

use crate::{Error, Result};

/// As Litestream notes when a file was created: UTC, a fraction without trailing zeros.
pub(crate) fn to_rfc3339(moment: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or_default().to_string()
}

/// Reads what a server says about `object`.
pub(crate) fn from_rfc3339(object: &str, text: &str) -> Result<Timestamp> {
    parsed(object, text, text.trim().parse::<jiff::Timestamp>().ok())
}

/// Reads what a header says about `object`: `Sun, 22 Nov 2026 21:16:11 GMT`.
pub(crate) fn from_http(object: &str, text: &str) -> Result<Timestamp> {
    let read = jiff::fmt::rfc2822::parse(text.trim()).ok();
    parsed(object, text, read.map(|zoned| zoned.timestamp()))
}

fn parsed(object: &str, text: &str, read: Option<jiff::Timestamp>) -> Result<Timestamp> {
    let read = read.ok_or_else(|| Error::Corrupt {
        object: object.to_owned(),
        reason: format!("{text:?} is no moment"),
    })?;
    Ok(Timestamp::from_millis(read.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_litestream_writes_them() {
        for (millis, text) in [
            (1_795_382_171_409, "2026-11-22T21:16:11.409Z"),
            (1_795_382_171_400, "2026-11-22T21:16:11.4Z"),
            (1_795_382_171_000, "2026-11-22T21:16:11Z"),
        ] {
            assert_eq!(to_rfc3339(Timestamp::from_millis(millis)), text);
            assert_eq!(from_rfc3339("o", text).expect(text).as_millis(), millis);
        }
        let from_http = from_http("o", "Sun, 22 Nov 2026 21:16:11 GMT").expect("a moment");
        assert_eq!(from_http.as_millis(), 1_795_382_171_000);
        assert!(from_rfc3339("o", "yesterday").is_err());
    }
}
