//! Alerts about a registry that was listed.

use std::collections::{BTreeMap, BTreeSet};

use aws::registry::RepositorySetting;
use domain::{
    alert::{Alert, AlertKind},
    drift::Drifts,
    image::{Registry, RepositoryName},
    replication::ReplicationSettings,
};
use jiff::Timestamp;
use retry::chain;
use store::PageBounds;
use tracing::warn;

use crate::{Error, Reconcile};

impl Reconcile {
    /// Counts missing replicas, replicas with different tags, and orphans of a registry.
    pub(crate) async fn drifts(&self, registry: &Registry, now: Timestamp) -> Result<Drifts, store::Error> {
        let mut drifts = Drifts::default();
        let known = self.table.known_registries().await?.into_iter().find(|known| known.registry == *registry);
        if let Some(settings) = known.and_then(|known| known.settings) {
            self.table
                .drift(registry, &settings, PageBounds::ALL, now, |difference| drifts.count(&difference.drift))
                .await?;
        }
        drifts.orphans = self.table.orphans(registry, PageBounds::ALL).await?.0.len() as u64;
        Ok(drifts)
    }

    /// Raises an alert for drift and one for orphans, if there is more of it than at the end of the previous run.
    pub(crate) async fn alert_drift(
        &self,
        registry: &Registry,
        before: &Drifts,
        drifts: &Drifts,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        if drifts.missing > before.missing || drifts.tags > before.tags {
            let message = format!(
                "{registry}: {} missing at destinations, {} different tags",
                number(drifts.missing, "image is", "images are"),
                number(drifts.tags, "replica has", "replicas have"),
            );
            self.table.put_alert(&Alert::notice(AlertKind::DriftFound, &registry.to_string(), message, now)).await?;
        }
        if drifts.orphans > before.orphans {
            let were = before.orphans;
            let message = format!(
                "{registry} keeps {} whose source no longer has the image; the last time there were {were}",
                number(drifts.orphans, "replica", "replicas"),
            );
            self.table.put_alert(&Alert::notice(AlertKind::OrphansKept, &registry.to_string(), message, now)).await?;
        }
        Ok(())
    }

    /// Compares the settings of a repository with those at its sources, and raises an alert for each setting it lacks.
    /// Returns whether the comparison was possible, so that it is not repeated.
    pub(crate) async fn compare_repository_settings(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        sources: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<bool, store::Error> {
        let copies = |settings: &ReplicationSettings| settings.destinations(repository).contains_key(registry);
        let mut sources = sources.iter().filter(|(_, settings)| copies(settings)).map(|(source, _)| source).peekable();
        if sources.peek().is_none() {
            // A later replication rule may make it a destination.
            return Ok(false);
        }
        let unreadable = |failure: &retry::CallError| {
            warn!(error = chain(failure), "settings cannot be compared with the source, will be tried again");
        };
        let here = match self.registries.repository_settings(registry, repository).await {
            Ok(Some(repository_settings)) => repository_settings,
            Ok(None) => return Ok(false),
            Err(failure) => {
                unreadable(&failure);
                return Ok(false);
            }
        };
        for source in sources {
            let there = match self.registries.repository_settings(source, repository).await {
                Ok(repository_settings) => repository_settings.unwrap_or_default(),
                Err(failure) => {
                    unreadable(&failure);
                    return Ok(false);
                }
            };
            let lacking: BTreeSet<&RepositorySetting> = there.difference(&here).collect();
            if !lacking.is_empty() {
                let lacking: Vec<_> = lacking.into_iter().map(|setting| format!("no {setting}")).collect();
                let message = format!(
                    "{repository} in {registry}, where {source} replicates it, has {}, unlike its source",
                    lacking.join(" and ")
                );
                let alert =
                    Alert::notice(AlertKind::RepositoryDiffers, &format!("{registry} {repository}"), message, now);
                self.table.put_alert(&alert.about(repository)).await?;
            }
        }
        Ok(true)
    }

    /// Raises an alert for a registry whose run was not completed for too long.
    pub(crate) async fn alert_overdue(
        &self,
        registry: &Registry,
        last: Option<Timestamp>,
        error: &Error,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let last = match last {
            Some(at) => format!("since {}", at.strftime("%Y-%m-%d %H:%M:%S UTC")),
            None => "ever".to_owned(),
        };
        let message = format!("{registry} was not listed to its end {last}: {}", chain(error));
        let alert = Alert::notice(AlertKind::PipelineUnhealthy, &format!("{registry} reconcile"), message, now);
        self.table.put_alert(&alert).await.map(drop)
    }
}

fn number(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
