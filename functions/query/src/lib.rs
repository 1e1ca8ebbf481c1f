//! Questions about lineage over HTTP, and a page.
//!
//! The answers are in the crate `answers`; [`api`] gives them to programs and to the [`page`]. Whoever asks gets a part of a
//! list at a time, and where it goes on.

pub mod api;
pub mod config;
pub mod page;
