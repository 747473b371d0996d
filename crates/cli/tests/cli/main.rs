//! The program as its users meet it: what it prints, what it leaves, how it ends.

// Here a panic is how a test says that something is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod control;
mod daemon;
mod demonstration;
mod dialogues;
mod drop_in;
mod ends;
mod examining;
mod exit_codes;
mod generated;
mod mcp;
mod notified;
mod observed;
mod profiles;
mod program;
mod registering;
mod reload;
mod replication;
mod restoring;
mod usage;
