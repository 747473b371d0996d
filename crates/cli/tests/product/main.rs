//! The product as a user runs it: the built program, real databases, other processes that write,
//! crashes, and restores whose whole content is compared with the exact committed state.
//!
//! `BROOKLET_TEST_SEED` repeats a run, `BROOKLET_TEST_SCALE` makes runs longer,
//! `BROOKLET_TEST_KEEP` keeps the folders, `BROOKLET_TEST_BIN` tests another program (such as
//! Litestream, which fails several of these).

mod capture;
mod courtesy;
mod down;
mod healing;
mod interop;
mod large;
mod replaced;
mod restarts;
mod restore;
mod stage;

/// The part that this program plays when a test starts it again.
#[test]
fn helper_process() {
    testkit::role::play();
}
