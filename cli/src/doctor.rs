//! `doctor`: diagnoses a deployment, with the fix for each finding.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use aws::{
    deployment::{self, EventRule, Stack},
    queue::DeadLetters,
    registry::Registries,
};
use aws_config::SdkConfig;
use domain::{
    deletion::{CheckName, DeletionStatus},
    image::Registry,
    replication,
};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use retry::{NO_CREDENTIALS, chain};
use serde::Serialize;
use serde_json::{Value, json};
use store::Table;

use crate::{
    failure::CliError,
    options::{DoctorOptions, TargetOptions},
    print::time,
    target::configuration,
};

/// The result of `doctor`.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// All findings: the hub first, then registry by registry.
    pub findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// The result's level.
    pub level: Level,
    /// The hub, or the registry that was checked.
    pub place: String,
    /// The result, in one line.
    pub what: String,
    /// The fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The level of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No fix is needed.
    Good,
    /// A setting that an operator may have chosen deliberately.
    Notice,
    /// The check could not be made.
    Unknown,
    /// A fix is needed.
    Wrong,
}

impl Diagnosis {
    /// Whether everything was read and nothing needs a fix.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.level, Level::Good | Level::Notice))
    }
}

/// The largest accepted clock skew: AWS refuses signatures from five minutes on, and wrong times in the table would
/// mislead.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// A scheduled function, which runs every few minutes, must have succeeded within this time.
const NOT_RUNNING_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// The hub, which reads every registry hourly, must have read its settings within this time.
const SETTINGS_STALE_AFTER: SignedDuration = SignedDuration::from_hours(2);

/// The number of repositories per registry that are checked for a lifecycle policy.
const REPOSITORIES: usize = 100;

/// The number of deletions of each status and source that are checked.
const DELETIONS: usize = 100;

/// Registries that are checked concurrently.
const AT_A_TIME: usize = 8;

const RUNBOOK: &str = "docs/runbook.md";

/// The functions, in the order of the stack's output `Functions`.
const FUNCTIONS: [&str; 7] = ["record", "watch", "mirror", "reconcile", "alert", "query", "operate"];

/// Diagnoses the deployment of a stack.
///
/// # Errors
/// When the stack does not exist or cannot be read. Every other failed read is a finding.
pub async fn doctor(target: &TargetOptions, options: &DoctorOptions) -> Result<Diagnosis, CliError> {
    let (sdk, roles) = configuration(target).await;
    let found = deployment::stack(&sdk, &options.stack).await;
    let stack = found
        .map_err(|source| CliError::Stack { stack: options.stack.clone(), source })?
        .ok_or_else(|| CliError::NoStack { stack: options.stack.clone() })?;
    let output = |output| {
        let text = stack.outputs.get(output).map(String::as_str);
        text.ok_or_else(|| CliError::NoHub { stack: options.stack.clone(), output })
    };
    let hub = Hub {
        name: &options.stack,
        stack: &stack,
        bus: output("BusArn")?,
        archive: output("ArchiveName")?,
        queues: [output("DeadLettersUrl")?, output("FailedAlertsUrl")?],
        functions: output("Functions")?.split(',').collect(),
        mode: output("Mode")?,
        now: Timestamp::now(),
        sdk: &sdk,
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), output("TableName")?),
    };
    let mut findings = Findings("hub".to_owned(), Vec::new());
    hub.look(&mut findings).await;

    let registries = Registries::new(sdk.clone(), roles);
    let known = hub.table.known_registries().await?;
    let settings: BTreeMap<_, _> = known.into_iter().map(|known| (known.registry, known.settings)).collect();
    let routes = settings.values().flatten().flat_map(|settings| &settings.routes);
    let mut all: BTreeSet<Registry> = routes.map(|route| route.destination.clone()).collect();
    all.extend(settings.keys().chain(&options.registries).cloned());
    hub.admits(&all, &mut findings).await;
    let mut findings = findings.1;
    if all.is_empty() {
        findings.push(Finding {
            level: Level::Notice,
            place: "registries".to_owned(),
            what: "no event was ever recorded, and no registry was passed to this command".to_owned(),
            fix: Some(
                "deploy infra/registry.yaml in each registry (`ecr-lineage deploy plan` prints how), or pass registries"
                    .to_owned(),
            ),
        });
    }
    let (hub, read) = (&hub, &registries);
    let looked = stream::iter(all).map(|registry| {
        let settings = settings.get(&registry).cloned().flatten();
        async move { hub.diagnose(&registry, settings.as_ref(), read).await }
    });
    // In the order of the registries, regardless of which check ends first.
    let looked: Vec<_> = looked.buffered(AT_A_TIME).collect().await;
    findings.extend(looked.into_iter().flatten());
    Ok(Diagnosis { findings })
}

