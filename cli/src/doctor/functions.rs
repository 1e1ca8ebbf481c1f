//! The checks of the hub's functions.

use std::collections::BTreeMap;

use aws::deployment::{self, Runs, hub::Function};
use domain::settings::MirrorSettings;
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

/// The variables of each function that have the value of a parameter of the stack.
const OF_PARAMETERS: [(&str, &[(&str, &str)]); 7] = [
    ("record", &[("ORGANIZATION_ID", "OrganizationId")]),
    (
        "watch",
        &[
            ("READ_ROLE", "ReadRoleName"),
            ("EXTERNAL_ID", "ExternalId"),
            ("REGISTRIES", "Registries"),
            ("SEVERITY_RULES", "SeverityRules"),
            ("ORGANIZATION_ID", "OrganizationId"),
        ],
    ),
    (
        "mirror",
        &[
            ("DELETE_ROLE", "DeleteRoleName"),
            ("READ_ROLE", "ReadRoleName"),
            ("EXTERNAL_ID", "ExternalId"),
            ("MODE", "Mode"),
            ("REGISTRIES", "Registries"),
            ("SEVERITY_RULES", "SeverityRules"),
            ("BREAKER_IMAGES", "BreakerImages"),
            ("BREAKER_PERCENT", "BreakerPercent"),
            ("BREAKER_LIFECYCLE_IMAGES", "BreakerLifecycleImages"),
            ("BREAKER_LIFECYCLE_PERCENT", "BreakerLifecyclePercent"),
            ("BREAKER_WINDOW_HOURS", "BreakerWindowHours"),
            ("USAGE_SERVICES", "UsageServices"),
            ("USAGE_REVISIONS", "UsageRevisions"),
        ],
    ),
    (
        "reconcile",
        &[
            ("READ_ROLE", "ReadRoleName"),
            ("EXTERNAL_ID", "ExternalId"),
            ("REGISTRIES", "Registries"),
            ("SEVERITY_RULES", "SeverityRules"),
            ("RECONCILE_EVERY_HOURS", "ReconcileEveryHours"),
            ("RECONCILE_CALLS_PER_SECOND", "ReconcileCallsPerSecond"),
            ("RECONCILE_LIMITS", "ReconcileLimits"),
        ],
    ),
    ("alert", &[("PAGE_URL", "PageUrl")]),
    ("query", &[("READ_ROLE", "ReadRoleName"), ("EXTERNAL_ID", "ExternalId")]),
    ("operate", &[("READ_ROLE", "ReadRoleName"), ("EXTERNAL_ID", "ExternalId")]),
];

/// The functions as they run, each with its name in AWS, by the names of `FUNCTIONS`.
pub(super) type Functions = BTreeMap<&'static str, (String, Function)>;

/// Reads the functions as they run. A function that cannot be read is missing in the result, and a finding.
pub(super) async fn read_functions(hub: &Hub<'_>) -> (Functions, Vec<Finding>) {
    let (mut functions, mut findings) = (Functions::new(), Vec::new());
    for (function, name) in hub.functions.iter().zip(FUNCTIONS) {
        match deployment::hub::function(hub.sdk, function).await {
            Ok(found) => _ = functions.insert(name, ((*function).to_owned(), found)),
            Err(failure) => {
                let what = format!("the configuration of {name} could not be read");
                findings.push(Finding::unknown(HUB, what, &failure, ATTACH_READERS_POLICY));
            }
        }
    }
    (functions, findings)
}

/// Checks whether the functions have the variables that the stack says.
pub(super) fn check_variables(hub: &Hub<'_>, functions: &Functions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, (function, found)) in functions {
        for (variable, expected) in expected_variables(hub, name) {
            let value = found.variables.get(variable).map(String::as_str).unwrap_or_default();
            // The layer's folder is the template's; the file is the parameter.
            let compared = if variable == "POLICY_FILE" { file_name(value) } else { value };
            if compared != expected {
                let fix = set_variable(hub, function, variable, &expected);
                findings.push(Finding::wrong(HUB, difference(name, variable, value, &expected), &fix));
            }
        }
    }
    findings.extend(check_policies(hub, functions));
    if findings.is_empty() && !functions.is_empty() {
        let policy = functions.get("mirror").and_then(|(_, found)| found.variables.get("POLICY_FILE"));
        let policy = policy.map(|path| format!("; mirror decides by {}", file_name(path))).unwrap_or_default();
        findings.push(Finding::good(HUB, format!("the functions have the variables of the stack{policy}")));
    }
    findings
}

