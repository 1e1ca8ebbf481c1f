//! Questions about lineage: answered for the command line, over HTTP, and on a page.
//!
//! Each module answers some questions from the table ([`answer`], [`alerts`], [`deletions`], [`drift`], [`overview`],
//! [`preview`], [`search`]); [`api`] gives the answers to programs and to the [`page`]. Whoever asks over HTTP gets a part of a
//! list at a time, and where it goes on.

pub mod alerts;
pub mod answer;
pub mod api;
pub mod config;
pub mod cursor;
pub mod deletions;
pub mod drift;
pub mod error;
pub mod graph;
pub mod overview;
pub mod page;
pub mod preview;
pub mod reference;
pub mod search;
pub mod time;
pub mod walk;

/// How much is read from the table at a time.
const READS_AT_A_TIME: usize = 16;