/// The place that is checked, and its findings so far.
struct Findings(String, Vec<Finding>);

impl Findings {
    fn push(&mut self, level: Level, what: impl Display, fix: Option<String>) {
        self.1.push(Finding { level, place: self.0.clone(), what: what.to_string(), fix });
    }

    fn good(&mut self, what: impl Display) {
        self.push(Level::Good, what, None);
    }

    fn wrong(&mut self, what: impl Display, fix: impl Into<String>) {
        self.push(Level::Wrong, what, Some(fix.into()));
    }

    fn notice(&mut self, what: impl Display, fix: impl Into<String>) {
        self.push(Level::Notice, what, Some(fix.into()));
    }

    fn unknown(&mut self, what: impl Display, failure: &dyn std::error::Error, fix: impl Into<String>) {
        self.push(Level::Unknown, format!("{what}: {}", chain(failure)), Some(fix.into()));
    }
}

/// The hub's stack, its outputs, and clients.
struct Hub<'a> {
    name: &'a str,
    stack: &'a Stack,
    bus: &'a str,
    archive: &'a str,
    queues: [&'a str; 2],
    functions: Vec<&'a str>,
    mode: &'a str,
    now: Timestamp,
    sdk: &'a SdkConfig,
    table: Table,
}

/// The fix for a call that was refused.
const MAY_NOT: &str = "give your role the policy in the stack's output ReadersPolicy";

