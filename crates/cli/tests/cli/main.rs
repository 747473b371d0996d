//! The program as its users meet it: what it prints, what it leaves, how it ends.

mod configuration;
mod demonstration;
mod program;
mod replication;
mod restoring;
mod usage;
