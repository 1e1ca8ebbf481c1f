//! The command as users run it: arguments in, text and exit code out.
//!
//! - `activity`: what was done, across images; lists as CSV.
//! - `answers`: the output of each query, as text and as JSON.
//! - `costs`: what images cost, their sizes and last pulls, against registries in the same process.
//! - `files`: every input format, and errors in input files.
//! - `lifecycle`: what a lifecycle policy would take from replicas, against registries in the same process.
//! - `local`: simulated registries, killed and restarted; the demo.
//! - `mirror`: deletions, policies, breakers, restore and audit, against registries in the same process.
//! - `watch`: alerts and replication lag, against registries in the same process.
//! - `pipelines`: the GitHub Action and the GitLab job.
//! - `policies`: shipped policies, their checks and cases, proofs.
//! - `serve`: the page on this machine: who has access, and what they may do.
//! - `output`: files, quiet and repeated answers, names of accounts, forms of times.
//! - `schemas`: JSON is as its schema says.
//! - `widths`: every table fits into 80 columns.
//! - `mistakes`: every error is one clear line and a next step, never a panic.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

mod activity;
mod answers;
mod command;
mod costs;
mod drift;
mod files;
mod lifecycle;
mod local;
mod mirror;
mod mistakes;
mod output;
mod pipelines;
mod policies;
mod presence;
mod schemas;
mod serve;
mod watch;
mod widths;
