//! The checks of the hub's functions.

use aws::deployment::{self, Runs};
use jiff::{SignedDuration, Timestamp};

use super::{
    Finding, Level,
    hub::{ATTACH_READERS_POLICY, HUB, Hub, RUNBOOK},
};
use crate::print::time;

/// A scheduled function, which runs every few minutes, must have succeeded within this time.
const NOT_RUNNING_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// The functions, in the order of the stack's output `Functions`.
const FUNCTIONS: [&str; 7] = ["record", "watch", "mirror", "reconcile", "alert", "query", "operate"];

/// Checks when each function last succeeded.
pub(super) async fn check_runs(hub: &Hub<'_>) -> Vec<Finding> {
    let runs = match deployment::runs(hub.sdk, &hub.functions, hub.now).await {
        Ok(runs) => runs,
        Err(failure) => {
            let what = "the metrics of the functions could not be read";
            return vec![Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY)];
        }
    };
    let named = hub.functions.iter().zip(FUNCTIONS);
    named
        .map(|(function, name)| {
            check_function(name, function, runs.get(function).copied().unwrap_or_default(), hub.now)
        })
        .collect()
}

/// Checks when one function last succeeded. `function` is its name in AWS.
fn check_function(name: &str, function: &str, runs: Runs, now: Timestamp) -> Finding {
    let scheduled = matches!(name, "watch" | "mirror" | "reconcile");
    let fix = format!("read the log of {function}; see {RUNBOOK}");
    match runs.succeeded_at {
        Some(at) if scheduled && now.duration_since(at) > NOT_RUNNING_AFTER => {
            Finding::wrong(HUB, format!("{name} last succeeded at {} UTC", time(at)), &fix)
        }
        Some(at) => {
            let (failed, started) = (runs.failed, runs.started);
            let what = format!("{name} last succeeded at {} UTC; {failed} of {started} runs failed in 24 h", time(at));
            Finding::good(HUB, what)
        }
        None if runs.started > 0 => {
            let what = format!("every run of {name} failed in the last 24 h: {} runs", runs.failed);
            Finding::wrong(HUB, what, &fix)
        }
        None if scheduled => Finding::wrong(HUB, format!("{name} was not invoked in the last 24 h"), &fix),
        None => Finding::new(Level::Notice, HUB, format!("{name} had nothing to do in the last 24 h"), None),
    }
}
