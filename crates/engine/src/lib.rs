//! Keeps replicas equal to live databases.
//!
//! A [`Replicator`] holds a set of databases. For each of them, [`database`] decides what to do
//! next: [`start`] finds where the history stands, [`capture`] turns new WAL frames into one LTX
//! file, [`image`] makes whole images or page differences where continuity is not proven,
//! [`checkpointer`] keeps the WAL small, and [`upload`] carries the staged files to storage.

mod capture;
mod checkpointer;
mod database;
mod error;
mod image;
pub mod local;
mod position;
mod replicator;
pub mod restore;
mod scheduler;
mod shared;
mod start;
mod status;
mod sums;
mod upload;
mod watch;

pub use database::DatabaseOptions;
pub use error::{Error, SyncError};
pub use replicator::Replicator;
pub use status::{DatabaseState, DatabaseStatus};
