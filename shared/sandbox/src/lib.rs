#![doc = include_str!("../README.md")]

pub mod demo;
pub mod embedded;
mod error;
pub mod local;
pub mod loopback;
pub mod sample;

pub use error::Error;
