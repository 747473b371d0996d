//! The product as a user runs it: the built program, real databases, other processes that write,
//! crashes, and restores whose whole content is compared with the exact committed state.
//!
//! `BROOKLET_TEST_SEED` repeats a run, `BROOKLET_TEST_SCALE` makes runs longer,
//! `BROOKLET_TEST_KEEP` keeps the folders, `BROOKLET_TEST_BIN` tests another program (such as
//! Litestream, which fails several of these).

mod capture;
mod courtesy;
mod down;
mod follow;
mod healing;
mod history;
mod interop;
mod large;
mod lease;
mod many;
mod metrics;
mod remote;
mod remote_azure;
mod remote_faults;
mod remote_gcs;
mod remote_nats;
mod remote_oss;
mod remote_s3;
mod remote_sftp;
mod remote_webdav;
mod replaced;
mod restarts;
mod restore;
mod stage;
mod verify;

/// The part that this program plays when a test starts it again.
#[test]
fn helper_process() {
    testkit::role::play();
}
