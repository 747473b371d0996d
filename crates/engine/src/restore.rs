//! Restore: from the files of a replica back to a database file.

mod moment;
pub mod plan;

pub use plan::{Plan, PlanError, Target, plan};
