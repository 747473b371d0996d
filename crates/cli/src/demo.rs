//! The parts of `brooklet demo`: a shop, the application that keeps it busy, and the proof that
//! nothing was lost.

pub mod application;
pub mod proof;
pub mod screen;
pub mod shop;
