//! Reading objects, and telling what a disk has lost from what it cannot do now.

use std::fs::File;
use std::io::{self, Read};

use crate::Error;
use crate::error::is_disk_failure;

/// An object that is read from here to its end.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) file: File,
    /// For messages.
    pub(super) object: String,
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf).map_err(|error| match is_disk_failure(&error) {
            true => io::Error::other(unread(&self.object, error)),
            false => error,
        })
    }
}

/// Why an object cannot be read.
pub(super) fn unread(object: &str, source: io::Error) -> Error {
    match is_disk_failure(&source) {
        true => Error::Lost { object: object.to_owned(), source },
        false => Error::from_io(object, source),
    }
}