impl Hub<'_> {
    async fn look(&self, findings: &mut Findings) {
        let Stack { status, complete, .. } = self.stack;
        let what = format!("stack {} is {status}, in mode {}", self.name, self.mode);
        match complete {
            true => findings.good(what),
            false => findings.wrong(what, "check the stack's events in CloudFormation, and deploy it again"),
        }
        match deployment::clock_skew(self.sdk).await {
            Ok(skew) if skew.abs() <= SKEW => findings.good("this machine's clock agrees with AWS to within a minute"),
            Ok(skew) => findings.wrong(
                format!("this machine's clock differs from AWS by {skew:#}: AWS may refuse its signatures"),
                "synchronize the clock with NTP",
            ),
            Err(failure) => {
                findings.unknown("the time at AWS could not be read", &failure, "sign in (`aws sso login`)");
            }
        }
        match deployment::archives(self.sdk, self.archive).await {
            Ok(true) => findings.good("the event archive is enabled: events can be replayed"),
            Ok(false) => {
                findings.wrong("the event archive is disabled: no event can be replayed", "deploy the stack again");
            }
            Err(failure) => findings.unknown("the event archive could not be read", &failure, MAY_NOT),
        }
        for (url, what) in self.queues.into_iter().zip(["dead-letter events", "undelivered alerts"]) {
            match DeadLetters::new(aws_sdk_sqs::Client::new(self.sdk), url).count().await {
                Ok(0) => findings.good(format!("no {what}")),
                Ok(count) => findings.wrong(format!("{count} {what} in {url}"), format!("see {RUNBOOK}")),
                Err(failure) => findings.unknown(format!("the queue of {what} could not be read"), &failure, MAY_NOT),
            }
        }
        self.check_functions(findings).await;
    }

    async fn check_functions(&self, findings: &mut Findings) {
        let runs = match deployment::runs(self.sdk, &self.functions, self.now).await {
            Ok(runs) => runs,
            Err(failure) => {
                return findings.unknown("the metrics of the functions could not be read", &failure, MAY_NOT);
            }
        };
        for (function, name) in self.functions.iter().zip(FUNCTIONS) {
            let runs = runs.get(function).copied().unwrap_or_default();
            let scheduled = matches!(name, "watch" | "mirror" | "reconcile");
            let fix = format!("read the log of {function}; see {RUNBOOK}");
            match runs.succeeded_at {
                Some(at) if scheduled && self.now.duration_since(at) > NOT_RUNNING_AFTER => {
                    findings.wrong(format!("{name} last succeeded at {} UTC", time(at)), fix);
                }
                Some(at) => findings.good(format!(
                    "{name} last succeeded at {} UTC; {} of {} runs failed in 24 h",
                    time(at),
                    runs.failed,
                    runs.started
                )),
                None if runs.started > 0 => {
                    findings.wrong(format!("every run of {name} failed in the last 24 h: {} runs", runs.failed), fix);
                }
                None if scheduled => findings.wrong(format!("{name} was not invoked in the last 24 h"), fix),
                None => findings.push(Level::Notice, format!("{name} had nothing to do in the last 24 h"), None),
            }
        }
    }

    /// Checks whether the event bus accepts events from the accounts of these registries.
    async fn admits(&self, registries: &BTreeSet<Registry>, findings: &mut Findings) {
        let policy = match deployment::bus_policy(self.sdk, self.bus.rsplit('/').next().unwrap_or_default()).await {
            Ok(policy) => policy.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            Err(failure) => {
                return findings.unknown("the policy of the event bus could not be read", &failure, MAY_NOT);
            }
        };
        let own = self.bus.split(':').nth(4).unwrap_or_default();
        let others: BTreeSet<_> = registries.iter().map(Registry::account).filter(|account| *account != own).collect();
        let admitted = Admitted::by(&policy);
        if admitted.everybody {
            let what = "any AWS account may send events: the bus policy has a principal `*` without an organization";
            findings.wrong(what, "set OrganizationId or AccountIds, and deploy the stack again");
        }
        let refused: Vec<_> = others.iter().filter(|account| !admitted.admits(account)).copied().collect();
        let by = admitted.organizations.iter().map(|id| format!("organization {id}"));
        let by: Vec<_> = by
            .chain(others.difference(&refused.iter().copied().collect()).map(|account| (*account).to_owned()))
            .collect();
        if !refused.is_empty() {
            let what = format!("the bus policy does not let {} send events", refused.join(", "));
            findings.wrong(what, "add the accounts to the stack's parameter AccountIds, or set OrganizationId");
        } else if !by.is_empty() {
            findings.good(format!("the bus accepts events from {}", by.join(", ")));
        }
    }

    /// Checks one registry.
    async fn diagnose(
        &self,
        registry: &Registry,
        settings: Option<&replication::ReplicationSettings>,
        registries: &Registries,
    ) -> Vec<Finding> {
        let mut findings = Findings(registry.to_string(), Vec::new());
        self.check_what_it_knows(registry, settings, &mut findings).await;
        let sdk = registries.config(registry).await;
        // With credentials of another account, its rules would be taken for this account's.
        match deployment::account(&sdk).await {
            Ok(account) if account == registry.account() => {}
            Ok(account) => {
                let what = format!("not checked: these credentials belong to account {account}");
                findings.push(Level::Unknown, what, Some(OTHERWISE.to_owned()));
                return findings.1;
            }
            Err(failure) => {
                findings.unknown("not checked", &failure, OTHERWISE);
                return findings.1;
            }
        }
        match deployment::rules_to(&sdk, self.bus).await {
            Ok(rules) => self.check_rules(registry, &sdk, &rules, &mut findings).await,
            Err(failure) => {
                findings.unknown("the EventBridge rules could not be read", &failure, OTHERWISE);
                return findings.1;
            }
        }
        match deployment::is_recorded(&sdk).await {
            Ok(true) => findings.good("a CloudTrail trail logs who deletes images"),
            Ok(false) => findings.wrong(
                "no CloudTrail trail logs in this region: the principal who deletes an image stays unknown",
                "create a trail with management events: `aws cloudtrail create-trail --is-multi-region-trail …`",
            ),
            Err(failure) => findings.unknown("the CloudTrail trails could not be read", &failure, OTHERWISE),
        }
        match registries.rules(registry).await {
            Ok(rules) => self.check_copies(&rules, registries, &mut findings).await,
            Err(failure) => findings.unknown("the replication rules could not be read", &failure, OTHERWISE),
        }
        findings.1
    }

    /// Checks when the hub last read the registry, and whether AWS refuses its deletions.
    async fn check_what_it_knows(
        &self,
        registry: &Registry,
        settings: Option<&replication::ReplicationSettings>,
        findings: &mut Findings,
    ) {
        let roles = "deploy infra/registry.yaml in this account with Roles=make and the hub's ExternalId";
        match settings.map(|settings| settings.read_at) {
            None => findings.wrong("the hub has never read this registry's replication rules", roles),
            Some(at) if self.now.duration_since(at) > SETTINGS_STALE_AFTER => {
                findings.wrong(format!("the hub last read this registry at {} UTC", time(at)), roles);
            }
            Some(at) => findings.good(format!("the hub read this registry at {} UTC", time(at))),
        }
        let mut refused = 0;
        for status in [DeletionStatus::Pending, DeletionStatus::Executing] {
            let since = Timestamp::UNIX_EPOCH;
            match self.table.deletions(status, registry, since, None, DELETIONS).await {
                Ok((deletions, _)) => {
                    let stopped = deletions.iter().filter_map(|deletion| deletion.checks.last());
                    let stopped = stopped.filter(|check| check.check == CheckName::Call && !check.passed);
                    refused += stopped
                        .filter(|check| check.why.contains(NO_CREDENTIALS) || check.why.contains("AccessDenied"))
                        .count();
                }
                Err(failure) => {
                    return findings.unknown("the deletions from this registry could not be read", &failure, MAY_NOT);
                }
            }
        }
        if refused > 0 {
            findings.wrong(
                format!(
                    "AWS refuses {refused} deletions of this registry's replicas: the role or a permission is missing"
                ),
                "deploy infra/registry.yaml in the replicas' accounts with DeletableRepositories; \
                 `ecr-lineage deletions --pending` lists the deletions",
            );
        }
    }

    async fn check_rules(&self, registry: &Registry, sdk: &SdkConfig, rules: &[EventRule], findings: &mut Findings) {
        let deploy = format!(
            "aws cloudformation deploy --region {} --stack-name ecr-lineage-registry --template-file infra/registry.yaml \
             --capabilities CAPABILITY_NAMED_IAM --parameter-overrides HubBusArn={}",
            registry.region(),
            self.bus
        );
        let (mut sent, mut missing) = (Vec::new(), Vec::new());
        for probe in probes(registry) {
            let mut matched = false;
            for rule in rules.iter().filter(|rule| rule.enabled && (rule.all_of_cloudtrail || !probe.read_only)) {
                match deployment::matches(sdk, &rule.pattern, &probe.event.to_string()).await {
                    Ok(matches) => matched |= matches,
                    Err(failure) => {
                        return findings.unknown(
                            format!("the rule {} could not be tested", rule.name),
                            &failure,
                            OTHERWISE,
                        );
                    }
                }
            }
            if matched { &mut sent } else { &mut missing }.push(probe.what);
        }
        if !sent.is_empty() {
            findings.good(format!("EventBridge sends to the hub: {}", sent.join(", ")));
        }
        if !missing.is_empty() {
            findings.wrong(format!("no EventBridge rule sends to the hub: {}", missing.join(", ")), deploy.clone());
        }
        for rule in rules.iter().filter(|rule| !rule.keeps_undelivered) {
            findings.notice(
                format!("the rule {} has no dead-letter queue: events that it cannot deliver are lost", rule.name),
                deploy.clone(),
            );
        }
    }

    /// Checks native deletion replication, and the lifecycle policies of replicas' repositories.
    async fn check_copies(
        &self,
        rules: &replication::ReplicationRules,
        registries: &Registries,
        findings: &mut Findings,
    ) {
        for (index, rule) in rules.rules.iter().enumerate().filter(|(_, rule)| rule.deletes_natively) {
            let to: Vec<_> = rule.destinations.iter().map(ToString::to_string).collect();
            findings.notice(
                format!(
                    "native deletion replication is enabled (rule {1}): ECR deletes replicas in {0} at once, \
                     whatever the policy says",
                    to.join(", "),
                    index + 1
                ),
                "disable deleteReplication if a policy decides about replicas; \
                 `ecr-lineage audit native-deletes` lists the images at risk",
            );
        }
        for destination in rules.rules.iter().flat_map(|rule| &rule.destinations).collect::<BTreeSet<_>>() {
            let covered = rules.rules.iter().filter(|rule| rule.destinations.contains(destination));
            let covered: Vec<_> = covered.collect();
            let all = match registries.repositories(destination).await {
                Ok(all) => all,
                Err(failure) => {
                    findings.unknown(
                        format!("the repositories of {destination} could not be listed"),
                        &failure,
                        OTHERWISE,
                    );
                    continue;
                }
            };
            let copied = all.into_iter().filter(|repository| covered.iter().any(|rule| rule.covers(repository)));
            let (mut looked, mut without) = (0, Vec::new());
            for repository in copied.take(REPOSITORIES) {
                looked += 1;
                match registries.has_lifecycle_policy(destination, &repository).await {
                    Ok(true) => {}
                    Ok(false) => without.push(repository),
                    Err(failure) => {
                        findings.unknown(
                            format!("the lifecycle policy of {repository} could not be read"),
                            &failure,
                            OTHERWISE,
                        );
                        break;
                    }
                }
            }
            if let Some(first) = without.first() {
                findings.notice(
                    format!(
                        "{} of {looked} replicated repositories in {destination} have no lifecycle policy, such as \
                         {first}: their replicas are never removed",
                        without.len()
                    ),
                    "add a policy with `aws ecr put-lifecycle-policy`; for new repositories, use a repository \
                     creation template (appliedFor REPLICATION)",
                );
            }
        }
    }
}

