#![doc = include_str!("../README.md")]

#[cfg(feature = "bus")]
pub mod bus;
mod capture;
#[cfg(feature = "deployment")]
pub mod deployment;
pub mod environment;
pub mod log;
pub mod queue;
pub mod registry;
#[cfg(feature = "topic")]
pub mod signature;
pub mod start;
#[cfg(feature = "topic")]
pub mod topic;
pub mod usage;
