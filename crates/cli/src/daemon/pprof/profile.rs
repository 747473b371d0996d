//! pprof's format, as far as it takes: a few messages of Protocol Buffers.
//! (`github.com/google/pprof/blob/main/proto/profile.proto`)

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// One sample stands for so much time, as in Go's profiles.
const PERIOD: Duration = Duration::from_millis(10);

/// The time that threads had on processors, by their names.
#[derive(Debug)]
pub struct Profile {
    pub began: SystemTime,
    pub lasted: Duration,
    pub spent: BTreeMap<String, Duration>,
}

impl Profile {
    /// Its bytes, not compressed, which is allowed.
    pub fn encode(&self) -> Vec<u8> {
        let mut profile = Message::default();
        // The first text is always the empty one.
        let mut texts = vec!["", "samples", "count", "cpu", "nanoseconds"];
        let cpu = ValueType { kind: 3, unit: 4 };
        // Whoever reads it shows the last one.
        profile.message(1, &ValueType { kind: 1, unit: 2 }.encode());
        profile.message(1, &cpu.encode());
        let spent = self.spent.iter().filter(|(_, time)| !time.is_zero());
        for (index, (name, time)) in spent.enumerate() {
            // One function at one place: what runs there is all that is known.
            let (id, text) = (index as u64 + 1, texts.len() as u64);
            texts.push(name);
            profile.message(2, &sample(id, *time));
            profile.message(4, &location(id));
            profile.message(5, &function(id, text));
        }
        texts.iter().for_each(|text| profile.bytes(6, text.as_bytes()));
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        profile.number(9, nanoseconds(began));
        profile.number(10, nanoseconds(self.lasted));
        profile.message(11, &cpu.encode());
        profile.number(12, nanoseconds(PERIOD));
        profile.0
    }
}

/// What is measured in which unit, as numbers of texts.
struct ValueType {
    kind: u64,
    unit: u64,
}

impl ValueType {
    fn encode(&self) -> Message {
        let mut it = Message::default();
        it.number(1, self.kind);
        it.number(2, self.unit);
        it
    }
}

fn sample(location: u64, time: Duration) -> Message {
    let mut it = Message::default();
    it.number(1, location);
    it.number(2, nanoseconds(time).div_ceil(nanoseconds(PERIOD)));
    it.number(2, nanoseconds(time));
    it
}

fn location(id: u64) -> Message {
    let mut line = Message::default();
    line.number(1, id);
    let mut it = Message::default();
    it.number(1, id);
    it.message(4, &line);
    it
}

fn function(id: u64, name: u64) -> Message {
    let mut it = Message::default();
    it.number(1, id);
    it.number(2, name);
    it
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A message of Protocol Buffers: fields, each with its number and type before it.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Number(u64),
        Bytes(&'a [u8]),
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a byte");
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return number;
            }
        }
        unreachable!()
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Number(value),
                2 => {
                    let (head, rest) = bytes.split_at(value as usize);
                    bytes = rest;
                    Field::Bytes(head)
                }
                other => panic!("type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        fields
    }

    /// The numbers of a message of numbers.
    fn numbers(bytes: &[u8]) -> Vec<(u64, u64)> {
        let number = |(field, value)| match value {
            Field::Number(number) => (field, number),
            Field::Bytes(_) => panic!("no number"),
        };
        fields(bytes).into_iter().map(number).collect()
    }

    #[test]
    fn it_is_read_by_the_book() {
        let profile = Profile {
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            lasted: Duration::from_secs(2),
            spent: BTreeMap::from([
                ("capture".to_owned(), Duration::from_millis(25)),
                ("idle".to_owned(), Duration::ZERO),
                ("upload".to_owned(), Duration::from_nanos(300)),
            ]),
        };
        let bytes = profile.encode();
        let all = fields(&bytes);
        let of = |number: u64| all.iter().filter(move |it| it.0 == number).map(|it| &it.1);
        let messages = |number: u64| {
            let bytes = of(number).map(|it| match it {
                Field::Bytes(bytes) => *bytes,
                Field::Number(_) => panic!("a number"),
            });
            bytes.collect::<Vec<_>>()
        };
        let texts: Vec<_> =
            messages(6).into_iter().map(|it| std::str::from_utf8(it).expect("text")).collect();
        assert_eq!(texts, ["", "samples", "count", "cpu", "nanoseconds", "capture", "upload"]);
        let types: Vec<_> = messages(1).into_iter().map(numbers).collect();
        assert_eq!(types, [[(1, 1), (2, 2)], [(1, 3), (2, 4)]]);
        let samples: Vec<_> = messages(2).into_iter().map(numbers).collect();
        assert_eq!(samples, [[(1, 1), (2, 3), (2, 25_000_000)], [(1, 2), (2, 1), (2, 300)]]);
        let locations: Vec<_> = messages(4).into_iter().map(fields).collect();
        for (id, location) in (1..).zip(&locations) {
            assert_eq!(location[0], (1, Field::Number(id)));
            assert_eq!(location[1], (4, Field::Bytes(&[1 << 3, id as u8])), "its function");
        }
        let functions: Vec<_> = messages(5).into_iter().map(numbers).collect();
        assert_eq!(functions, [[(1, 1), (2, 5)], [(1, 2), (2, 6)]]);
        let number = |field| of(field).next();
        assert_eq!(number(9), Some(&Field::Number(1_700_000_000_000_000_000)));
        assert_eq!(number(10), Some(&Field::Number(2_000_000_000)));
        assert_eq!(numbers(messages(11)[0]), [(1, 3), (2, 4)]);
        assert_eq!(number(12), Some(&Field::Number(10_000_000)));
    }
}
