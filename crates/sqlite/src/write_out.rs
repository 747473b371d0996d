//! Writing a part of a file to the disk ahead of the sync that will wait for it.
//!
//! A sync of a whole file competes with a writer at its end for every page; one of a range behind
//! that writer does not. It makes nothing durable by itself: sizes and the disk's own cache stay
//! as they are until a real sync, which then has little left to do, and which reports what failed.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::fs::File;
use std::ops::Range;

/// Has the bytes in `range` written, and waits until they are, where the system can do that.
#[cfg(target_os = "linux")]
pub(crate) fn write_out(file: &File, range: Range<u64>) {
    use std::os::fd::AsRawFd;

    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let (Ok(start), Ok(end)) = (i64::try_from(range.start), i64::try_from(range.end)) else {
        return;
    };
    if start < end {
        // SAFETY: the call takes numbers only; the descriptor is open for as long as `file` is.
        let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), start, end - start, flags) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn write_out(_file: &File, _range: Range<u64>) {}
