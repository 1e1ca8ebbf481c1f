//! `doctor`: diagnoses a deployment, with the fix for each finding.
//!
//! A check is one function that returns its findings. The files in `doctor` have the checks by subject; this file has
//! their order.

mod events;
mod finding;
mod functions;
pub(crate) mod hub;
mod queues;
mod registry;
mod registry_policy;
mod replication;
mod resource_policy;
mod table;
mod topic;
mod triggers;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anstyle::AnsiColor;
use aws::registry::Registries;
use domain::{heartbeat::Heartbeat, image::Registry, replication::ReplicationSettings};
use futures::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    failure::CliError,
    options::{DoctorOptions, TargetOptions},
    print::{HEADING, Print, coloured, csv, filled, styled},
    target::configuration,
};
pub use finding::{Finding, Level};
use hub::Hub;
use registry::CheckedRegistry;

/// The result of `doctor`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diagnosis {
    /// All findings: the hub first, then registry by registry.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether everything was read and nothing needs a fix.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.level, Level::Good | Level::Notice))
    }
}

/// Registries that are checked concurrently.
const AT_A_TIME: usize = 8;

/// What the hub knows of registries.
struct Known {
    /// The registries with their settings; `None` if the hub never read them.
    settings: BTreeMap<Registry, Option<ReplicationSettings>>,
    /// The registries of which something arrived, or from which heartbeats are expected.
    heartbeats: BTreeMap<Registry, Heartbeat>,
}

/// Diagnoses the deployment of a stack.
///
/// # Errors
/// When the stack does not exist or cannot be read. Every other failed read is a finding.
pub async fn doctor(target: &TargetOptions, options: &DoctorOptions) -> Result<Diagnosis, CliError> {
    let (sdk, roles) = configuration(target).await;
    let stack = hub::read_stack(&sdk, &options.stack).await?;
    let hub = Hub::new(&stack, &sdk)?;
    let mut findings = check_hub(&hub).await;

    findings.push(functions::check_settings(&hub, hub.table.mirror_settings().await?.as_ref()));
    let known = hub.table.known_registries().await?;
    let known = Known {
        settings: known.into_iter().map(|known| (known.registry, known.settings)).collect(),
        heartbeats: hub.table.heartbeats().await?,
    };
    let all = registries_to_check(&known, &hub, &options.registries);
    let (left_out, all) = split_left_out(all, &known, &hub, &options.registries);
    findings.extend(left_out);
    findings.extend(queues::check_queue_policy(&hub, &all).await);
    findings.extend(hub::check_opt_in_regions(&hub, &all).await);
    if all.is_empty() {
        findings.push(Finding::notice(
            "registries",
            "no event was ever recorded, and no registry was passed to this command",
            "deploy infra/registry.yaml in each registry (`ecr-lineage deploy plan` prints how), or pass registries",
        ));
    }
    let registries = Registries::new(sdk.clone(), roles);
    findings.extend(check_registries(&hub, all, &known, &registries).await);
    Ok(Diagnosis { findings })
}

/// The checks of the hub that need no registries, in the order of the report.
async fn check_hub(hub: &Hub<'_>) -> Vec<Finding> {
    let mut findings = vec![hub::check_stack(hub), hub::check_clock(hub).await];
    findings.extend(hub::check_version(hub));
    findings.extend(hub::check_region(hub));
    findings.extend(queues::check_dead_letters(hub).await);
    let (functions, unread) = functions::read_functions(hub).await;
    findings.extend(unread);
    findings.extend(functions::check_variables(hub, &functions));
    let (stream, of_table) = table::check_table(hub).await;
    findings.extend(of_table);
    findings.extend(triggers::check_mappings(hub, &functions, stream.as_deref()).await);
    findings.extend(triggers::check_schedules(hub, &functions).await);
    findings.extend(functions::check_runs(hub).await);
    findings
}

/// The registries that the hub knows, the destinations of their rules, those of the stack's parameter Registries, and
/// those that were passed.
fn registries_to_check(known: &Known, hub: &Hub<'_>, passed: &[Registry]) -> BTreeSet<Registry> {
    let routes = known.settings.values().flatten().flat_map(|settings| &settings.routes);
    let mut all: BTreeSet<Registry> = routes.map(|route| route.destination.clone()).collect();
    all.extend(known.settings.keys().chain(known.heartbeats.keys()).chain(passed).cloned());
    let configured = hub.parameter("Registries").unwrap_or_default().split(',');
    all.extend(configured.filter_map(|registry| registry.trim().parse().ok()));
    all
}

