//! SQLite's own locks in the WAL-index, taken by themselves.
//!
//! *Checkpoint.* Past its auto-checkpoint threshold an application tries to checkpoint after every
//! commit. Under a pin there is nothing for it to gain, and each try costs more than the commit.
//! While we hold the lock, the try ends at its first system call.
//!
//! *Write.* `BEGIN IMMEDIATE` needs a read mark first and must find no commit in between, which
//! under a writer that never pauses takes many tries. The lock alone takes one.
//!
//! *Marks.* A shared lock on a read mark keeps everybody from starting the WAL anew. On one that no
//! reader uses it keeps nobody from copying it back: see `live::barrier`.
//!
//! Recovery of the WAL-index needs the first two, so neither is held for longer than commits keep
//! coming.
//!
//! `unsafe`, because SQLite offers its locks through its VFS alone.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use rusqlite::{Connection, ffi};

/// A lock of the WAL-index (walformat.html, section 2.3.2).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    Write,
    Checkpoint,
    /// Of a read mark, 1 to 4, as readers have it.
    Mark(u8),
}

impl Lock {
    fn number(self) -> c_int {
        match self {
            Lock::Write => 0,
            Lock::Checkpoint => 1,
            Lock::Mark(mark) => 3 + c_int::from(mark),
        }
    }

    fn mode(self) -> c_int {
        match self {
            Lock::Write | Lock::Checkpoint => ffi::SQLITE_SHM_EXCLUSIVE,
            Lock::Mark(_) => ffi::SQLITE_SHM_SHARED,
        }
    }
}

/// Takes a lock for a connection in WAL mode. `false`: somebody else has it.
pub(crate) fn take(connection: &Connection, lock: Lock) -> bool {
    change(connection, lock, ffi::SQLITE_SHM_LOCK | lock.mode())
}

/// Gives back a lock that [`take`] took for the same connection.
pub(crate) fn give_back(connection: &Connection, lock: Lock) {
    change(connection, lock, ffi::SQLITE_SHM_UNLOCK | lock.mode());
}

fn change(connection: &Connection, lock: Lock, flags: c_int) -> bool {
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
        let changed = |call: unsafe extern "C" fn(*mut ffi::sqlite3_file, _, _, _) -> c_int| {
            call(file, lock.number(), 1, flags) == ffi::SQLITE_OK
        };
        (*methods).xShmLock.is_some_and(changed)
    }
}
