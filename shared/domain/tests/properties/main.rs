//! Properties of the pure crate, over random input.
//!
//! - `breaker`: no more images are deleted than the limits, or an allowance, permit; a reset forgets what was counted.
//! - `listing`: what a listing showed overrules older events, whether they arrive before or after it.
//! - `merging`: any order, repetition, batching and interleaving of the same facts gives the same table, and the table
//!   says what a naive model of all facts says.
//! - `parsing`: no input makes the parser panic; a rejection names a field.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what it expects by panicking")]

mod breaker;
mod listing;
mod merging;
mod parsing;