/// Checks whether `mirror` has the stack's version of the layer with the policies; `None` if so. The content of a version
/// never changes, so its ARN says as much as a hash of the policy's text.
/// <https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html>
fn check_policies(hub: &Hub<'_>, functions: &Functions) -> Option<Finding> {
    let (function, found) = functions.get("mirror")?;
    other_policies(&found.layers, hub.policies_layer).map(|what| {
        let fix = format!(
            "aws lambda update-function-configuration --region {} --function-name {function} --layers {}",
            hub.place.region(),
            hub.policies_layer
        );
        Finding::wrong(HUB, what, &fix)
    })
}

/// What it means that a function has other layers than the one of the stack.
fn other_policies(layers: &[String], expected: &str) -> Option<String> {
    let found = match layers {
        [layer] if layer == expected => return None,
        [] => "none".to_owned(),
        layers => layers.join(", "),
    };
    Some(format!(
        "the layer of mirror is {found}, and the stack says {expected}: it was changed by hand, and another policy text \
         decides about replicas"
    ))
}

/// The variables that a function has by the stack's parameters and outputs.
fn expected_variables(hub: &Hub<'_>, name: &str) -> Vec<(&'static str, String)> {
    let mut expected = vec![("TABLE_NAME", hub.table_name.to_owned()), ("METRICS_NAMESPACE", hub.stack.name.clone())];
    let of_parameters = OF_PARAMETERS.iter().filter(|(function, _)| *function == name).flat_map(|(_, all)| *all);
    expected.extend(of_parameters.filter_map(|(variable, parameter)| {
        let value = if *parameter == "Mode" { Some(hub.mode) } else { hub.parameter(parameter) };
        let path = if variable.ends_with("_ROLE") { hub.parameter("RolePath") } else { None };
        Some((*variable, [path.unwrap_or_default(), value?].concat()))
    }));
    match name {
        "record" => {
            expected.push(("TOPIC_NAME", hub.topic_name()));
            expected.push(("SNS_SIGNATURES", "verify".to_owned()));
            expected.push(("ACCOUNT_IDS", account_ids(hub)));
        }
        "watch" => {
            expected.push(("ACCOUNT_IDS", account_ids(hub)));
            expected.extend(hub.dead_letters.first().map(|url| ("DEAD_LETTERS_URL", (*url).to_owned())));
        }
        "mirror" => expected.extend(hub.parameter("PolicyFile").map(|file| ("POLICY_FILE", file.to_owned()))),
        "alert" => expected.push(("BUS_NAME", hub.alerts_bus.to_owned())),
        "query" => expected.push(("CHANGES", "refuse".to_owned())),
        "operate" => expected.push(("CHANGES", "allow".to_owned())),
        _ => {}
    }
    expected
}

