//! What the registries do, seen through AWS's own SDK over the wire.
//!
//! - `images`: put, get, describe, list; tags that move and tags that cannot.
//! - `deletions`: what goes, what is refused, and what is left.
//! - `replication`: what is copied where, when, and what becomes of it.
//! - `storage_classes`: the archive and back.
//! - `lifecycle`: what policies choose, and how it is told.
//! - `events`: AWS's envelopes, key by key.
//! - `unconfirmed`: the other answers to what AWS does not document.
//! - `accounts`: whose registry it is, and who else may.
//! - `backfills`: copies of what was there before.
//! - `troubles`: calls that fail, events and copies that go astray.
//! - `keeping`: what is on disk is what was answered.
//! - `facts`: the list of facts names what the code names.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

mod accounts;
mod backfills;
mod deletions;
mod events;
mod facts;
mod images;
mod keeping;
mod lifecycle;
mod replication;
mod sites;
mod storage_classes;
mod troubles;
mod unconfirmed;
