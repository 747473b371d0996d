//! Reading one file of a backup: out of its envelope, out of its LZ4 frame.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use storage::Storage;

use super::Identities;
use super::frame::Frame;
use crate::restore::Error;

const ENVELOPE: &[u8] = b"age-encryption.org/v1";

/// Opens files of a backup.
pub(super) struct Reader<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) identities: &'a Identities,
}

impl Reader<'_> {
    /// The content of a file.
    pub(super) fn open(&self, key: &str) -> Result<Box<dyn Read>, Error> {
        let mut stored = BufReader::new(self.storage.open_key(key)?);
        let begin = stored.fill_buf().map_err(|error| self.damaged(key, &error))?;
        if !begin.starts_with(ENVELOPE) {
            return Ok(Box::new(Frame::new(stored)));
        }
        match self.identities.decrypt(stored) {
            Ok(content) => Ok(Box::new(Frame::new(content))),
            Err(reason) => Err(Error::Encrypted { object: self.name(key), reason }),
        }
    }

    /// An error while a file was copied: whose fault it was shows in its kind.
    pub(super) fn failed(&self, key: &str, output: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::Interrupted => Error::Cancelled,
            io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied => {
                Error::output(output, error)
            }
            _ => self.damaged(key, &error),
        }
    }

    fn damaged(&self, key: &str, error: &io::Error) -> Error {
        Error::DamagedBackup { object: self.name(key), reason: error.to_string() }
    }

    fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.storage.url())
    }
}
