//! Registries, listed: whatever event was lost, afterwards the table says what is there.
//!
//! - `flows`: what was there before anybody listened, what vanished, what differs, runs that end early, what is told.
//! - `histories`: after any history whose events were lost, the table equals the registries.

mod flows;
mod histories;
