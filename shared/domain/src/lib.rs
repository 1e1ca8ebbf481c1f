#![doc = include_str!("../README.md")]

pub mod activity;
pub mod alert;
pub mod breaker;
pub mod controls;
pub mod costs;
pub mod deletion;
pub mod drift;
pub mod drill;
pub mod event;
pub mod evidence;
pub mod expectation;
pub mod fact;
pub mod heartbeat;
pub mod image;
pub mod inventory;
pub mod lag;
pub mod lineage;
mod named;
pub mod observation;
pub mod partition;
pub mod plan;
pub mod policy;
pub mod replication;
pub mod settings;
pub mod tag;
pub mod time;
