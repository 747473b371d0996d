//! The names of a v0.3 backup.

/// The prefix of all of them.
pub(super) const ROOT: &str = "generations/";

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Snapshot { generation: &'a str, index: u32 },
    Segment { generation: &'a str, index: u32, offset: u64 },
}

impl<'a> Name<'a> {
    pub(super) fn parse(key: &'a str) -> Option<Name<'a>> {
        let (generation, rest) = key.strip_prefix(ROOT)?.split_once('/')?;
        if generation.len() != 16 || !is_hex(generation) {
            return None;
        }
        if let Some(name) = rest.strip_prefix("snapshots/") {
            let index = index(name.strip_suffix(".snapshot.lz4")?)?;
            return Some(Name::Snapshot { generation, index });
        }
        let name = rest.strip_prefix("wal/")?.strip_suffix(".wal.lz4")?;
        let (number, offset) = name.split_once('_')?;
        let known = (8..=16).contains(&offset.len()) && is_hex(offset);
        let offset = known.then(|| u64::from_str_radix(offset, 16).ok()).flatten()?;
        Some(Name::Segment { generation, index: index(number)?, offset })
    }
}

fn index(text: &str) -> Option<u32> {
    (text.len() == 8 && is_hex(text)).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        let generation = "0123456789abcdef";
        let parsed = |rest: &str| Name::parse(&format!("{ROOT}{generation}/{rest}")).is_some();
        assert!(parsed("snapshots/0000000a.snapshot.lz4"));
        assert!(parsed("wal/0000000a_00000000.wal.lz4"));
        let large = format!("{ROOT}{generation}/wal/00000001_1a0000000.wal.lz4");
        let offset = 0x1_a000_0000;
        assert_eq!(Name::parse(&large), Some(Name::Segment { generation, index: 1, offset }));
        for bad in [
            "snapshots/0000000A.snapshot.lz4",
            "snapshots/0000000a.snapshot.lz4.tmp",
            "wal/0000000a.wal.lz4",
            "wal/0000000a_0000000.wal.lz4",
            "wal/a_00000000.wal.lz4",
        ] {
            assert!(!parsed(bad), "{bad}");
        }
        assert_eq!(Name::parse("generations/short/snapshots/00000000.snapshot.lz4"), None);
    }
}
