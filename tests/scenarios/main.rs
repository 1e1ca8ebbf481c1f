//! The whole route, one module per scenario: messages into the `record` function, the function's own table behind a
//! real DynamoDB client, lineage out.
//!
//! - `samples`: every event that AWS documents, and what becomes of it.
//! - `batches`: messages that fail, repeat or can never succeed do not hurt the others.
//! - `ordering`: any order, repetition and batching of the same events gives the same table.
//! - `end_to_end`: the table says what simulated registries have, whatever happened in them.
//! - `mirror`: replicas that follow their sources, and replicas that must not.
//! - `watch`: copies that are late, failed, missing, or arrived although no event told, and what is said of them.
//! - `reconcile`: what no event told, found by listing registries.
//! - `alerts`: alerts onto a bus that goes wrong; none is lost, and repeats are known by their id.
//! - `schemas`: what is published is what the schemas in `infra/schemas` say.
//! - `channels`: what `infra/channels.yaml` makes of alerts for mail, chat, webhook and PagerDuty.
//! - `monitoring`: what alarms and the dashboard look at is measured, and the runbook knows every alarm.
//! - `configuration`: functions, templates and `docs/configuration.md` agree about variables and parameters.
//! - `permissions`: what the templates grant each function is what its code does.
//! - `query`: questions over HTTP: parts of lists, what is refused, who changed what.
//! - `faults`: every call to the table failing once, in every way, and the messages delivered again.
//! - `deletions`: who deleted what, as CloudTrail tells it.
//! - `lists`: images, orphans, short digests, tag histories.
//! - `capacity_units`: what each kind of event costs, whatever came before it.
//! - `calls`: how many calls to DynamoDB an event and a batch of ten cost, and how many wait for one another.
//! - `metrics`: the metrics of a batch.
//! - `dependencies`: which of our crates depends on which.
//! - `definition`: the table that exists is the table that is defined.
//!
//! All of it runs against the embedded table, or against whatever implementation of DynamoDB listens at
//! `TEST_DYNAMODB_ENDPOINT`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

mod alerts;
mod batches;
mod calls;
mod capacity_units;
mod channels;
mod configuration;
mod definition;
mod deletions;
mod dependencies;
mod end_to_end;
mod events;
mod fault_injection;
mod faults;
mod lists;
mod metrics;
mod mirror;
mod monitoring;
mod ordering;
mod permissions;
mod query;
mod reconcile;
mod registries;
mod samples;
mod schemas;
mod templates;
mod test_table;
mod watch;
