//! The crate from outside: what it writes, what it reads, what it rejects.
#![allow(clippy::unwrap_used)]

mod damage;
mod history;
mod merging;
mod round_trip;
mod sample;
mod vectors;
