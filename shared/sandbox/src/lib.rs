//! The whole system in one process: simulated registries, an embedded table, and the functions.
//!
//! [`local`] runs them, [`demo`] plays a scenario on them, [`loopback`] serves the page to one user. The commands
//! `local` and `demo`, tests and benchmarks use this crate; the functions that run in AWS do not.

pub mod demo;
pub mod embedded;
mod error;
pub mod local;
pub mod loopback;

pub use error::Error;
