//! What a server's refusals mean.

use std::io;

use russh_sftp::protocol::{Status, StatusCode};

use crate::{Error, wire};

/// The meaning of a status that is no success.
pub(super) fn meaning(object: &str, status: Status) -> Error {
    let object = object.to_owned();
    let code = status.status_code;
    let reason = match status.error_message.as_str() {
        "" => code.to_string(),
        message => wire::shortened(message.to_owned()),
    };
    match code {
        StatusCode::NoSuchFile => Error::NotFound { object },
        StatusCode::PermissionDenied => Error::Denied { object, reason },
        StatusCode::NoConnection | StatusCode::ConnectionLost => {
            Error::Unreachable { object, reason }
        }
        StatusCode::OpUnsupported => Error::Unsupported { url: object, reason },
        StatusCode::Ok | StatusCode::Eof | StatusCode::Failure | StatusCode::BadMessage => {
            let source = io::Error::other(format!("the server refuses: {reason}"));
            Error::Io { object, source }
        }
    }
}

/// The server's disk is full.
pub(super) fn full(object: &str) -> Error {
    let source = io::Error::new(
        io::ErrorKind::StorageFull,
        "no space is left on the server's disk, or the user's quota is used up",
    );
    Error::Io { object: object.to_owned(), source }
}

/// The connection is gone.
pub(super) fn lost(object: &str, reason: impl ToString) -> Error {
    Error::Unreachable { object: object.to_owned(), reason: reason.to_string() }
}
