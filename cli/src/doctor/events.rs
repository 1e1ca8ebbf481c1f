//! The checks of the rule that publishes a registry's events, and of the trail behind some of them.

use std::collections::{BTreeMap, BTreeSet};

use aws::deployment::{self, EventRule, registry::Recorded};
use domain::{
    event::notification::{HEARTBEAT_DETAIL_TYPE, HEARTBEAT_SOURCE},
    image::Registry,
};
use serde_json::{Value, json};

use super::{
    Finding,
    hub::{REVERT_DRIFT, VERSION},
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

/// A rule that publishes to the topic, and the kinds of events that its pattern matches.
struct Publisher<'r> {
    rule: &'r EventRule,
    matched: BTreeSet<&'static str>,
}

/// What enabled rules that the topic admits publish together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Coverage<'r> {
    /// The kinds that arrive.
    published: Vec<&'static str>,
    /// The kinds that no pattern matches.
    missing: Vec<&'static str>,
    /// The rules whose pattern matches runs of lifecycle policies, but whose state leaves them out, if none publishes them.
    not_read_only: Vec<&'r str>,
    /// The rules of each group that publishes the same kinds, if there is more than one.
    repeated: BTreeMap<Vec<&'r str>, Vec<&'static str>>,
}

/// Checks whether the rules that the topic admits publish every kind of event once together, and keep what they cannot
/// publish.
pub(super) async fn check_event_rules(checked: &CheckedRegistry<'_>, admitted: &[&EventRule]) -> Vec<Finding> {
    let (place, topic) = (&checked.place, &checked.topic);
    if admitted.is_empty() {
        let what = format!("no EventBridge rule publishes to {topic}: no event of this registry reaches the hub");
        return vec![Finding::wrong(place, what, &deploy_command(checked))];
    }
    let enabled: Vec<_> = admitted.iter().copied().filter(|rule| rule.enabled).collect();
    if enabled.is_empty() {
        let disabled = admitted.iter().map(|rule| {
            let what = format!("the rule {} is disabled: no event of this registry reaches the hub", rule.name);
            Finding::wrong(place, what, &enable_command(checked, &rule.name))
        });
        return disabled.collect();
    }
    let mut publishers = Vec::new();
    for rule in enabled {
        match matched_kinds(checked, rule).await {
            Ok(matched) => publishers.push(Publisher { rule, matched }),
            Err(finding) => return vec![finding],
        }
    }
    let mut findings = coverage_findings(checked, &coverage(&publishers));
    findings.extend(publishers.iter().filter_map(|each| check_version(checked, each.rule)));
    let losing = publishers.iter().filter(|each| !each.matched.is_empty() && each.rule.dead_letters.is_none());
    findings.extend(losing.map(|Publisher { rule, .. }| {
        let what = format!("the rule {} has no dead-letter queue: events that it cannot publish are lost", rule.name);
        Finding::notice(place, what, &deploy_command(checked))
    }));
    findings
}

/// Checks whether the rule's stack is of this program's version; `None` if so, or if the rule is not of such a stack.
fn check_version(checked: &CheckedRegistry<'_>, rule: &EventRule) -> Option<Finding> {
    let version = version_of(&rule.description).filter(|version| *version != VERSION)?;
    let what =
        format!("the rule {} is of a registry stack of version {version}, and this program has {VERSION}", rule.name);
    Some(Finding::notice(&checked.place, what, &deploy_command(checked)))
}

/// The version that the description of a rule of infra/registry.yaml begins with.
fn version_of(description: &str) -> Option<&str> {
    description.strip_prefix("ecr-lineage ")?.split_once(':').map(|(version, _)| version)
}

/// The kinds of events that the pattern of a rule matches.
async fn matched_kinds(checked: &CheckedRegistry<'_>, rule: &EventRule) -> Result<BTreeSet<&'static str>, Finding> {
    let mut matched = BTreeSet::new();
    // The pattern of a rule with a schedule matches no event.
    for (kind, event) in probes(&checked.registry).filter(|_| !rule.pattern.is_empty()) {
        let matches = deployment::matches(&checked.sdk, &rule.pattern, &event.to_string()).await;
        let matches = matches.map_err(|failure| {
            let what = format!("the rule {} could not be tested", rule.name);
            checked.unknown(what, &failure)
        })?;
        if matches {
            matched.insert(kind);
        }
    }
    Ok(matched)
}

/// What enabled rules that the topic admits publish together.
fn coverage<'r>(publishers: &[Publisher<'r>]) -> Coverage<'r> {
    let mut coverage = Coverage::default();
    for kind in KINDS {
        let matching = || publishers.iter().filter(|each| each.matched.contains(kind));
        let publishing = matching().filter(|each| kind != LIFECYCLE || each.rule.all_of_cloudtrail);
        let names: Vec<_> = publishing.map(|each| each.rule.name.as_str()).collect();
        match names.len() {
            0 if matching().next().is_none() => coverage.missing.push(kind),
            0 => coverage.not_read_only = matching().map(|each| each.rule.name.as_str()).collect(),
            1 => coverage.published.push(kind),
            _ => {
                coverage.published.push(kind);
                coverage.repeated.entry(names).or_default().push(kind);
            }
        }
    }
    coverage
}

