//! Queries about lineage, and operator actions: the same for the command line, the HTTP API and the page.
//!
//! Most modules read the table ([`answer`], [`alerts`], [`deletions`], [`drift`], [`overview`], [`search`]); some read
//! registries as well ([`audit`], [`preview`], [`restore`]). Long lists are paged: each page contains a cursor for the
//! next one. Nothing here deletes an image.

pub mod alerts;
pub mod answer;
pub mod audit;
pub mod cursor;
pub mod deletions;
pub mod drift;
pub mod error;
pub mod graph;
pub mod overview;
pub mod paging;
pub mod preview;
pub mod reference;
pub mod restore;
pub mod search;
pub mod time;

/// Concurrent reads of the table.
const READS_AT_A_TIME: usize = 16;
