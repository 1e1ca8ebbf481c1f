//! Every AWS call that ecr-lineage makes except those to its table. This crate takes no decisions.

#[cfg(feature = "bus")]
pub mod bus;
mod capture;
#[cfg(feature = "deployment")]
pub mod deployment;
pub mod environment;
pub mod queue;
pub mod registry;
pub mod start;
