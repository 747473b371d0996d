//! Where LTX files live.
//!
//! A [`Storage`] is a flat set of immutable objects, each named by its [`Level`](ltx::Level) and
//! [`TxidRange`](ltx::TxidRange). [`Url::storage`] opens the one that a URL names. Every backend passes
//! the same conformance suite (`tests/conformance.rs`), so a caller never asks which one it has.
#![warn(missing_docs)]

pub mod address;
mod azure;
mod bucket;
mod condition;
mod endpoint;
pub mod error;
pub mod file;
mod gcs;
mod http;
pub mod layout;
mod lease;
mod leased;
mod limited;
mod moment;
mod nats;
mod object;
mod options;
mod oss;
mod owner;
mod remote;
mod s3;
mod sftp;
mod signing;
mod storage;
mod temp;
mod tls;
pub mod url;
mod webdav;
mod wire;

pub use address::{Address, Kind};
pub use condition::{Condition, Version};
pub use error::{Error, Result};
pub use file::FileStorage;
pub use lease::Lease;
pub use leased::Leased;
pub use limited::Limits;
pub use object::{Key, Object};
pub use options::{Environment, Options};
pub use owner::Ownership;
pub use remote::{DURATION_BOUNDS, Operation, Tally, Usage};
pub use storage::{Storage, Upload, copy_file};
pub use temp::TempFile;
pub use url::Url;
