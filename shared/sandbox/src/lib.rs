//! Everything in one process: simulated registries, an embedded table, and the functions.
//!
//! [`local`] runs them, [`demo`] plays a story on them, [`loopback`] serves the page to one person. `local`, `demo`, tests and
//! benchmarks use it; the program that runs in AWS does not.

pub mod demo;
pub mod embedded;
mod error;
pub mod local;
pub mod loopback;

pub use error::Error;
