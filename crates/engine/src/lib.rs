//! Keeps replicas equal to live databases.
//!
//! A [`Replicator`] holds a set of databases. For each of them, [`database`] decides what to do
//! next: [`start`] finds where the history stands, [`capture`] turns new WAL frames into one LTX
//! file, [`image`] makes whole images or page differences where continuity is not proven,
//! [`checkpointer`] keeps the WAL small, and [`upload`] carries the staged files to storage.

mod capture;
mod checkpointer;
mod compact;
mod compaction;
mod database;
mod enforce;
mod error;
pub mod folder;
mod image;
mod inventory;
mod keeper;
mod leaving;
pub mod local;
mod options;
mod position;
mod replica;
mod replicator;
pub mod restore;
mod retention;
mod scheduler;
mod seats;
mod shared;
mod snapshot;
mod snapshotter;
mod start;
mod status;
mod sums;
mod upload;
mod verifier;
pub mod verify;
mod views;
mod watch;

pub use enforce::enforce;
pub use error::{Error, SyncError, Unsynced};
pub use options::{DatabaseOptions, HistoryOptions};
pub use replicator::Replicator;
pub use retention::Retention;
pub use status::{Backlog, Contents, Counts, DatabaseState, DatabaseStatus, Level0, ReplicaStatus};
pub use verifier::Validation;
