//! CRC-64/GO-ISO, the checksum of everything in the format.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial x^64 + x^4 + x^3 + x + 1 in reflected form.
const POLYNOMIAL: u64 = 0xD800_0000_0000_0000;

/// The polynomial 1 in reflected form.
const ONE: u64 = 1 << 63;

/// x^(2^k) modulo the polynomial, for each k that the length of a file in bits can need.
const POWERS: [u64; 67] = {
    let mut powers = [ONE >> 1; 67];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// CRC-64/GO-ISO of bytes that come piece by piece.
#[derive(Clone)]
pub struct Crc64 {
    digest: Digest,
    len: u64,
}

impl Crc64 {
    /// The hasher that has seen nothing.
    pub fn new() -> Crc64 {
        Crc64 { digest: Digest::new(CrcAlgorithm::Crc64GoIso), len: 0 }
    }

    /// Hashes more bytes.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Hashes `len` more bytes of which only the CRC is known.
    pub fn append(&mut self, crc: u64, len: u64) {
        let state = !combine(self.value(), crc, len);
        self.digest = Digest::new_with_init_state(CrcAlgorithm::Crc64GoIso, state);
        self.len += len;
    }

    /// The CRC of all bytes so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.digest.finalize()
    }

    /// The number of bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte has been hashed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Crc64 {
    fn default() -> Crc64 {
        Crc64::new()
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc64({:016x} of {} bytes)", self.value(), self.len)
    }
}

/// The CRC of two byte strings in a row, from the CRC of each and the length of the second.
///
/// Appending n bytes multiplies the first CRC by x^(8n) modulo the polynomial; that the initial
/// value and the final xor are equal makes them cancel out.
pub fn combine(crc_a: u64, crc_b: u64, len_b: u64) -> u64 {
    let mut shift = ONE;
    let mut rest = len_b;
    while rest != 0 {
        let k = rest.trailing_zeros() as usize;
        shift = multiply(shift, POWERS[k + 3]);
        rest &= rest - 1;
    }
    multiply(shift, crc_a) ^ crc_b
}

/// The product of two polynomials modulo the polynomial, all reflected: bit 63 is x^0.
const fn multiply(a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    let mut rest = a;
    while rest != 0 {
        if rest & ONE != 0 {
            product ^= b;
        }
        rest <<= 1;
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn check_value_of_the_format_description() {
        assert_eq!(crc(b"123456789"), 0xb909_56c7_75a4_1001);
    }

    #[test]
    fn pieces_and_combination_equal_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        for split in [0, 1, 6, 10, 4096, 65536, 70_000] {
            let (a, b) = bytes.split_at(split);
            let mut pieces = Crc64::new();
            pieces.update(a);
            pieces.update(b);
            assert_eq!(pieces.value(), crc(&bytes));

            let mut joined = Crc64::new();
            joined.update(a);
            joined.append(crc(b), b.len() as u64);
            assert_eq!(joined.value(), crc(&bytes), "split at {split}");
            assert_eq!(joined.len(), 70_000);
            joined.update(b"more");
            pieces.update(b"more");
            assert_eq!(joined.value(), pieces.value());
        }
    }
}
