//! The checks whether a registry's events reach the hub.

use aws::deployment::{self, EventRule};
use domain::image::Registry;
use serde_json::{Value, json};

use super::{Finding, registry::CheckedRegistry};

/// The EventBridge rules in the registry's account and region that send events to the hub.
///
/// # Errors
/// When a call to EventBridge fails.
pub(super) async fn rules_to_hub(checked: &CheckedRegistry<'_>) -> Result<Vec<EventRule>, Finding> {
    let rules = deployment::rules_to(&checked.sdk, checked.hub.bus).await;
    rules.map_err(|failure| checked.unknown("the EventBridge rules could not be read", &failure))
}

/// Checks whether the rules send every kind of event, and keep what they cannot deliver.
pub(super) async fn check_event_rules(checked: &CheckedRegistry<'_>, rules: &[EventRule]) -> Vec<Finding> {
    let (mut sent, mut missing) = (Vec::new(), Vec::new());
    for probe in probes(&checked.registry) {
        match is_sent(checked, rules, &probe).await {
            Ok(true) => sent.push(probe.what),
            Ok(false) => missing.push(probe.what),
            Err(finding) => return vec![finding],
        }
    }
    let (place, deploy) = (&checked.place, deploy_command(checked));
    let mut findings = Vec::new();
    if !sent.is_empty() {
        findings.push(Finding::good(place, format!("EventBridge sends to the hub: {}", sent.join(", "))));
    }
    if !missing.is_empty() {
        let what = format!("no EventBridge rule sends to the hub: {}", missing.join(", "));
        findings.push(Finding::wrong(place, what, &deploy));
    }
    for rule in rules.iter().filter(|rule| !rule.keeps_undelivered) {
        let what = format!("the rule {} has no dead-letter queue: events that it cannot deliver are lost", rule.name);
        findings.push(Finding::notice(place, what, &deploy));
    }
    findings
}

/// Whether any of the rules sends an event to the hub.
async fn is_sent(checked: &CheckedRegistry<'_>, rules: &[EventRule], probe: &Probe) -> Result<bool, Finding> {
    let mut sent = false;
    for rule in rules.iter().filter(|rule| rule.enabled && (rule.all_of_cloudtrail || !probe.read_only)) {
        match deployment::matches(&checked.sdk, &rule.pattern, &probe.event.to_string()).await {
            Ok(matches) => sent |= matches,
            Err(failure) => {
                let what = format!("the rule {} could not be tested", rule.name);
                return Err(checked.unknown(what, &failure));
            }
        }
    }
    Ok(sent)
}

/// The command that deploys the rules.
fn deploy_command(checked: &CheckedRegistry<'_>) -> String {
    format!(
        "aws cloudformation deploy --region {} --stack-name ecr-lineage-registry --template-file infra/registry.yaml \
         --capabilities CAPABILITY_NAMED_IAM --parameter-overrides HubBusArn={}",
        checked.registry.region(),
        checked.hub.bus
    )
}

/// Checks whether CloudTrail logs who deletes images.
pub(super) async fn check_trail(checked: &CheckedRegistry<'_>) -> Finding {
    match deployment::is_recorded(&checked.sdk).await {
        Ok(true) => Finding::good(&checked.place, "a CloudTrail trail logs who deletes images"),
        Ok(false) => Finding::wrong(
            &checked.place,
            "no CloudTrail trail logs in this region: the principal who deletes an image stays unknown",
            "create a trail with management events: `aws cloudtrail create-trail --is-multi-region-trail …`",
        ),
        Err(failure) => checked.unknown("the CloudTrail trails could not be read", &failure),
    }
}

/// A sample event that EventBridge should send to the hub.
struct Probe {
    what: &'static str,
    /// Whether CloudTrail marks the record as read-only.
    read_only: bool,
    event: Value,
}

fn probes(registry: &Registry) -> [Probe; 3] {
    let event = |kind: &str, detail: Value| {
        json!({
            "version": "0", "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38", "detail-type": kind, "source": "aws.ecr",
            "account": registry.account(), "time": "2026-11-02T09:00:00Z", "region": registry.region(), "resources": [],
            "detail": detail,
        })
    };
    let image = json!({"action-type": "PUSH", "result": "SUCCESS", "repository-name": "team/app", "image-tag": "v1"});
    let who = json!({"eventSource": "ecr.amazonaws.com", "eventName": "BatchDeleteImage"});
    let lifecycle = json!({"eventSource": "ecr.amazonaws.com", "eventName": "PolicyExecutionEvent"});
    [
        Probe { what: "image events", read_only: false, event: event("ECR Image Action", image) },
        Probe { what: "deletions by API calls", read_only: false, event: event("AWS API Call via CloudTrail", who) },
        Probe {
            what: "deletions by lifecycle policies",
            read_only: true,
            event: event("AWS Service Event via CloudTrail", lifecycle),
        },
    ]
}
