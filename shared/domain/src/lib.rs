//! What ecr-lineage decides, and nothing else.
//!
//! Data flows one way: an [`event`] is read into [`fact`]s; a fact is [`evidence`] about placements and a mark in the
//! history of a [`tag`]; all evidence about one image is its [`lineage`], which answers people's questions.
//!
//! **Invariant.** This crate touches nothing: no clock, no environment, no file, no socket, no async runtime, no SDK.
//! Its manifest is the proof, its `clippy.toml` the second fence.

pub mod event;
pub mod evidence;
pub mod fact;
pub mod image;
pub mod lineage;
pub mod tag;
