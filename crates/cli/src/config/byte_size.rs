//! Sizes as people write them: `512MB`, `1.5GiB`, `1048576`.

const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1000),
    ("m", 1000_u64.pow(2)),
    ("mb", 1000_u64.pow(2)),
    ("g", 1000_u64.pow(3)),
    ("gb", 1000_u64.pow(3)),
    ("t", 1000_u64.pow(4)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// The number of bytes, if it is a size: decimal units count by 1000, binary ones by 1024.
pub fn parse(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(*unit),
        Some((whole, fraction)) => {
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let value = number.parse::<f64>().ok().filter(|_| digits(whole) && digits(fraction))?;
            let bytes = value * *unit as f64;
            (bytes < u64::MAX as f64).then_some(bytes as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("10MB", 10_000_000),
            ("10 mb", 10_000_000),
            ("5MiB", 5 << 20),
            ("1.5KiB", 1536),
            ("2T", 2_000_000_000_000),
            ("100B", 100),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_size() {
        for text in ["", "MB", "4 apples", "1.MB", ".5MB", "-1", "1e3", "1.2.3", "99999999TB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
