//! Every AWS call that ecr-lineage makes, and nothing that decides.

pub mod bus;
mod capture;
#[cfg(feature = "deployment")]
pub mod deployment;
pub mod environment;
pub mod queue;
pub mod registry;
pub mod start;