fn coverage_findings(checked: &CheckedRegistry<'_>, coverage: &Coverage<'_>) -> Vec<Finding> {
    let (place, mut findings) = (&checked.place, Vec::new());
    if !coverage.published.is_empty() {
        let what = format!("EventBridge publishes {}", coverage.published.join(", "));
        findings.push(Finding::good(place, what));
    }
    if let Some(rule) = coverage.not_read_only.first() {
        let what = format!(
            "the rule {rule} is not enabled for read-only management events: deletions by lifecycle policies count as \
             deletions by an unknown cause"
        );
        findings.push(Finding::wrong(place, what, &enable_command(checked, rule)));
    }
    if !coverage.missing.is_empty() {
        let what = format!("no rule matches {}: these never reach the hub", coverage.missing.join(", "));
        let fix = format!(
            "{}; if CloudFormation finds no change, the rule was changed by hand: {REVERT_DRIFT}",
            deploy_command(checked)
        );
        findings.push(Finding::wrong(place, what, &fix));
    }
    findings.extend(coverage.repeated.iter().map(|(rules, kinds)| {
        let what = format!(
            "the rules {} publish the same events: {} arrive {} times, and are paid as often",
            rules.join(", "),
            kinds.join(", "),
            rules.len()
        );
        let fix = format!(
            "keep the rule of the registry's stack: aws events disable-rule --region {} --name RULE",
            checked.registry.region()
        );
        Finding::wrong(place, what, &fix)
    }));
    findings
}

/// The command that enables a rule for all events of its pattern.
fn enable_command(checked: &CheckedRegistry<'_>, rule: &str) -> String {
    let of = format!("--region {} --name {rule}", checked.registry.region());
    format!(
        "aws events put-rule {of} --state ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS --event-pattern \
         \"$(aws events describe-rule {of} --query EventPattern --output text)\""
    )
}

/// The kind of events that CloudTrail marks as read-only.
const LIFECYCLE: &str = "deletions by lifecycle policies";

/// The kinds of events that the hub needs.
const KINDS: [&str; 9] = [
    "image events",
    "replication events",
    "deletions by API calls",
    LIFECYCLE,
    "pushes by API calls",
    "changes of policies",
    "refused copies",
    "changes of replication rules",
    "heartbeats",
];

/// A sample of each kind of event that the rule should match.
fn probes(registry: &Registry) -> impl Iterator<Item = (&'static str, Value)> {
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
    let events = [
        event("aws.ecr", "ECR Image Action", image.clone()),
        event("aws.ecr", "ECR Replication Action", image),
        event("aws.ecr", of_call, call("BatchDeleteImage")),
        event("aws.ecr", of_service, call("PolicyExecutionEvent")),
        event("aws.ecr", of_call, call("PutImage")),
        event("aws.ecr", of_call, call("PutRegistryPolicy")),
        event("aws.ecr", of_call, refused),
        event("aws.ecr", of_call, call("PutReplicationConfiguration")),
        event(HEARTBEAT_SOURCE, HEARTBEAT_DETAIL_TYPE, json!({})),
    ];
    KINDS.into_iter().zip(events)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, all_of_cloudtrail: bool) -> EventRule {
        EventRule {
            name: name.to_owned(),
            arn: String::new(),
            description: String::new(),
            enabled: true,
            all_of_cloudtrail,
            pattern: "{}".to_owned(),
            dead_letters: None,
        }
    }

    #[test]
    fn the_rule_of_the_template_says_its_version() {
        let template = include_str!("../../../infra/registry.yaml");
        let descriptions: Vec<_> = template.lines().filter_map(|line| version_of(line.trim_start())).collect();
        assert_eq!(descriptions, [VERSION]);
        for other in ["", "ecr-lineage", "ecr-lineage 0.1.0", "Sends 0.1.0: all"] {
            assert_eq!(version_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_rules_are_judged_together_and_not_the_first_alone() {
        let (stack, other) = (rule("stack", true), rule("other", false));
        let all: BTreeSet<_> = KINDS.into();
        // A rule that matches nothing of ours comes first, and is no finding.
        let nothing = Publisher { rule: &other, matched: BTreeSet::new() };
        let ours = Publisher { rule: &stack, matched: all.clone() };
        let complete = Coverage { published: KINDS.to_vec(), ..Coverage::default() };
        assert_eq!(coverage(&[nothing, ours]), complete);
        // What one rule lacks another one may publish.
        let heartbeats = Publisher { rule: &other, matched: ["heartbeats"].into() };
        let without = || Publisher { rule: &stack, matched: KINDS[..KINDS.len() - 1].iter().copied().collect() };
        assert_eq!(coverage(&[heartbeats, without()]), complete);
        assert_eq!(coverage(&[without()]).missing, ["heartbeats"]);
    }

    #[test]
    fn rules_that_publish_the_same_events_are_found() {
        let (stack, other) = (rule("stack", true), rule("other", false));
        let ours = Publisher { rule: &stack, matched: KINDS.into() };
        let again = Publisher { rule: &other, matched: ["image events", LIFECYCLE].into() };
        let found = coverage(&[ours, again]);
        // The other rule is not enabled for what CloudTrail marks as read-only, and publishes no runs of policies.
        assert_eq!(found.repeated, [(vec!["stack", "other"], vec!["image events"])].into());
        assert_eq!((found.published.len(), found.missing.len(), found.not_read_only.len()), (KINDS.len(), 0, 0));
    }

    #[test]
    fn a_rule_without_read_only_events_is_found_if_no_other_publishes_them() {
        let other = rule("other", false);
        let found = coverage(&[Publisher { rule: &other, matched: KINDS.into() }]);
        assert_eq!((found.not_read_only, found.published.len()), (vec!["other"], KINDS.len() - 1));
    }
}
