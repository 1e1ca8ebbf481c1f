#![doc = include_str!("../README.md")]

pub mod api;
pub mod config;
pub mod page;
pub mod sign_in;
