//! The program as its users meet it: what it prints, what it leaves, how it ends.

// Here a panic is how a test says that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod demonstration;
mod program;
mod replication;
mod restoring;
mod usage;
