//! One database of a running program: what it is, how it came here, and whether it is replicated.

use std::time::SystemTime;

use crate::config::Database;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is, and how it is replicated.
    pub database: Database,
    /// How it came here.
    pub origin: Origin,
    /// Whether it is replicated.
    pub standing: Standing,
    /// When everything of it was in its replicas, before it was stopped.
    pub synced_at: Option<SystemTime>,
    /// What is in its way, if it is coming.
    pub obstacle: Option<String>,
}

/// Whether a database is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Running,
    /// It will be, once nothing is in its way any more.
    Coming,
    /// Somebody stopped it.
    Stopped,
}

/// How a database came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration, or the command line, names it.
    Listed,
    /// It was found in a directory.
    Found,
    /// Somebody registered it.
    Registered,
}

impl Member {
    pub fn new(database: Database, origin: Origin) -> Member {
        let standing = Standing::Running;
        Member { database, origin, standing, synced_at: None, obstacle: None }
    }
}