/// The fix for a call that a registry's account refused.
const OTHERWISE: &str = "pass a role of the registry's account with `--role`, or its credentials with `--profile`";

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

/// The principals that a bus policy allows to send events.
#[derive(Debug, Default)]
struct Admitted {
    everybody: bool,
    organizations: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

impl Admitted {
    fn by(policy: &Value) -> Self {
        let mut admitted = Self::default();
        for statement in each(policy.get("Statement")) {
            let says = |key, text: &str| each(statement.get(key)).any(|value| value.as_str() == Some(text));
            if !says("Effect", "Allow") || !["events:PutEvents", "events:*", "*"].iter().any(|any| says("Action", any))
            {
                continue;
            }
            let organization = statement.pointer("/Condition/StringEquals/aws:PrincipalOrgID");
            let of_aws = statement.pointer("/Principal/AWS").or_else(|| statement.get("Principal"));
            for principal in each(of_aws).filter_map(Value::as_str) {
                match (principal, organization) {
                    ("*", None) => admitted.everybody = true,
                    ("*", Some(ids)) => {
                        admitted.organizations.extend(each(Some(ids)).filter_map(Value::as_str).map(str::to_owned));
                    }
                    // An account's number, or an ARN in it.
                    (account, _) => {
                        _ = admitted.accounts.insert(account.split(':').nth(4).unwrap_or(account).to_owned());
                    }
                }
            }
        }
        admitted
    }

