//! The HTTP API for lineage, and the page.
//!
//! The crate `answers` computes the answers; [`api`] serves them to programs and to the [`page`]. Lists are paged: each
//! response contains a cursor for the next page.

pub mod api;
pub mod config;
pub mod page;
