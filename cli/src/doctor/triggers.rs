//! The checks of what invokes the hub's functions: queue, stream and schedules.

use aws::deployment;

use super::{
    Finding,
    functions::Functions,
    hub::{ATTACH_READERS_POLICY, HUB, Hub, REVERT_DRIFT},
};

/// The functions that a schedule invokes, and what is missing while they do not run.
const SCHEDULED: [(&str, &str); 3] = [
    ("watch", "no replica is checked, and no alert is opened"),
    ("mirror", "no deletion is mirrored"),
    ("reconcile", "what no event reported is not recorded"),
];

/// Checks whether the queue of events invokes `record`, and the table's stream `alert`. A table may have had several
/// streams: `newest` is the ARN of the one that it writes to, if it could be read.
pub(super) async fn check_mappings(hub: &Hub<'_>, functions: &Functions, newest: Option<&str>) -> Vec<Finding> {
    let of_table = format!(":table/{}/stream/", hub.table_name);
    let reads = |function: &str, source: &str| match (function, newest) {
        ("record", _) => source == hub.queue,
        (_, Some(newest)) => source == newest,
        (_, None) => source.contains(&of_table),
    };
    let is_existing = hub.parameter("ExistingTableName").is_some_and(|name| !name.is_empty());
    let restore = |function: &str| match newest.filter(|_| function == "alert" && is_existing) {
        Some(newest) => format!("deploy the hub with ExistingTableStreamArn={newest}"),
        None => REVERT_DRIFT.to_owned(),
    };
    let consequences = [
        ("record", "the queue", "no event is recorded, and after four days in the queue events are lost"),
        ("alert", "the table's stream", "no alert is published, and after 24 hours in the stream alerts are lost"),
    ];
    let (mut findings, mut enabled) = (Vec::new(), Vec::new());
    for (function, source, consequence) in consequences {
        let Some((name, _)) = functions.get(function) else { continue };
        let mappings = match deployment::hub::mappings(hub.sdk, name).await {
            Ok(mappings) => mappings,
            Err(failure) => {
                let what = format!("the event source mappings of {function} could not be read");
                findings.push(Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY));
                continue;
            }
        };
        let ours: Vec<_> = mappings.iter().filter(|mapping| reads(function, &mapping.source)).collect();
        if ours.iter().any(|mapping| mapping.is_enabled()) {
            enabled.push(format!("{source} invokes {function}"));
        } else if let Some(mapping) = ours.first() {
            let what = format!(
                "the event source mapping from {source} to {function} is {}: {consequence}",
                mapping.state.to_lowercase()
            );
            let fix = format!(
                "aws lambda update-event-source-mapping --region {} --uuid {} --enabled",
                hub.place.region(),
                mapping.uuid
            );
            findings.push(Finding::wrong(HUB, what, &fix));
        } else {
            let what = format!("no event source mapping leads from {source} to {function}: {consequence}");
            findings.push(Finding::wrong(HUB, what, &restore(function)));
        }
    }
    if !enabled.is_empty() {
        findings.push(Finding::good(HUB, enabled.join(", and ")));
    }
    findings
}

/// Checks whether schedules invoke `watch`, `mirror` and `reconcile`.
pub(super) async fn check_schedules(hub: &Hub<'_>, functions: &Functions) -> Vec<Finding> {
    let (mut findings, mut enabled) = (Vec::new(), Vec::new());
    for (function, consequence) in SCHEDULED {
        let Some((_, found)) = functions.get(function) else { continue };
        let rules = match deployment::rules_to(hub.sdk, &found.arn).await {
            Ok(rules) => rules,
            Err(failure) => {
                let what = format!("the schedule of {function} could not be read");
                findings.push(Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY));
                continue;
            }
        };
        match rules.first() {
            Some(_) if rules.iter().any(|rule| rule.enabled) => enabled.push(function),
            Some(rule) => {
                let what = format!("the schedule of {function} is disabled: {consequence}");
                let fix = format!("aws events enable-rule --region {} --name {}", hub.place.region(), rule.name);
                findings.push(Finding::wrong(HUB, what, &fix));
            }
            None => {
                let what = format!("no schedule invokes {function}: {consequence}");
                findings.push(Finding::wrong(HUB, what, REVERT_DRIFT));
            }
        }
    }
    if !enabled.is_empty() {
        findings.push(Finding::good(HUB, format!("schedules invoke {}", enabled.join(", "))));
    }
    findings
}
