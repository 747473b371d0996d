//! How names, sizes and answers are written in requests.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::remote::SILENCE;
use crate::{Error, Options, Result};

/// What need not be escaped in a URL (RFC 3986, 2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);
/// The longest text of a server that is put into a message.
const LONGEST_REASON: usize = 300;

/// A name as it stands in the path of a URL.
pub(crate) fn path(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// A name or a value as it stands in a query.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// A query with its question mark; nothing if it is empty.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&escaped(name));
        text.push('=');
        text.push_str(&escaped(value));
    }
    text
}

/// Reads an answer.
pub(crate) fn from_xml<T: DeserializeOwned>(object: &str, xml: &str) -> Result<T> {
    quick_xml::de::from_str(xml).map_err(|error| damaged(object, &error, xml))
}

/// Reads an answer that must be of this element, so that no other page passes for an empty one.
pub(crate) fn from_xml_of<T: DeserializeOwned>(
    object: &str,
    element: &str,
    xml: &str,
) -> Result<T> {
    if root(xml) != Some(element) {
        let error = format!("no {element}");
        return Err(damaged(object, &error, xml));
    }
    from_xml(object, xml)
}

/// The name of the element that holds all others.
fn root(xml: &str) -> Option<&str> {
    let begin = xml.match_indices('<').map(|(at, _)| &xml[at + 1..]);
    let mut elements = begin.filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    elements.next()?.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

/// Reads an answer.
pub(crate) fn from_json<T: DeserializeOwned>(object: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| damaged(object, &error, json))
}

fn damaged(object: &str, error: &dyn std::fmt::Display, text: &str) -> Error {
    let reason = format!("{error} in {:?}", shortened(text.to_owned()));
    Error::Corrupt { object: object.to_owned(), reason }
}

/// The beginning of a text, for a message.
pub(crate) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_REASON) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// A size in bytes: `10485760`, `10MB` (of 1000) or `10MiB` (of 1024).
pub(crate) fn byte_size(options: &Options, name: &str) -> Result<Option<usize>> {
    let Some(text) = options.get(name) else { return Ok(None) };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "k" | "kb" => Some(1e3),
        "m" | "mb" => Some(1e6),
        "g" | "gb" => Some(1e9),
        "kib" | "ki" => Some(f64::from(1 << 10)),
        "mib" | "mi" => Some(f64::from(1 << 20)),
        "gib" | "gi" => Some(f64::from(1 << 30)),
        _ => None,
    };
    let size = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    match size.filter(|size| *size >= 1.0 && *size <= 1e12) {
        Some(size) => Ok(Some(size as usize)),
        None => Err(Error::Unsupported {
            url: name.to_owned(),
            reason: format!("{text:?} is no size, such as 10MB or 10MiB"),
        }),
    }
}

/// How long a server may be silent: `timeout`, as `20s` or `1m30s`.
pub(crate) fn silence(options: &Options) -> Result<Duration> {
    let silence = duration(options, "timeout")?.unwrap_or(SILENCE);
    if silence < SHORTEST_SILENCE {
        return Err(Error::Unsupported {
            url: "timeout".into(),
            reason: "is a duration of 100ms or more, such as 20s".into(),
        });
    }
    Ok(silence)
}

/// A duration as Go writes it: `10s`, `1m30s`, `1.5h`.
pub(crate) fn duration(options: &Options, name: &str) -> Result<Option<Duration>> {
    let Some(text) = options.get(name) else { return Ok(None) };
    match go_duration(text) {
        Some(duration) => Ok(Some(duration)),
        None => Err(Error::Unsupported {
            url: name.to_owned(),
            reason: format!("{text:?} is no duration, such as 10s or 1m30s"),
        }),
    }
}

fn go_duration(mut text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    loop {
        let (number, rest) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, rest) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
        let number: f64 = number.chars().all(is_number).then(|| number.parse().ok()).flatten()?;
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        text = rest;
        if text.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_is_escaped() {
        assert_eq!(path("a b/0000/x+y.ltx"), "a%20b/0000/x%2By.ltx");
        assert_eq!(query(&[("a", "b/c"), ("uploads", "")]), "?a=b%2Fc&uploads=");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn no_other_page_passes_for_an_answer() {
        #[derive(Debug, serde::Deserialize)]
        struct Empty {}
        let of = |xml: &str| from_xml_of::<Empty>("o", "List", xml);
        of("<?xml version=\"1.0\"?>\n<!-- c --><List xmlns=\"x\"><A/></List>").expect("a list");
        of("<List/>").expect("a list");
        for other in ["<html><body>Welcome</body></html>", "<Lists/>", "", "List", "<?xml?>"] {
            assert!(of(other).is_err(), "{other}");
        }
    }

    #[test]
    fn deadlines_are_read() {
        let of = |text: &str| silence(&[("timeout", text)].into_iter().collect());
        assert_eq!(silence(&Options::new()).expect("the usual one"), SILENCE);
        assert_eq!(of("1m30s").expect("a duration"), Duration::from_secs(90));
        assert_eq!(of("500ms").expect("a duration"), Duration::from_millis(500));
        for text in ["20", "-5s", "0s", "soon"] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, millis) in [("10s", 10_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("5ms", 5)]
        {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1x", "-1s", "1s2", "1e9s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let of = |text: &str| {
            let options: Options = [("part-size", text)].into_iter().collect();
            byte_size(&options, "part-size")
        };
        assert_eq!(of("10485760").expect("a size"), Some(10 << 20));
        assert_eq!(of("1.5MB").expect("a size"), Some(1_500_000));
        assert_eq!(of("8 MiB").expect("a size"), Some(8 << 20));
        assert!(of("many").is_err());
        assert!(of("0").is_err());
    }
}
