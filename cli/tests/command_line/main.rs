//! The command as people run it: arguments in, text and exit code out.
//!
//! - `answers`: what each question prints, for people and for programs.
//! - `files`: every form of input, and what is wrong with some.
//! - `local`: registries on one machine, killed and restarted; the demo.
//! - `mirror`: deletions, policies, breakers, restore and audit, against registries in the same process.
//! - `watch`: alerts and lag, against registries in the same process.
//! - `serve`: the page on this machine: who gets in, and what they may do.
//! - `mistakes`: one clear line and a next step, never a panic.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

mod answers;
mod command;
mod drift;
mod files;
mod local;
mod mirror;
mod mistakes;
mod serve;
mod watch;