/// Findings about registries that are not checked, and the registries that are: an operator forgot them, or only a rule
/// names them and the hub does not admit their accounts.
fn split_left_out(
    all: BTreeSet<Registry>,
    known: &Known,
    hub: &Hub<'_>,
    passed: &[Registry],
) -> (Vec<Finding>, BTreeSet<Registry>) {
    let (mut findings, mut checked) = (Vec::new(), BTreeSet::new());
    for registry in all {
        let heartbeat = known.heartbeats.get(&registry);
        if passed.contains(&registry) {
            checked.insert(registry);
        } else if let Some(forgotten) = heartbeat.and_then(Heartbeat::forgotten) {
            findings.push(registry::forgotten(&registry, forgotten));
        } else if hub.admits(&registry) || heartbeat.is_some_and(Heartbeat::was_seen) {
            checked.insert(registry);
        } else {
            findings.push(registry::not_admitted(&registry));
        }
    }
    (findings, checked)
}

async fn check_registries(
    hub: &Hub<'_>,
    all: BTreeSet<Registry>,
    known: &Known,
    registries: &Registries,
) -> Vec<Finding> {
    let checked = stream::iter(all).map(|registry| {
        let settings = known.settings.get(&registry).cloned().flatten();
        let heartbeat = known.heartbeats.get(&registry).cloned().unwrap_or_default();
        async move { check_registry(&CheckedRegistry::new(hub, registry, settings, heartbeat, registries).await).await }
    });
    // In the order of the registries, regardless of which check ends first.
    let findings: Vec<_> = checked.buffered(AT_A_TIME).collect().await;
    findings.into_iter().flatten().collect()
}

/// The checks of one registry, in the order of the report.
async fn check_registry(checked: &CheckedRegistry<'_>) -> Vec<Finding> {
    let mut findings = vec![registry::check_heartbeat(checked), registry::check_last_read(checked)];
    findings.extend(registry::check_refused_deletions(checked).await);
    match check_in_account(checked).await {
        Ok(more) => {
            findings.extend(registry::check_schedule(checked, &more));
            findings.extend(more);
        }
        Err(refused) => findings.push(refused),
    }
    findings
}

/// The checks with calls in the registry's account. If its first calls fail, the others are not made.
async fn check_in_account(checked: &CheckedRegistry<'_>) -> Result<Vec<Finding>, Finding> {
    registry::check_credentials(checked).await?;
    let rules = events::rules_to_topic(checked).await?;
    let (admitted, of_topic) = topic::check_topic(checked, &rules).await;
    let mut findings = events::check_event_rules(checked, &admitted).await;
    findings.extend(of_topic);
    findings.extend(topic::check_subscription(checked).await);
    findings.extend(topic::check_unpublished(checked, &rules).await);
    findings.push(events::check_trail(checked).await);
    findings.extend(registry_policy::check_registry_policy(checked).await);
    findings.extend(replication::check_replication_rules(checked).await);
    findings.extend(usage::check_usage(checked).await);
    Ok(findings)
}

impl Print for Diagnosis {
    fn table(&self, width: Option<u16>) -> String {
        let (mut text, mut place) = (String::new(), None);
        let mut findings = self.findings.iter().peekable();
        while let Some(finding) = findings.next() {
            if place != Some(&finding.place) {
                _ = writeln!(text, "\n{}", styled(HEADING, &finding.place));
                place = Some(&finding.place);
            }
            let line = match finding.level {
                Level::Good => format!("{} {}", coloured(AnsiColor::Green, "●"), finding.what),
                Level::Notice => coloured(AnsiColor::Yellow, format!("○ {}", finding.what)),
                Level::Unknown => coloured(AnsiColor::Yellow, format!("? {}", finding.what)),
                Level::Wrong => coloured(AnsiColor::Red, format!("! {}", finding.what)),
            };
            _ = writeln!(text, "{}", filled(&line, ["  ", "    "], width));
            // If the next finding has the same fix, the fix is printed only there.
            let again = |next: &&Finding| next.place == finding.place && next.fix == finding.fix;
            if let Some(fix) = finding.fix.as_ref().filter(|_| !findings.peek().is_some_and(again)) {
                _ = writeln!(text, "{}", filled(&format!("→ {fix}"), ["    ", "      "], width));
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (wrong, unknown) = (count(Level::Wrong), count(Level::Unknown));
        _ = writeln!(text, "\n{wrong} to fix, {unknown} not checked, {} to note", count(Level::Notice));
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::FINDINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_healthy_and_unknown_findings_are_not() {
        let with = |level| {
            let finding = Finding { level, place: "hub".to_owned(), what: "found".to_owned(), fix: None };
            Diagnosis { findings: vec![finding] }.is_healthy()
        };
        assert_eq!([Level::Good, Level::Notice, Level::Unknown, Level::Wrong].map(with), [true, true, false, false]);
    }
}
