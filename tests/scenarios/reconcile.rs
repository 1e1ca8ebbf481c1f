//! Listing registries: whatever events were lost, the table equals the registries afterwards.
//!
//! - `flows`: images older than the deployment, images that disappeared, drift, runs that end early, alerts.
//! - `histories`: after any history whose events were lost, the table equals the registries.

mod flows;
mod histories;
