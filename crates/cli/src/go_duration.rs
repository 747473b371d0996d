//! Durations as Go writes them, since Litestream's configuration does: `1h30m`, `1.5s`, `300ms`.

use std::fmt::Write;
use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),  // micro sign
    ("\u{3bc}s", 1_000), // Greek mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Why a text is not a duration that we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing to read.
    #[error("a duration is missing")]
    Empty,
    /// Go allows them, but no setting has a use for one.
    #[error("a duration cannot be negative")]
    Negative,
    /// A bare number: Litestream reads nanoseconds, which nobody means.
    #[error("the duration {0:?} has no unit")]
    NoUnit(String),
    /// Something that is not a unit.
    #[error("{0:?} is not a unit of time")]
    UnknownUnit(String),
    /// No digits where digits are due.
    #[error("{0:?} is not a duration")]
    NotANumber(String),
    /// Beyond Go's 292 years.
    #[error("the duration {0:?} is too long")]
    TooLong(String),
}

/// Reads a duration by the rules of Go's `time.ParseDuration`, except that it must not be
/// negative. Digits below a nanosecond are cut off.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.is_empty() {
        return Err(Error::Empty);
    }
    if unsigned.starts_with('-') {
        return Err(Error::Negative);
    }
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0_u64;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (term, after) = term(text, rest)?;
        nanos = nanos.checked_add(term).ok_or_else(|| Error::TooLong(text.to_owned()))?;
        rest = after;
    }
    match i64::try_from(nanos) {
        Ok(_) => Ok(Duration::from_nanos(nanos)),
        Err(_) => Err(Error::TooLong(text.to_owned())),
    }
}

/// One number and its unit, in nanoseconds, and what follows.
fn term<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), Error> {
    let too_long = || Error::TooLong(text.to_owned());
    let (whole, rest) = digits(rest);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(Error::NotANumber(text.to_owned()));
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return Err(Error::NoUnit(text.to_owned()));
    }
    let (_, unit) = UNITS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Error::UnknownUnit(name.to_owned()))?;

    let whole = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
    let nanos = u64::checked_mul(whole, *unit).ok_or_else(too_long)?;
    Ok((nanos.checked_add(part(fraction, *unit)).ok_or_else(too_long)?, rest))
}

/// What `0.fraction` of a unit is, cut to whole nanoseconds.
fn part(fraction: &str, unit: u64) -> u64 {
    let mut remainder = 0_u128;
    let mut scale = 1_u128;
    // No unit has more than 13 digits of nanoseconds: digits beyond 18 cannot count.
    for digit in fraction.bytes().take(18) {
        remainder = remainder * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(remainder * u128::from(unit) / scale).unwrap_or(u64::MAX)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Writes a duration as Go prints it: `24h0m0s`, `1.5s`, `300ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let mut text = String::new();
            if minutes >= 60 {
                let _ = write!(text, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(text, "{}m", minutes % 60);
            }
            text + &decimal(nanos % 60_000_000_000, 1_000_000_000) + "s"
        }
    }
}

fn decimal(nanos: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", nanos % unit);
    let text = format!("{}.{fraction}", nanos / unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        let millis = |text| parse(text).map(|it| it.as_millis());
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1.5s"), Ok(1_500));
        assert_eq!(millis(".5s"), Ok(500));
        assert_eq!(millis("1.s"), Ok(1_000));
        assert_eq!(millis("300ms"), Ok(300));
        assert_eq!(millis("+5s"), Ok(5_000));
        assert_eq!(millis("0"), Ok(0));
        assert_eq!(parse("1us2\u{b5}s3\u{3bc}s"), Ok(Duration::from_micros(6)));
        assert_eq!(parse("0.3333333333333333333h"), Ok(Duration::from_nanos(1_199_999_999_999)));
        assert_eq!(parse("9223372036854775807ns"), Ok(Duration::from_nanos(i64::MAX as u64)));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse(""), Err(Error::Empty));
        assert_eq!(parse("-1s"), Err(Error::Negative));
        assert_eq!(parse("10"), Err(Error::NoUnit("10".into())));
        assert_eq!(parse("1m10"), Err(Error::NoUnit("1m10".into())));
        assert_eq!(parse("1d"), Err(Error::UnknownUnit("d".into())));
        assert_eq!(parse(".s"), Err(Error::NotANumber(".s".into())));
        assert_eq!(parse("soon"), Err(Error::NotANumber("soon".into())));
        assert_eq!(parse("1 s"), Err(Error::UnknownUnit(" s".into())));
        assert!(matches!(parse("9223372036854775808ns"), Err(Error::TooLong(_))));
        assert!(matches!(parse("99999999h"), Err(Error::TooLong(_))));
        assert!(matches!(parse("99999999999999999999s"), Err(Error::TooLong(_))));
    }

    #[test]
    fn prints_as_go_prints() {
        assert_eq!(format(Duration::from_secs(86_400)), "24h0m0s");
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
        assert_eq!(format(Duration::from_millis(1_500)), "1.5s");
        assert_eq!(format(Duration::from_millis(300)), "300ms");
        assert_eq!(format(Duration::from_nanos(1_100)), "1.1\u{b5}s");
        assert_eq!(format(Duration::from_nanos(7)), "7ns");
        assert_eq!(format(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn small_durations_read_back_too(nanos in 0..100_000_000_000_u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn terms_add_up(terms in prop::collection::vec((0..1_000_u64, 0..UNITS.len()), 1..6)) {
            let text: String =
                terms.iter().map(|(n, unit)| format!("{n}{}", UNITS[*unit].0)).collect();
            let sum = terms.iter().map(|(n, unit)| n * UNITS[*unit].1).sum();
            prop_assert_eq!(parse(&text), Ok(Duration::from_nanos(sum)));
        }

        #[test]
        fn fractions_are_cut_not_rounded(digits in "[0-9]{1,9}", unit in 0..UNITS.len()) {
            let scale = 10_u64.pow(digits.len() as u32);
            let exact = u128::from(digits.parse::<u64>().unwrap()) * u128::from(UNITS[unit].1);
            let nanos = u64::try_from(exact / u128::from(scale)).unwrap();
            let text = format!("0.{digits}{}", UNITS[unit].0);
            prop_assert_eq!(parse(&text), Ok(Duration::from_nanos(nanos)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
