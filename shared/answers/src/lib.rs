//! Questions about lineage, and their answers: the same for the command line, over HTTP, and on the page.
//!
//! Most modules answer from the table ([`answer`], [`alerts`], [`deletions`], [`drift`], [`overview`], [`search`]); some read
//! registries as well ([`audit`], [`preview`], [`restore`]). Lists come in parts: each part says where the list goes on. Nothing
//! here deletes.

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

/// How much is read from the table at a time.
const READS_AT_A_TIME: usize = 16;
