//! `doctor`: diagnoses a deployment, with the fix for each finding.
//!
//! A check is one function that returns its findings. The files in `doctor` have the checks by subject; this file has
//! their order.

mod event_bus;
mod events;
mod finding;
mod functions;
mod hub;
mod queues;
mod registry;
mod replication;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anstyle::AnsiColor;
use aws::registry::Registries;
use domain::{image::Registry, replication::ReplicationSettings};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::{
    failure::CliError,
    options::{DoctorOptions, TargetOptions},
    print::{HEADING, Print, coloured, filled, styled},
    target::configuration,
};
pub use finding::{Finding, Level};
use hub::Hub;
use registry::CheckedRegistry;

/// The result of `doctor`.
#[derive(Debug, Serialize)]
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

/// The known registries with their settings; `None` if the hub never read them.
type KnownSettings = BTreeMap<Registry, Option<ReplicationSettings>>;

/// Diagnoses the deployment of a stack.
///
/// # Errors
/// When the stack does not exist or cannot be read. Every other failed read is a finding.
pub async fn doctor(target: &TargetOptions, options: &DoctorOptions) -> Result<Diagnosis, CliError> {
    let (sdk, roles) = configuration(target).await;
    let stack = hub::read_stack(&sdk, &options.stack).await?;
    let hub = Hub::new(&options.stack, &stack, &sdk)?;
    let mut findings = check_hub(&hub).await;

    let known = hub.table.known_registries().await?;
    let settings: KnownSettings = known.into_iter().map(|known| (known.registry, known.settings)).collect();
    let all = registries_to_check(&settings, &options.registries);
    findings.extend(event_bus::check_policy(&hub, &all).await);
    if all.is_empty() {
        findings.push(Finding::notice(
            "registries",
            "no event was ever recorded, and no registry was passed to this command",
            "deploy infra/registry.yaml in each registry (`ecr-lineage deploy plan` prints how), or pass registries",
        ));
    }
    let registries = Registries::new(sdk.clone(), roles);
    findings.extend(check_registries(&hub, all, &settings, &registries).await);
    Ok(Diagnosis { findings })
}

/// The checks of the hub that need no registries, in the order of the report.
async fn check_hub(hub: &Hub<'_>) -> Vec<Finding> {
    let mut findings = vec![hub::check_stack(hub), hub::check_clock(hub).await, event_bus::check_archive(hub).await];
    findings.extend(queues::check_dead_letters(hub).await);
    findings.extend(functions::check_runs(hub).await);
    findings
}

/// The registries that the hub knows, the destinations of their rules, and those that were passed.
fn registries_to_check(settings: &KnownSettings, passed: &[Registry]) -> BTreeSet<Registry> {
    let routes = settings.values().flatten().flat_map(|settings| &settings.routes);
    let mut all: BTreeSet<Registry> = routes.map(|route| route.destination.clone()).collect();
    all.extend(settings.keys().chain(passed).cloned());
    all
}

async fn check_registries(
    hub: &Hub<'_>,
    all: BTreeSet<Registry>,
    settings: &KnownSettings,
    registries: &Registries,
) -> Vec<Finding> {
    let checked = stream::iter(all).map(|registry| {
        let settings = settings.get(&registry).cloned().flatten();
        async move { check_registry(&CheckedRegistry::new(hub, registry, settings, registries).await).await }
    });
    // In the order of the registries, regardless of which check ends first.
    let findings: Vec<_> = checked.buffered(AT_A_TIME).collect().await;
    findings.into_iter().flatten().collect()
}

/// The checks of one registry, in the order of the report.
async fn check_registry(checked: &CheckedRegistry<'_>) -> Vec<Finding> {
    let mut findings = vec![registry::check_last_read(checked)];
    findings.extend(registry::check_refused_deletions(checked).await);
    match check_in_account(checked).await {
        Ok(more) => findings.extend(more),
        Err(refused) => findings.push(refused),
    }
    findings
}

/// The checks with calls in the registry's account. If its first calls fail, the others are not made.
async fn check_in_account(checked: &CheckedRegistry<'_>) -> Result<Vec<Finding>, Finding> {
    registry::check_credentials(checked).await?;
    let rules = events::rules_to_hub(checked).await?;
    let mut findings = events::check_event_rules(checked, &rules).await;
    findings.push(events::check_trail(checked).await);
    findings.extend(replication::check_replication_rules(checked).await);
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
