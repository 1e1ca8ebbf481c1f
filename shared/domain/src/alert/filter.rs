//! Which alerts and incidents are asked for.

use std::collections::BTreeSet;

use super::{Alert, AlertKind, Incident, MOST_REPOSITORIES, Severity};
use crate::image::{Registry, RepositoryName, RepositoryPattern};

/// Selects alerts and incidents. What is not given does not limit.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Only those about this registry, as source or destination.
    pub registry: Option<Registry>,
    /// Only those that name such repositories, or more repositories than are listed.
    pub repositories: Option<RepositoryPattern>,
    /// Only these kinds; all if there is none.
    pub kinds: BTreeSet<AlertKind>,
    /// Only these severities; all if there is none. What is resolved counts by the severity that it had.
    pub severities: BTreeSet<Severity>,
}

impl AlertFilter {
    /// Whether the filter selects an alert.
    #[must_use]
    pub fn selects(&self, alert: &Alert) -> bool {
        let Alert { kind, severity, severity_before, subject, source, destination, image, repositories, .. } = alert;
        // The subject begins with the registry, if there is neither a source nor a destination.
        let is_subject = |registry: &Registry| subject.split(' ').next() == Some(registry.as_str());
        let is_about = |registry: &Registry| {
            source.as_ref() == Some(registry) || destination.as_ref() == Some(registry) || is_subject(registry)
        };
        self.selects_kind(*kind, severity_before.unwrap_or(*severity))
            && self.registry.as_ref().is_none_or(is_about)
            && self.selects_repositories(repositories, image.as_ref().map(|image| &image.repository))
    }

    /// Whether the filter selects an incident that has this severity.
    #[must_use]
    pub fn selects_incident(&self, incident: &Incident, severity: Severity) -> bool {
        let Incident { kind, source, destination, image, repositories, .. } = incident;
        self.selects_kind(*kind, severity)
            && self.registry.as_ref().is_none_or(|registry| source == registry || destination == registry)
            && self.selects_repositories(repositories, Some(&image.repository))
    }

    fn selects_kind(&self, kind: AlertKind, severity: Severity) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.severities.is_empty() || self.severities.contains(&severity))
    }

    fn selects_repositories(&self, named: &BTreeSet<RepositoryName>, one: Option<&RepositoryName>) -> bool {
        let Some(pattern) = &self.repositories else { return true };
        named.len() >= MOST_REPOSITORIES || named.iter().chain(one).any(|repository| pattern.covers(repository))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::alert::AlertState;

    const IRELAND: &str = "111122223333/eu-west-1";
    const VIRGINIA: &str = "111122223333/us-east-1";

    fn differs() -> Alert {
        let subject = format!("{VIRGINIA} prod/api");
        let alert = Alert::notice(AlertKind::RepositoryDiffers, &subject, String::new(), Timestamp::UNIX_EPOCH);
        alert.about(&"prod/api".parse().unwrap())
    }

    fn filters() -> [(&'static str, AlertFilter); 4] {
        let none = AlertFilter::default;
        [
            ("registry", AlertFilter { registry: Some(VIRGINIA.parse().unwrap()), ..none() }),
            ("repositories", AlertFilter { repositories: Some("prod/*".parse().unwrap()), ..none() }),
            ("kinds", AlertFilter { kinds: [AlertKind::RepositoryDiffers].into(), ..none() }),
            ("severities", AlertFilter { severities: [Severity::Warning].into(), ..none() }),
        ]
    }

    #[test]
    fn each_filter_selects_its_alerts_and_no_others() {
        let other = Alert::notice(AlertKind::EventRefused, IRELAND, String::new(), Timestamp::UNIX_EPOCH);
        for (name, filter) in filters() {
            assert!(filter.selects(&differs()) && !filter.selects(&other), "{name}");
        }
        assert!(AlertFilter::default().selects(&other));
        let both = AlertFilter { registry: Some(IRELAND.parse().unwrap()), ..filters()[1].1.clone() };
        assert!(!both.selects(&differs()), "each filter limits");
    }

    #[test]
    fn what_is_resolved_counts_by_the_severity_that_it_had() {
        let (state, before) = (AlertState::Resolved, Some(Severity::Critical));
        let resolved = Alert { state, severity: Severity::Info, severity_before: before, ..differs() };
        let of = |severity| AlertFilter { severities: [severity].into(), ..AlertFilter::default() };
        assert!(of(Severity::Critical).selects(&resolved) && !of(Severity::Info).selects(&resolved));
    }

    #[test]
    fn an_alert_that_names_as_many_repositories_as_it_can_may_be_about_others() {
        let many = |count: usize| (0..count).map(|n| format!("team/r{n}").parse().unwrap()).collect();
        let filter = &filters()[1].1;
        assert!(!filter.selects(&Alert { repositories: many(MOST_REPOSITORIES - 1), ..differs() }));
        assert!(filter.selects(&Alert { repositories: many(MOST_REPOSITORIES), ..differs() }));
    }
}
