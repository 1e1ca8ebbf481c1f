//! The checks of the rule that publishes a registry's events, and of the trail behind some of them.

use aws::deployment::{self, EventRule, registry::Recorded};
use domain::{
    event::notification::{HEARTBEAT_DETAIL_TYPE, HEARTBEAT_SOURCE},
    image::Registry,
};
use serde_json::{Value, json};

use super::{
    Finding,
    hub::REVERT_DRIFT,
    registry::{CheckedRegistry, deploy_command},
};

/// The EventBridge rules in the registry's account and region that publish to the topic of its stack.
///
/// # Errors
/// When a call to EventBridge fails.
pub(super) async fn rules_to_topic(checked: &CheckedRegistry<'_>) -> Result<Vec<EventRule>, Finding> {
    let rules = deployment::rules_to(&checked.sdk, &checked.topic).await;
    rules.map_err(|failure| checked.unknown("the EventBridge rules could not be read", &failure))
}

/// Checks whether one rule publishes every kind of event, and keeps what it cannot publish.
pub(super) async fn check_event_rules(checked: &CheckedRegistry<'_>, rules: &[EventRule]) -> Vec<Finding> {
    let (place, topic) = (&checked.place, &checked.topic);
    let [rule, others @ ..] = rules else {
        let what = format!("no EventBridge rule publishes to {topic}: no event of this registry reaches the hub");
        return vec![Finding::wrong(place, what, &deploy_command(checked))];
    };
    let mut findings = check_state(checked, rule);
    if !others.is_empty() {
        let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let what =
            format!("{} rules publish to the topic, so events may arrive twice: {}", rules.len(), names.join(", "));
        findings.push(Finding::notice(place, what, "delete the rules that are not of the registry's stack"));
    }
    match check_pattern(checked, rule).await {
        Ok(more) => findings.extend(more),
        Err(finding) => findings.push(finding),
    }
    for rule in rules.iter().filter(|rule| rule.dead_letters.is_none()) {
        let what = format!("the rule {} has no dead-letter queue: events that it cannot publish are lost", rule.name);
        findings.push(Finding::notice(place, what, &deploy_command(checked)));
    }
    findings
}

/// Checks whether the rule is enabled, also for what CloudTrail marks as read-only.
fn check_state(checked: &CheckedRegistry<'_>, rule: &EventRule) -> Vec<Finding> {
    let (place, name) = (&checked.place, &rule.name);
    if !rule.enabled {
        let what = format!("the rule {name} is disabled: no event of this registry reaches the hub");
        return vec![Finding::wrong(place, what, &enable_command(checked, rule))];
    }
    if !rule.all_of_cloudtrail {
        let what = format!(
            "the rule {name} is not enabled for read-only management events: deletions by lifecycle policies count as \
             deletions by an unknown cause"
        );
        return vec![Finding::wrong(place, what, &enable_command(checked, rule))];
    }
    Vec::new()
}

/// The command that enables a rule for all events of its pattern.
fn enable_command(checked: &CheckedRegistry<'_>, rule: &EventRule) -> String {
    let of = format!("--region {} --name {}", checked.registry.region(), rule.name);
    format!(
        "aws events put-rule {of} --state ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS --event-pattern \
         \"$(aws events describe-rule {of} --query EventPattern --output text)\""
    )
}

/// Checks whether the rule's pattern matches a sample of each kind of event.
async fn check_pattern(checked: &CheckedRegistry<'_>, rule: &EventRule) -> Result<Vec<Finding>, Finding> {
    let (mut matched, mut missing) = (Vec::new(), Vec::new());
    for (what, event) in probes(&checked.registry) {
        let matches = deployment::matches(&checked.sdk, &rule.pattern, &event.to_string()).await;
        let matches = matches.map_err(|failure| {
            let what = format!("the rule {} could not be tested", rule.name);
            checked.unknown(what, &failure)
        })?;
        if matches { matched.push(what) } else { missing.push(what) }
    }
    let mut findings = Vec::new();
    if !matched.is_empty() {
        let what = format!("the rule {} matches {}", rule.name, matched.join(", "));
        findings.push(Finding::good(&checked.place, what));
    }
    if !missing.is_empty() {
        let what = format!("the rule {} does not match {}: these never reach the hub", rule.name, missing.join(", "));
        let fix = format!(
            "{}; if CloudFormation finds no change, the rule was changed by hand: {REVERT_DRIFT}",
            deploy_command(checked)
        );
        findings.push(Finding::wrong(&checked.place, what, &fix));
    }
    Ok(findings)
}

