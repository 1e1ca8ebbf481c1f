//! The checks of the hub's queues.

use std::collections::BTreeSet;

use aws::{deployment, queue::DeadLetters};
use domain::image::Registry;

use super::{
    Finding,
    hub::{ATTACH_READERS_POLICY, HUB, Hub, REVERT_DRIFT, RUNBOOK, is_opt_in},
    resource_policy::{ResourcePolicy, ServiceCall},
};

/// Checks that no event and no alert waits in a dead-letter queue.
pub(super) async fn check_dead_letters(hub: &Hub<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let redrive = format!(
        "read record's log for the reason (see {RUNBOOK}, DeadLettersAlarm), then `aws sqs start-message-move-task \
         --region {} --source-arn {} --destination-arn {}`",
        hub.place.region(),
        hub.dead_letters_arn,
        hub.queue
    );
    let read_alerts = format!("see {RUNBOOK}, FailedAlertsAlarm");
    let fix_channel = format!("see {RUNBOOK}, UndeliveredAlertsAlarm; `ecr-lineage alerts` lists all alerts");
    let kinds = [
        ("dead-letter events", redrive.as_str()),
        ("unpublished alerts", &read_alerts),
        ("alerts that a channel did not accept", &fix_channel),
    ];
    for (url, (what, fix)) in hub.dead_letters.into_iter().zip(kinds) {
        findings.push(match DeadLetters::new(aws_sdk_sqs::Client::new(hub.sdk), url).count().await {
            Ok(0) => Finding::good(HUB, format!("no {what}")),
            Ok(count) => Finding::wrong(HUB, format!("{count} {what} in {url}"), fix),
            Err(failure) => {
                let what = format!("the queue of {what} could not be read");
                Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY)
            }
        });
    }
    findings
}

/// Checks whether the queue of events accepts what the topics of these registries send, and nothing of strangers.
pub(super) async fn check_queue_policy(hub: &Hub<'_>, registries: &BTreeSet<Registry>) -> Vec<Finding> {
    let policy = match deployment::hub::queue_policy(hub.sdk, &hub.queue_url).await {
        Ok(policy) => ResourcePolicy::parse(policy.as_deref()),
        Err(failure) => {
            return vec![Finding::unknown(
                HUB,
                "the queue's policy could not be read",
                &failure,
                ATTACH_READERS_POLICY,
            )];
        }
    };
    let admits = |registry: &Registry, service: &str| {
        policy.admits(ServiceCall { service, action: "sqs:SendMessage", source: &hub.topic(registry) })
    };
    // The hub's own account is admitted with any parameters.
    if !admits(&hub.place, SNS) {
        let what = "the queue's policy does not let the topics of registries send: every event is lost in the queues \
                    Undelivered of their stacks";
        return vec![Finding::wrong(HUB, what, REVERT_DRIFT)];
    }
    let mut findings = check_strangers(hub, admits);
    findings.extend(check_accounts(registries, admits));
    findings.extend(check_opt_in_regions(hub, registries, admits));
    if findings.is_empty() {
        let what =
            format!("the queue accepts events of topics that are named {}, from every registry", hub.topic_name());
        findings.push(Finding::good(HUB, what));
    }
    findings
}

/// Checks that a topic of an account that has nothing to do with the hub cannot send.
fn check_strangers(hub: &Hub<'_>, admits: impl Fn(&Registry, &str) -> bool) -> Vec<Finding> {
    let stranger = Registry::new(UNUSED_ACCOUNT, hub.place.region()).is_ok_and(|stranger| admits(&stranger, SNS));
    if !stranger || hub.parameter("OrganizationId") != Some("") {
        return Vec::new();
    }
    let what = "the queue's policy lets topics of any AWS account send, but the stack has no OrganizationId";
    vec![Finding::wrong(HUB, what, REVERT_DRIFT)]
}

/// Checks that the accounts of all registries may send.
fn check_accounts(registries: &BTreeSet<Registry>, admits: impl Fn(&Registry, &str) -> bool) -> Option<Finding> {
    let refused = registries.iter().filter(|registry| !admits(registry, SNS));
    let accounts: BTreeSet<_> = refused.map(Registry::account).collect();
    if accounts.is_empty() {
        return None;
    }
    let accounts = accounts.into_iter().collect::<Vec<_>>().join(", ");
    let what = format!("the queue's policy does not let {accounts} send events");
    let fix = "add the accounts to the stack's parameter AccountIds, or set OrganizationId, and deploy the hub again";
    Some(Finding::wrong(HUB, what, fix))
}

/// Checks that SNS of each opt-in region may send. Within a region, SNS uses the principal without a region.
fn check_opt_in_regions(
    hub: &Hub<'_>,
    registries: &BTreeSet<Registry>,
    admits: impl Fn(&Registry, &str) -> bool,
) -> Option<Finding> {
    let accepted = registries.iter().filter(|registry| admits(registry, SNS));
    let other = accepted.filter(|registry| registry.region() != hub.place.region());
    let opt_in = other.filter(|registry| is_opt_in(registry));
    let unnamed = opt_in.filter(|registry| !admits(registry, &format!("sns.{}.amazonaws.com", registry.region())));
    let regions: BTreeSet<_> = unnamed.map(Registry::region).collect();
    if regions.is_empty() {
        return None;
    }
    let listed = |regions: BTreeSet<&str>, between: &str| regions.into_iter().collect::<Vec<_>>().join(between);
    // The parameter replaces the list, so the regions that it has stay in it.
    let before = hub.parameter("MoreOptInRegions").unwrap_or_default().split(',').filter(|region| !region.is_empty());
    let all = listed(before.chain(regions.iter().copied()).collect(), ",");
    let what = format!(
        "the queue's policy does not admit SNS of the opt-in regions {}: events from there are refused",
        listed(regions, ", ")
    );
    Some(Finding::wrong(HUB, what, &format!("deploy the hub again with MoreOptInRegions={all}")))
}

/// The service principal of SNS, except in opt-in regions.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-cross-region-delivery.html>
const SNS: &str = "sns.amazonaws.com";

/// An account that does not exist.
const UNUSED_ACCOUNT: &str = "000000000000";
