#![doc = include_str!("../README.md")]

pub mod activity;
pub mod alerts;
pub mod answer;
pub mod audit;
pub mod basis;
pub mod breakers;
pub mod controls;
pub mod costs;
pub mod cursor;
pub mod deletions;
pub mod described;
pub mod drift;
pub mod error;
pub mod graph;
mod inventory;
pub mod lifecycle;
pub mod overview;
pub mod paging;
pub mod presence;
pub mod preview;
pub mod reference;
pub mod registries;
pub mod responses;
pub mod restore;
pub mod schedule;
pub mod search;
pub mod time;

/// Concurrent reads of the table.
const READS_AT_A_TIME: usize = 16;
