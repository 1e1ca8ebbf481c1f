//! The checks of a registry's topic, of the subscription of the hub's queue, and of what did not get through.

use aws::deployment::{
    EventRule,
    registry::{self, Subscription},
};

use super::{
    Finding,
    hub::{REVERT_DRIFT, RUNBOOK},
    registry::{CheckedRegistry, deploy_command},
    resource_policy::{ResourcePolicy, ServiceCall},
};

/// Checks whether the topic takes events of the rules, and signs them as the hub demands. Returns the rules that it
/// admits as well; all of them if it admits none, which is a finding, or if its policy cannot be read.
pub(super) async fn check_topic<'r>(
    checked: &CheckedRegistry<'_>,
    rules: &'r [EventRule],
) -> (Vec<&'r EventRule>, Vec<Finding>) {
    let settings = match registry::topic_settings(&checked.sdk, &checked.topic).await {
        Ok(settings) => settings,
        Err(failure) => {
            let finding = checked.unknown("the topic's policy could not be read", &failure);
            return (rules.iter().collect(), vec![finding]);
        }
    };
    let mut findings = Vec::new();
    let mut admitted = admitted_rules(rules, settings.policy.as_deref());
    if admitted.is_empty() && !rules.is_empty() {
        let what = "the topic's policy does not let the rule publish: no event of this registry reaches the hub";
        findings.push(Finding::wrong(&checked.place, what, REVERT_DRIFT));
        admitted = rules.iter().collect();
    }
    if let Some(version) = settings.signature_version.filter(|version| version != "2") {
        let what = format!("the topic signs with version {version}: the hub refuses its messages");
        let fix = format!(
            "aws sns set-topic-attributes --region {} --topic-arn {} --attribute-name SignatureVersion \
             --attribute-value 2",
            checked.registry.region(),
            checked.topic
        );
        findings.push(Finding::wrong(&checked.place, what, &fix));
    }
    (admitted, findings)
}

fn admitted_rules<'r>(rules: &'r [EventRule], policy: Option<&str>) -> Vec<&'r EventRule> {
    let policy = ResourcePolicy::parse(policy);
    let admits = |rule: &&EventRule| {
        policy.admits(ServiceCall { service: "events.amazonaws.com", action: "sns:Publish", source: &rule.arn })
    };
    rules.iter().filter(admits).collect()
}

/// Checks whether the topic sends all its messages to the hub, and keeps what the hub refused.
pub(super) async fn check_subscription(checked: &CheckedRegistry<'_>) -> Vec<Finding> {
    let (place, hub) = (&checked.place, checked.hub);
    let arn = match registry::subscription(&checked.sdk, &checked.topic, hub.queue).await {
        Ok(Subscription::Confirmed { arn }) => arn,
        Ok(Subscription::NoTopic) => {
            let what = format!("there is no topic {}: no event of this registry reaches the hub", checked.topic);
            return vec![Finding::wrong(place, what, &deploy_command(checked))];
        }
        Ok(Subscription::NotSubscribed) => {
            let what = "the hub's queue is not subscribed to the topic: no event of this registry reaches the hub";
            return vec![Finding::wrong(place, what, &subscribe_command(checked))];
        }
        Ok(Subscription::Pending) => {
            let what = "the hub did not confirm the subscription to the topic: no event of this registry reaches the \
                        hub, and after two days the request expires";
            let fix = format!(
                "read the reason in record's log and in the hub's dead letters: the hub's AccountIds or OrganizationId \
                 must admit {}; then let this account ask again: {}",
                checked.registry.account(),
                subscribe_command(checked)
            );
            return vec![Finding::wrong(place, what, &fix)];
        }
        Err(failure) => return vec![checked.unknown("the topic's subscription could not be read", &failure)],
    };
    match registry::delivery(&checked.sdk, &arn).await {
        Ok(delivery) => check_delivery(checked, &arn, &delivery).await,
        Err(failure) => vec![checked.unknown("the attributes of the subscription could not be read", &failure)],
    }
}

/// The command that subscribes the hub's queue to the topic.
fn subscribe_command(checked: &CheckedRegistry<'_>) -> String {
    format!(
        "aws sns subscribe --region {} --topic-arn {} --protocol sqs --notification-endpoint {}",
        checked.registry.region(),
        checked.topic,
        checked.hub.queue
    )
}

async fn check_delivery(
    checked: &CheckedRegistry<'_>,
    subscription: &str,
    delivery: &registry::Delivery,
) -> Vec<Finding> {
    let place = &checked.place;
    let set = |name: &str, value: &str| {
        format!(
            "aws sns set-subscription-attributes --region {} --subscription-arn {subscription} --attribute-name {name} \
             --attribute-value '{value}'",
            checked.registry.region()
        )
    };
    let mut findings = Vec::new();
    if delivery.raw {
        let what = "the subscription delivers without SNS's fields and signature: the hub refuses its messages";
        findings.push(Finding::wrong(place, what, &set("RawMessageDelivery", "false")));
    }
    if delivery.filtered {
        let what = "the subscription has a filter policy: what it does not match never reaches the hub";
        findings.push(Finding::wrong(place, what, &set("FilterPolicy", "{}")));
    }
    if findings.is_empty() {
        findings.push(Finding::good(place, "the topic sends to the hub's queue"));
    }
    match &delivery.dead_letters {
        Some(queue) => findings.extend(check_kept(checked, queue, "the hub's queue refused").await),
        None => {
            let what = "the subscription has no dead-letter queue: messages that the hub's queue refuses are lost";
            findings.push(Finding::notice(place, what, REVERT_DRIFT));
        }
    }
    findings
}

/// Checks whether EventBridge could publish what the rules matched.
pub(super) async fn check_unpublished(checked: &CheckedRegistry<'_>, rules: &[EventRule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in rules.iter().filter_map(|rule| rule.dead_letters.as_ref()) {
        findings.extend(check_kept(checked, queue, "EventBridge could not publish").await);
    }
    findings
}

/// Checks whether the queue of events that did not get through is there, and empty; `None` if so.
async fn check_kept(checked: &CheckedRegistry<'_>, queue: &str, why: &str) -> Option<Finding> {
    let name = queue.rsplit(':').next().unwrap_or_default();
    match registry::messages(&checked.sdk, queue).await {
        Ok(Some(0)) => None,
        Ok(Some(count)) => {
            let what = format!("{count} events that {why} wait in the queue {name}, and are lost after 14 days");
            let fix = format!("see {RUNBOOK}: \"Record the messages of a registry's queues\"");
            Some(Finding::wrong(&checked.place, what, &fix))
        }
        Ok(None) => {
            let what = format!("the queue {name} of events that {why} does not exist: such events are lost");
            Some(Finding::wrong(&checked.place, what, REVERT_DRIFT))
        }
        Err(failure) => Some(checked.unknown(format!("the queue {name} could not be read"), &failure)),
    }
}
