//! What ecr-lineage decides, and nothing else.
//!
//! Data flows one way: an [`event`] is read into [`fact`]s; a fact is [`evidence`] about placements and a mark in the
//! history of a [`tag`]; all evidence about one image is its [`lineage`], which answers people's questions. What a source
//! lost may become a [`deletion`] of its replicas: [`replication`] says where they are, a [`policy`] whether they may go, a
//! [`breaker`] how many at once, and an [`alert`] tells a person. What no event told is [`drift`].
//!
//! **Invariant.** This crate touches nothing: no clock, no environment, no file, no socket, no async runtime, no SDK.
//! Its manifest is the proof, its `clippy.toml` the second fence.

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
