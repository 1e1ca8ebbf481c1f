//! The behaviour of the simulated registries, tested with AWS's own SDK over HTTP.
//!
//! - `images`: put, get, describe, list; mutable and immutable tags.
//! - `deletions`: what deletions delete, what is refused, and what remains.
//! - `replication`: what is replicated, where and when, and the status of each copy.
//! - `layers`: uploads in parts, downloads, and which repository has which layer.
//! - `distribution`: the OCI distribution API, as registry clients use it.
//! - `storage_classes`: archiving and restoring.
//! - `lifecycle`: the images that policies select, and the records of their runs.
//! - `events`: every field of ECR's events.
//! - `unconfirmed`: both answers to each question that AWS does not document.
//! - `accounts`: the accounts of registries and callers, and cross-account permissions.
//! - `backfills`: replication of images that are older than their rule.
//! - `troubles`: calls that fail, lost events and failed copies.
//! - `keeping`: the state on disk equals the responses.
//! - `facts`: the list of facts has every fact that the code names.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

mod accounts;
mod backfills;
mod deletions;
mod distribution;
mod events;
mod facts;
mod images;
mod keeping;
mod layers;
mod lifecycle;
mod replication;
mod sites;
mod storage_classes;
mod troubles;
mod unconfirmed;