/// A sample of each kind of event that the rule should match.
fn probes(registry: &Registry) -> [(&'static str, Value); 9] {
    let event = |source: &str, kind: &str, detail: Value| {
        json!({
            "version": "0", "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38", "detail-type": kind, "source": source,
            "account": registry.account(), "time": "2026-11-02T09:00:00Z", "region": registry.region(), "resources": [],
            "detail": detail,
        })
    };
    let image = json!({"action-type": "PUSH", "result": "SUCCESS", "repository-name": "team/app", "image-tag": "v1"});
    let call = |name: &str| json!({"eventSource": "ecr.amazonaws.com", "eventName": name});
    let refused =
        json!({"eventSource": "ecr.amazonaws.com", "eventName": "ReplicateImage", "errorCode": "AccessDenied"});
    let (of_call, of_service) = ("AWS API Call via CloudTrail", "AWS Service Event via CloudTrail");
    [
        ("image events", event("aws.ecr", "ECR Image Action", image.clone())),
        ("replication events", event("aws.ecr", "ECR Replication Action", image)),
        ("deletions by API calls", event("aws.ecr", of_call, call("BatchDeleteImage"))),
        ("deletions by lifecycle policies", event("aws.ecr", of_service, call("PolicyExecutionEvent"))),
        ("pushes by API calls", event("aws.ecr", of_call, call("PutImage"))),
        ("changes of policies", event("aws.ecr", of_call, call("PutRegistryPolicy"))),
        ("refused copies", event("aws.ecr", of_call, refused)),
        ("changes of replication rules", event("aws.ecr", of_call, call("PutReplicationConfiguration"))),
        ("heartbeats", event(HEARTBEAT_SOURCE, HEARTBEAT_DETAIL_TYPE, json!({}))),
    ]
}

/// Checks whether CloudTrail logs who deletes images. EventBridge delivers only what a trail logs.
pub(super) async fn check_trail(checked: &CheckedRegistry<'_>) -> Finding {
    let (place, region) = (&checked.place, checked.registry.region());
    match deployment::registry::recorded(&checked.sdk).await {
        Ok(Recorded { writes: true, reads: true }) => {
            Finding::good(place, "a CloudTrail trail logs who deletes images, and runs of lifecycle policies")
        }
        Ok(Recorded { writes: false, reads: false }) => Finding::wrong(
            place,
            "no CloudTrail trail logs in this region: the principal who deletes an image stays unknown",
            &format!(
                "aws cloudtrail create-trail --region {region} --name ecr --s3-bucket-name BUCKET \
                 --is-multi-region-trail, then `aws cloudtrail start-logging --region {region} --name ecr`"
            ),
        ),
        Ok(Recorded { writes, .. }) => {
            let what = if writes {
                "the CloudTrail trail does not log read-only management events: deletions by lifecycle policies count \
                 as deletions by an unknown cause"
            } else {
                "the CloudTrail trail logs only read-only management events: the principal who deletes an image stays \
                 unknown"
            };
            let fix = format!(
                "aws cloudtrail put-event-selectors --region {region} --trail-name TRAIL --event-selectors \
                 '[{{\"ReadWriteType\": \"All\", \"IncludeManagementEvents\": true}}]'"
            );
            Finding::wrong(place, what, &fix)
        }
        Err(failure) => checked.unknown("the CloudTrail trails could not be read", &failure),
    }
}
