//! Whether the services that `mirror` asks for images in use can be read.

use std::collections::BTreeSet;

use aws::usage::UsageReader;
use domain::usage::UsageService;

use super::{Finding, Level, registry::CheckedRegistry};

/// Checks each service of the hub's parameter UsageServices with the credentials of this command. Without services
/// there is nothing to check.
pub(super) async fn check_usage(checked: &CheckedRegistry<'_>) -> Vec<Finding> {
    let configured = checked.hub.parameter("UsageServices").unwrap_or_default();
    let services: BTreeSet<UsageService> = configured.split(',').filter_map(|name| name.parse().ok()).collect();
    if services.is_empty() {
        return Vec::new();
    }
    let reads = UsageReader::new(checked.registries.clone(), services.clone(), 1).begin();
    let usage = reads.running(&checked.registry).await;
    let readable = services.iter().filter(|service| !usage.unreadable.contains_key(service.as_str()));
    let readable: Vec<_> = readable.map(|service| service.as_str()).collect();
    let mut findings = Vec::new();
    if !readable.is_empty() {
        let number = usage.uses().count();
        let what = format!("what runs is readable: {}; {number} image references in use", readable.join(", "));
        findings.push(Finding::good(&checked.place, what));
    }
    findings.extend(usage.unreadable.iter().map(|(service, why)| {
        let what = format!("what {service} runs is not readable: {why}; mirror keeps every replica here if it reads no more");
        let fix = format!(
            "set UsageServices={configured} in the stack of registry.yaml, and pass the role that it makes with `--role`; \
             or leave {service} out of the hub's UsageServices"
        );
        Finding::new(Level::Unknown, &checked.place, what, Some(&fix))
    }));
    findings
}
