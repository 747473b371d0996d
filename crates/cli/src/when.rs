//! Points in time as people write them: RFC 3339, or friendlier.

use crate::failure::{Failure, Result};
use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

const EXAMPLES: &str = "write 2026-11-22T10:00:00Z, \"2026-11-22 10:00\" (local time), \
                        \"yesterday 18:30\" or \"5 minutes ago\"";

/// The moment that `text` means, seen from `now` and its time zone.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp> {
    let text = text.trim();
    let unclear =
        || Failure::usage(format_args!("cannot read the point in time {text:?}")).hint(EXAMPLES);
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact);
    }
    if text.eq_ignore_ascii_case("now") {
        return Ok(now.timestamp());
    }
    if text.to_ascii_lowercase().ends_with("ago") {
        let span: Span = text.parse().map_err(|_| unclear())?;
        return now.checked_add(span).map(|then| then.timestamp()).map_err(|_| unclear());
    }
    local(civil(text, now).ok_or_else(unclear)?, now)
}

/// A date and a time without an offset; either may be left out.
fn civil(text: &str, now: &Zoned) -> Option<DateTime> {
    let (day, clock) = text.split_once([' ', 'T']).map_or((text, None), |(a, b)| (a, Some(b)));
    let clock = clock.map(str::trim);
    let date = match day.to_ascii_lowercase().as_str() {
        "today" => now.date(),
        "yesterday" => now.date().yesterday().ok()?,
        _ => match day.parse::<Date>() {
            Ok(date) => date,
            Err(_) if clock.is_none() => return Some(now.date().to_datetime(time(day)?)),
            Err(_) => return None,
        },
    };
    let time = clock.map_or(Some(Time::midnight()), time)?;
    Some(date.to_datetime(time))
}

/// `10:00` or `10:00:30`, and nothing looser.
fn time(text: &str) -> Option<Time> {
    text.contains(':').then(|| text.parse().ok()).flatten()
}

/// Where the clocks skip or repeat an hour we ask back rather than guess.
fn local(civil: DateTime, now: &Zoned) -> Result<Timestamp> {
    let zone = now.time_zone();
    zone.to_ambiguous_timestamp(civil).unambiguous().map_err(|_| {
        let name = zone.iana_name().unwrap_or("local time");
        Failure::usage(format_args!("{civil} is not one moment in {name}: the clocks change then"))
            .hint("write it with an offset: 2026-10-25T02:30:00+01:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-11-22T12:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn at(text: &str) -> String {
        parse(text, &now()).unwrap().to_string()
    }

    #[test]
    fn exact_forms_are_rfc_3339() {
        assert_eq!(at("2026-11-22T10:00:00Z"), "2026-11-22T10:00:00Z");
        assert_eq!(at("2026-11-22T10:00:00.123+02:00"), "2026-11-22T08:00:00.123Z");
    }

    #[test]
    fn friendly_forms_are_local() {
        assert_eq!(at("now"), "2026-11-22T11:00:00Z");
        assert_eq!(at("5 minutes ago"), "2026-11-22T10:55:00Z");
        assert_eq!(at("1 hour 30 minutes ago"), "2026-11-22T09:30:00Z");
        assert_eq!(at("2h ago"), "2026-11-22T09:00:00Z");
        assert_eq!(at("3 days ago"), "2026-11-19T11:00:00Z");
        assert_eq!(at("2026-11-22 10:00"), "2026-11-22T09:00:00Z");
        assert_eq!(at("2026-11-22T10:00:05"), "2026-11-22T09:00:05Z");
        assert_eq!(at("2026-11-22"), "2026-11-21T23:00:00Z");
        assert_eq!(at("yesterday 18:30"), "2026-11-21T17:30:00Z");
        assert_eq!(at("today"), "2026-11-21T23:00:00Z");
        assert_eq!(at("10:15"), "2026-11-22T09:15:00Z");
    }

    #[test]
    fn the_day_before_a_clock_change_is_the_same_time_of_day() {
        let now: Zoned = "2026-10-25T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        assert_eq!(parse("1 day ago", &now).unwrap().to_string(), "2026-10-24T10:00:00Z");
    }

    #[test]
    fn a_repeated_or_skipped_hour_is_asked_back() {
        for text in ["2026-10-25 02:30", "2026-03-29 02:30"] {
            let failure = parse(text, &now()).unwrap_err();
            assert!(failure.message.contains("not one moment in Europe/Berlin"), "{failure}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for text in ["", "soon", "5 minutes", "2026-13-01", "22.11.2026", "10", "ago"] {
            let failure = parse(text, &now()).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.hint.unwrap().contains("5 minutes ago"));
        }
    }
}
