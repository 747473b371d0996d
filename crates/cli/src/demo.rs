//! The parts of `brooklet demo`: a shop, the application that keeps it busy, and the proof that
//! nothing was lost.

pub mod application;
pub mod process;
pub mod proof;
pub mod replicator;
pub mod screen;
pub mod shop;
