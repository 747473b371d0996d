//! The last 16 bytes of a file.

use crate::{Checksum, Crc64, Error, Header, Result, RollingSum};

/// The checksums that end a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The rolling sum of the database after this file; none with [`Header::no_checksum`].
    pub post_apply: Option<Checksum>,
    /// The checksum of the file's content.
    pub file: Checksum,
}

impl Trailer {
    /// The encoded size in bytes.
    pub const SIZE: usize = 16;

    /// The trailer of a file that has this CRC up to here.
    pub(crate) fn seal(post_apply: Option<Checksum>, mut crc: Crc64) -> Trailer {
        crc.update(&post_apply_bytes(post_apply));
        Trailer { post_apply, file: Checksum::of_crc(crc.value()) }
    }

    pub(crate) fn to_bytes(self) -> [u8; Trailer::SIZE] {
        let mut bytes = [0; Trailer::SIZE];
        bytes[..8].copy_from_slice(&post_apply_bytes(self.post_apply));
        bytes[8..].copy_from_slice(&self.file.get().to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Trailer::SIZE]) -> Result<Trailer> {
        let [post_apply, file] = [0, 8].map(|at| {
            let field: [u8; 8] = std::array::from_fn(|i| bytes[at + i]);
            u64::from_be_bytes(field)
        });
        let file = Checksum::new(file).ok_or(Error::BadTrailer("file checksum without flag"))?;
        let post_apply = match post_apply {
            0 => None,
            bits => Some(
                Checksum::new(bits).ok_or(Error::BadTrailer("post-apply checksum without flag"))?,
            ),
        };
        Ok(Trailer { post_apply, file })
    }

    /// Checks the trailer against the header, the CRC of all before it and the sum of all pages.
    pub(crate) fn check(self, header: &Header, crc: Crc64, pages: RollingSum) -> Result<()> {
        match (header.no_checksum, self.post_apply) {
            (true, Some(_)) => return Err(Error::BadTrailer("post-apply checksum not allowed")),
            (false, None) => return Err(Error::BadTrailer("post-apply checksum missing")),
            _ => {}
        }
        let (stored, computed) = (self.file, Trailer::seal(self.post_apply, crc).file);
        if stored != computed {
            return Err(Error::FileChecksum { stored, computed });
        }
        match (self.post_apply, pages.checksum()) {
            (Some(stored), computed) if header.txids.is_snapshot() && stored != computed => {
                Err(Error::PostApply { stored, computed })
            }
            _ => Ok(()),
        }
    }
}

/// The first half of the trailer: the last part of the file that is hashed.
fn post_apply_bytes(post_apply: Option<Checksum>) -> [u8; 8] {
    post_apply.map_or(0, Checksum::get).to_be_bytes()
}