    /// Who is in an organization, only the organization knows.
    fn admits(&self, account: &str) -> bool {
        self.everybody || !self.organizations.is_empty() || self.accounts.contains(account)
    }
}

/// A value, or each of several.
fn each(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(values)) => values.iter().collect::<Vec<_>>(),
        Some(value) => vec![value],
        None => Vec::new(),
    }
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_a_bus_says_who_may_send() {
        let policy = json!({"Statement": [
            {
                "Effect": "Allow", "Action": "events:PutEvents",
                "Principal": {"AWS": ["arn:aws:iam::111122223333:root", "444455556666"]},
            },
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::777788889999:root"}, "Action": "events:PutRule"},
        ]});
        let admitted = Admitted::by(&policy);
        assert!(admitted.admits("111122223333") && admitted.admits("444455556666"));
        assert!(!admitted.admits("777788889999") && !admitted.everybody);
        let open = json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": ["events:PutEvents"]}});
        assert!(Admitted::by(&open).everybody);
        let condition = json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}});
        let statement =
            json!({"Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Condition": condition});
        let ours = json!({"Statement": [statement]});
        let admitted = Admitted::by(&ours);
        assert!(!admitted.everybody && admitted.admits("123412341234"));
        assert!(!Admitted::by(&Value::Null).admits("111122223333"));
    }

    #[test]
    fn notices_are_healthy_and_unknown_findings_are_not() {
        let with = |level| {
            let finding = Finding { level, place: "hub".to_owned(), what: "found".to_owned(), fix: None };
            Diagnosis { findings: vec![finding] }.is_healthy()
        };
        assert_eq!([Level::Good, Level::Notice, Level::Unknown, Level::Wrong].map(with), [true, true, false, false]);
    }
}
