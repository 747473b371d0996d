//! What brooklet's own tests are made of: a workload whose every transaction is known, an oracle
//! that compares a restored database with the exact state after one of them, processes that write,
//! checkpoint and read as applications do, and the programs under test.
//!
//! A failure here is a panic: this crate is used by tests only.

#![warn(missing_docs)]

pub mod faults;
pub mod locks;
pub mod oracle;
pub mod process;
pub mod replica;
pub mod role;
pub mod scratch;
pub mod server;
pub mod stub;
pub mod sweep;
pub mod tool;
pub mod turn;
pub mod wait;
pub mod workload;

pub use oracle::{Mismatch, Oracle};
pub use process::Process;
pub use replica::Replica;
pub use role::{Chaos, Reader, Role, Vacuum, Writer};
pub use scratch::{Scratch, scaled, seed};
pub use server::Server;
pub use sweep::{Sweep, sweep};
pub use tool::{Replicator, Tool};
pub use workload::{Layout, Mix, Workload};
