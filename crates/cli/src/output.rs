//! What commands print on stdout. A reader that has gone away, such as `head`, is no error.

use crate::failure::Result;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line.
pub fn line(text: impl Display) -> Result<()> {
    write(&format!("{text}\n"))
}

/// Prints a table with a header, its columns aligned.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = tabwriter::TabWriter::new(Vec::new()).padding(2);
    writeln!(table, "{}", header.join("\t"))?;
    for row in rows {
        writeln!(table, "{}", row.join("\t"))?;
    }
    let text = table.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    write(&String::from_utf8_lossy(&text))
}

/// Prints a value as indented JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    line(text)
}

/// Prints a value as one line of JSON.
pub fn json_line(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value).map_err(io::Error::from)?)
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// A moment as RFC 3339 in UTC.
pub fn moment(moment: ltx::Timestamp) -> String {
    jiff::Timestamp::from_millisecond(moment.as_millis())
        .map_or_else(|_| format!("{} ms", moment.as_millis()), |moment| moment.to_string())
}

/// A moment as RFC 3339 to the second, of one that is more exact.
pub fn seconds(moment: &str) -> String {
    match moment.parse::<jiff::Timestamp>() {
        Ok(moment) => format!("{moment:.0}"),
        Err(_) => moment.to_owned(),
    }
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number for people: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration for people, to three digits or so.
pub fn duration(duration: std::time::Duration) -> String {
    match duration.as_secs_f64() {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.2} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn quantities_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(8_300), "8.3 kB");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(730_000_000), "730.0 MB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(duration(Duration::from_micros(250)), "250 µs");
        assert_eq!(duration(Duration::from_millis(8)), "8.0 ms");
        assert_eq!(duration(Duration::from_millis(431)), "431 ms");
        assert_eq!(duration(Duration::from_millis(9_870)), "9.87 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
