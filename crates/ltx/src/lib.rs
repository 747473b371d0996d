//! The LTX file format, version 3, as Litestream 0.5 writes it: a sorted set of database pages that
//! moves a database from one transaction to a later one.
//!
//! A file is a [`Header`], page frames in ascending order, an index of them and a [`Trailer`] with
//! the checksum of all that. This crate knows bytes only: no paths, no storage, no locks. It reads
//! with [`Decoder`] (a stream, strict) or with [`Index`], [`decode_frames`] and [`FileCheck`]
//! (ranges, on any number of threads), and writes with [`Encoder`], fed page by page or with
//! [`FrameRun`]s that other threads compressed. [`merge`] makes one file of several.
//!
//! ```
//! use ltx::{Decoder, Encoder, Header, PageSize, Pgno, Timestamp, Txid, TxidRange};
//! # fn main() -> ltx::Result<()> {
//! # let (size, one) = (PageSize::new(512).expect("legal"), Pgno::FIRST);
//! let header = Header::new(size, 1, TxidRange::single(Txid::FIRST), Timestamp::from_millis(0));
//! let mut encoder = Encoder::new(Vec::new(), header)?;
//! encoder.write_page(one, &[7; 512])?;
//! let (file, _trailer) = encoder.finish()?;
//!
//! let mut decoder = Decoder::new(file.as_slice())?;
//! let mut page = [0; 512];
//! assert_eq!(decoder.next_page(&mut page)?, Some(one));
//! assert_eq!(decoder.next_page(&mut page)?, None);
//! decoder.finish()?;
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod checksum;
mod crc;
mod decode;
mod encode;
mod error;
mod header;
mod index;
mod level;
mod lz4_frame;
mod merge;
mod page;
mod parallel;
mod run;
mod sequence;
mod tag;
mod timestamp;
mod trailer;
mod txid;
mod varint;

pub use checksum::{Checksum, RollingSum, page_sum};
pub use crc::{Crc64, combine};
pub use decode::{Decoder, Finished};
pub use encode::Encoder;
pub use error::{Error, Result};
pub use header::{Header, WalRange};
pub use index::{Index, PageEntry};
pub use level::Level;
pub use merge::{Merged, merge};
pub use page::{PageSize, Pgno};
pub use parallel::{FileCheck, FramesSum, decode_frames};
pub use run::FrameRun;
pub use tag::Tag;
pub use timestamp::Timestamp;
pub use trailer::Trailer;
pub use txid::{Txid, TxidRange};
