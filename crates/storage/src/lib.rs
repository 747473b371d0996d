//! Where LTX files live.
//!
//! A [`Storage`] is a flat set of immutable objects, each named by its [`Level`](ltx::Level) and
//! [`TxidRange`](ltx::TxidRange). [`open`] turns a replica's URL into one. Every backend passes
//! the same conformance suite (`tests/conformance.rs`), so a caller never asks which one it has.
#![warn(missing_docs)]

pub mod error;
pub mod file;
pub mod layout;
mod object;
mod owner;
mod storage;
mod temp;
pub mod url;

pub use error::{Error, Result};
pub use file::FileStorage;
pub use object::Object;
pub use owner::Ownership;
pub use storage::{Storage, Upload};
pub use temp::TempFile;
pub use url::{Url, open};
