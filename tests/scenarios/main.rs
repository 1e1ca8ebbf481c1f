//! End-to-end tests, one module per scenario: messages into the `record` function, the function's own table behind a
//! real DynamoDB client, lineage out.
//!
//! - `samples`: every event that AWS documents, and what `record` makes of it.
//! - `sample`: what `local --sample` fills registries with.
//! - `records`: records as CloudTrail and EventBridge really write them, and the lineage that they tell.
//! - `batches`: messages that fail, repeat or can never succeed do not affect the others.
//! - `transport`: the messages of registries' topics: who may send them, hops, heartbeats.
//! - `signatures`: whether SNS signed a message.
//! - `ordering`: any order, repetition and batching of the same events gives the same table.
//! - `end_to_end`: the table equals the simulated registries, after any history.
//! - `mirror`: replicas that are deleted after their source, and replicas that must be kept.
//! - `watch`: copies that are late, failed, missing, or arrived without an event, and the alerts about them.
//! - `reconcile`: changes that no event reported, found by listing registries.
//! - `costs`: sizes, last pulls and costs, from listings to answers.
//! - `alerts`: alerts to an event bus whose calls fail; none is lost, and repeats have the same ID.
//! - `patterns`: event patterns, evaluated as EventBridge does; no scenario of its own.
//! - `schemas`: published events match the schemas in `infra/schemas`.
//! - `channels`: the messages that `infra/channels.yaml` makes of alerts for mail, chat, webhook and PagerDuty.
//! - `monitoring`: alarms and the dashboard use metrics that exist, and the runbook describes every alarm.
//! - `configuration`: functions, templates and `docs/configuration.md` agree on variables and parameters.
//! - `documents`: `docs/alerts.md` and `docs/table.md` agree with the code.
//! - `permissions`: the templates grant each function exactly what its code needs.
//! - `query`: the HTTP API: pages of lists, refusals, and who changed what.
//! - `faults`: every call to the table fails once, in every way, and the messages are delivered again.
//! - `restore`: how a deleted image comes back, and the drill that shows whether it could.
//! - `deletions`: who deleted what, according to CloudTrail.
//! - `activity`: what was done, across images.
//! - `logs`: what the functions log in all other scenarios.
//! - `lists`: images, orphans, short digests, tag histories.
//! - `capacity_units`: the request units of each kind of event, which do not depend on the history before it.
//! - `calls`: how many DynamoDB calls an event and a batch of ten need, and how many depend on one another.
//! - `metrics`: the metrics of a batch.
//! - `dependencies`: which crate of this workspace depends on which.
//! - `definition`: the embedded table equals the table in the template.
//!
//! All of them use the embedded table, or the implementation of DynamoDB at `TEST_DYNAMODB_ENDPOINT` if that is set.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

mod activity;
mod alerts;
mod batches;
mod calls;
mod capacity_units;
mod channels;
mod configuration;
mod costs;
mod definition;
mod deletions;
mod dependencies;
mod documents;
mod end_to_end;
mod events;
mod fault_injection;
mod faults;
mod lists;
mod logs;
mod metrics;
mod mirror;
mod monitoring;
mod ordering;
mod patterns;
mod permissions;
mod query;
mod reconcile;
mod records;
mod registries;
mod restore;
mod running;
mod sample;
mod samples;
mod schemas;
mod signatures;
mod templates;
mod test_table;
mod transport;
mod watch;
