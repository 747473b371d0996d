//! What SQLite sets aside for a connection, before anybody asks for it.
//!
//! Ours read a page or two. A hundred kilobytes for each of three connections to each of thousands
//! of databases would be most of our memory.
//!
//! `unsafe`, because these are calls to C: a setting of the whole library, made before its first
//! use, and one of the allocator's.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;
use std::sync::Once;

use rusqlite::ffi;

/// Gives the memory of closed connections back to the system, where the allocator keeps it.
pub fn give_back() {
    // SAFETY: it takes a number of bytes to keep, and has no other condition.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// From now on connections take memory as they need it. Without effect where SQLite is in use
/// already, as in a program that has connections of its own.
pub(crate) fn spare() {
    static ONCE: Once = Once::new();
    // SAFETY: each option is given the arguments that its documentation names: a size and a number
    // for LOOKASIDE; no buffer, a size and a number for PAGECACHE.
    ONCE.call_once(|| unsafe {
        let none: c_int = 0;
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, none, none);
        let nowhere: *mut std::ffi::c_void = ptr::null_mut();
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, nowhere, none, none);
    });
}
