//! The checks of the hub's queues.

use aws::queue::DeadLetters;

use super::{
    Finding,
    hub::{ATTACH_READERS_POLICY, HUB, Hub, RUNBOOK},
};

/// Checks that no event and no alert waits in a dead-letter queue.
pub(super) async fn check_dead_letters(hub: &Hub<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (url, what) in hub.queues.into_iter().zip(["dead-letter events", "undelivered alerts"]) {
        findings.push(match DeadLetters::new(aws_sdk_sqs::Client::new(hub.sdk), url).count().await {
            Ok(0) => Finding::good(HUB, format!("no {what}")),
            Ok(count) => Finding::wrong(HUB, format!("{count} {what} in {url}"), &format!("see {RUNBOOK}")),
            Err(failure) => {
                let what = format!("the queue of {what} could not be read");
                Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY)
            }
        });
    }
    findings
}
