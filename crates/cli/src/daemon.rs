//! A running `replicate`: its databases, and how others see and steer it.

pub mod claims;
pub mod control;
pub mod dump;
pub mod fleet;
pub mod health;
pub mod heartbeat;
pub mod leases;
pub mod mcp;
pub mod notify;
pub mod pprof;
pub mod reload;
pub mod served;
pub mod socket;