/// The accounts that the stack admits by name, as its functions know them.
fn account_ids(hub: &Hub<'_>) -> String {
    let others = hub.parameter("AccountIds").filter(|ids| !ids.is_empty());
    [Some(hub.place.account()), others].into_iter().flatten().collect::<Vec<_>>().join(",")
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// What it means that a variable is not the stack's.
fn difference(name: &str, variable: &str, value: &str, expected: &str) -> String {
    let value = if value.is_empty() { "empty" } else { value };
    let consequence = match (variable, value) {
        ("MODE", "enforce") => ", and replicas are deleted",
        ("MODE", _) => ", and no replica is deleted",
        ("POLICY_FILE", _) => ", and another policy decides about replicas",
        ("CHANGES", "allow") => ", and every reader may change deletions",
        ("SNS_SIGNATURES", "ignore") => ", and messages are believed that SNS did not sign",
        _ => "",
    };
    let expected = if expected.is_empty() { "empty" } else { expected };
    format!("{variable} of {name} is {value}, and the stack says {expected}: it was changed by hand{consequence}")
}

/// The command that sets a variable and keeps the others.
fn set_variable(hub: &Hub<'_>, function: &str, variable: &str, value: &str) -> String {
    let of = format!("--region {} --function-name {function}", hub.place.region());
    format!(
        "aws lambda update-function-configuration {of} --environment \"$(aws lambda get-function-configuration {of} \
         --output json --query Environment | jq '.Variables.{variable} = \"{value}\"')\""
    )
}

/// Checks whether `mirror` runs with the policy, the mode and the limits that the stack says.
pub(super) fn check_settings(hub: &Hub<'_>, settings: Option<&MirrorSettings>) -> Finding {
    let Some(MirrorSettings { since, mode, policy, limits, usage, revisions, .. }) = settings else {
        let what = "mirror has not run with this table yet: its policy and mode are not known";
        return Finding::new(Level::Notice, HUB, what.to_owned(), None);
    };
    let (mode, since) = (mode.as_str(), time(*since));
    let (principals, lifecycle) = (limits.principals, limits.lifecycle);
    let services: Vec<_> = usage.iter().map(|service| service.as_str()).collect();
    let services = services.join(",");
    let runs_with = [
        ("Mode", mode.to_owned()),
        ("PolicyFile", policy.name.clone()),
        ("BreakerImages", principals.images.to_string()),
        ("BreakerPercent", principals.percent.to_string()),
        ("BreakerLifecycleImages", lifecycle.images.to_string()),
        ("BreakerLifecyclePercent", lifecycle.percent.to_string()),
        ("BreakerWindowHours", limits.window.as_hours().to_string()),
        ("UsageServices", services.clone()),
        ("UsageRevisions", revisions.to_string()),
    ];
    let differences = runs_with.into_iter().filter_map(|(parameter, value)| {
        let expected = if parameter == "Mode" { hub.mode } else { hub.parameter(parameter)? };
        (value != expected).then(|| format!("{parameter} {value} (stack: {expected})"))
    });
    let differences: Vec<_> = differences.collect();
    let fix = "wait for its next run, in a minute; if it stays, deploy the stack again";
    match (&policy.problem, &policy.sha256) {
        _ if !differences.is_empty() => {
            let what = format!("mirror runs since {since} UTC with {}", differences.join(", "));
            Finding::wrong(HUB, what, fix)
        }
        (Some(problem), _) => {
            let what = format!("mirror cannot use its policy, and mirrors nothing: {problem}");
            Finding::wrong(HUB, what, "fix the policy (`ecr-lineage policy check FILE`), and deploy it")
        }
        (None, hash) => {
            let hash = hash.as_deref().and_then(|hash| hash.get(..12)).unwrap_or_default();
            let name = &policy.name;
            let in_use = match services.as_str() {
                "" => "it does not look at what is in use (UsageServices is empty)".to_owned(),
                services => format!("it keeps what {services} runs"),
            };
            let what = format!("mirror runs with {name} (sha256 {hash}…), mode {mode}, since {since} UTC; {in_use}");
            Finding::good(HUB, what)
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The variables of the template that have the value of a parameter are those that are checked.
    #[test]
    fn every_variable_of_a_parameter_is_checked() {
        let template = include_str!("../../../infra/hub.yaml");
        // Roles have a path.
        let begins = [": {Ref: ", ": {\"Fn::Sub\": \"${RolePath}${"];
        let variables =
            template.lines().filter_map(|line| begins.iter().find_map(|begin| line.trim().split_once(begin)));
        let of_template: BTreeSet<_> = variables
            .map(|(variable, parameter)| (variable, parameter.trim_end_matches(['}', '"'])))
            .filter(|(variable, _)| variable.chars().all(|each| each.is_ascii_uppercase() || each == '_'))
            // Resources; accounts are checked with the hub's own.
            .filter(|(_, name)| !["Table", "Alerts", "DeadLetters", "\"AWS::StackName"].contains(name))
            .collect();
        let checked: BTreeSet<_> = OF_PARAMETERS.iter().flat_map(|(_, all)| all.iter().copied()).collect();
        assert_eq!(of_template, checked);
    }

    #[test]
    fn another_version_of_the_policies_is_found() {
        let layer = |version: &str| format!("arn:aws:lambda:eu-west-1:111122223333:layer:policies:{version}");
        assert_eq!(other_policies(&[layer("3")], &layer("3")), None);
        let found = other_policies(&[layer("4")], &layer("3")).unwrap();
        assert!(found.starts_with(&format!(
            "the layer of mirror is {}, and the stack says {}",
            layer("4"),
            layer("3")
        )));
        assert!(other_policies(&[], &layer("3")).unwrap().starts_with("the layer of mirror is none"));
        assert!(other_policies(&[layer("3"), layer("4")], &layer("3")).is_some());
    }

    #[test]
    fn a_changed_mode_says_what_it_means() {
        assert_eq!(
            difference("mirror", "MODE", "enforce", "observe"),
            "MODE of mirror is enforce, and the stack says observe: it was changed by hand, and replicas are deleted"
        );
        assert_eq!(
            difference("record", "SNS_SIGNATURES", "ignore", "verify"),
            "SNS_SIGNATURES of record is ignore, and the stack says verify: it was changed by hand, and messages are \
             believed that SNS did not sign"
        );
    }
}
