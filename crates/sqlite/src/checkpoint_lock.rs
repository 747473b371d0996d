//! SQLite's checkpoint lock, held between our own checkpoints.
//!
//! Past its auto-checkpoint threshold an application tries to checkpoint after every commit. Under
//! a pin there is nothing for it to gain, and each try costs more than the commit. While we hold
//! the lock, the try ends at its first system call.
//!
//! Recovery of the WAL-index needs this lock too, so it is held only while commits keep coming.
//!
//! This is the one file with `unsafe` code: SQLite offers its locks through its VFS alone.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use rusqlite::{Connection, ffi};

/// The lock's number in the WAL-index (walformat.html, section 2.3.2).
const CHECKPOINT: c_int = 1;

/// Takes the lock for a connection in WAL mode. `false`: somebody else has it.
pub(crate) fn take(connection: &Connection) -> bool {
    change(connection, ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_EXCLUSIVE)
}

/// Gives back the lock that [`take`] took for the same connection.
pub(crate) fn give_back(connection: &Connection) {
    change(connection, ffi::SQLITE_SHM_UNLOCK | ffi::SQLITE_SHM_EXCLUSIVE);
}

fn change(connection: &Connection, flags: c_int) -> bool {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is live for as long as `connection` is borrowed, the name is a C string,
    // and FILE_POINTER writes one pointer to the place that it is given.
    let found = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    if found != ffi::SQLITE_OK || file.is_null() {
        return false;
    }
    // SAFETY: SQLite owns `file` for the life of the connection. Its methods are set once it is
    // open; those of version 2 and later have xShmLock, which may be called once the WAL-index is
    // mapped: the connection has had a read transaction in WAL mode.
    unsafe {
        let methods = (*file).pMethods;
        if methods.is_null() || (*methods).iVersion < 2 {
            return false;
        }
        (*methods).xShmLock.is_some_and(|lock| lock(file, CHECKPOINT, 1, flags) == ffi::SQLITE_OK)
    }
}
