//! The pure part of ecr-lineage: it turns facts into answers and decisions, and does no I/O.
//!
//! Data flows one way. The parser reads an [`event`] into [`fact`]s. A fact is [`evidence`] about placements and an
//! assignment in the history of a [`tag`]. All evidence about one image is its [`lineage`], which answers queries. When
//! a source loses an image, each replica may get a [`deletion`]: [`replication`] finds the replicas, a [`policy`]
//! decides whether they may be deleted, a [`breaker`] limits how many are deleted per window, and an [`alert`] notifies
//! people. [`drift`] is the difference that no event reported.
//!
//! **Invariant.** This crate touches nothing outside itself: no clock, no environment, no file, no socket, no async
//! runtime, no SDK. Its manifest is the proof, its `clippy.toml` the second fence.

pub mod alert;
pub mod breaker;
pub mod deletion;
pub mod drift;
pub mod event;
pub mod evidence;
pub mod expectation;
pub mod fact;
pub mod image;
pub mod lag;
pub mod lineage;
pub mod observation;
pub mod policy;
pub mod replication;
pub mod tag;
pub mod time;
