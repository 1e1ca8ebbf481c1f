//! The copies of pushed images that did not arrive.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    alert::{Alert, AlertKind},
    expectation::{Asked, ReplicationExpectation},
    fact::{Fact, Subject},
    image::{Image, Registry, RepositoryName},
    lineage::Lineage,
    observation::Observation,
    replication::{CopyStatus, ReplicationSettings},
    tag::TagName,
};
use jiff::Timestamp;
use retry::chain;
use serde::Serialize;
use store::Stored;
use tracing::warn;

use crate::{TRY_AGAIN, Watch};

/// The newest facts in which the reason of a failed copy is searched.
const MAX_FACTS: usize = 100;

/// Repositories in which problems began, by kind, source and destination.
pub(crate) type Began = BTreeMap<(AlertKind, Registry, Registry), BTreeSet<RepositoryName>>;

/// The result of checking copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckedCopies {
    /// Facts recorded from observations, which no event had reported.
    pub facts_recovered: usize,
    /// Copies that became late, failed, missing or untagged.
    pub problems: usize,
    /// The repositories in which they began, by the incident that they belong to.
    #[serde(skip)]
    pub(crate) began: Began,
}

impl std::ops::AddAssign for CheckedCopies {
    fn add_assign(&mut self, other: Self) {
        self.facts_recovered += other.facts_recovered;
        self.problems += other.problems;
        for (incident, repositories) in other.began {
            self.began.entry(incident).or_default().extend(repositories);
        }
    }
}

impl Watch {
    /// Checks the replicas of pushes to one source.
    pub(crate) async fn check_copies(
        &self,
        source: &Registry,
        expectations: Vec<ReplicationExpectation>,
        lineage: &Lineage,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<CheckedCopies, store::Error> {
        let mut checked = CheckedCopies::default();
        let Some(own) = settings.get(source) else {
            // The settings of the source were not read yet.
            for mut expectation in expectations {
                expectation.due = now.saturating_add(TRY_AGAIN).ok();
                self.table.put_expectation(&expectation, &[], now).await?;
            }
            return Ok(checked);
        };
        let mut superseded = BTreeMap::new();
        for expectation in &expectations {
            superseded.insert(expectation.tag.clone(), self.superseded(expectation, lineage, own, now).await?);
        }
        let (asked, observations) = self.ask_about_missing(source, &expectations, lineage, own, now).await;
        let explained = self.with_refusals(lineage, asked.as_ref(), &expectations).await?;
        let lineage = explained.as_ref().unwrap_or(lineage);
        for expectation in expectations {
            let superseded = superseded.remove(&expectation.tag).unwrap_or_default();
            let outcome = expectation.evaluate(lineage, own, asked.as_ref(), &observations, &superseded, now);
            let facts: Vec<&Fact> = outcome.facts.iter().collect();
            if !facts.is_empty() {
                let recorded = self.table.record(&facts).await?;
                checked.facts_recovered += recorded.stored.iter().filter(|stored| **stored == Stored::New).count();
            }
            if self.table.put_expectation(&outcome.expectation, &outcome.changes, now).await? == Stored::New {
                for change in outcome.changes.into_iter().filter(|change| change.end.is_none()) {
                    checked.problems += 1;
                    let incident = (change.kind, source.clone(), change.destination);
                    checked.began.entry(incident).or_default().insert(lineage.image.repository.clone());
                }
            }
            for destination in &outcome.deleted {
                self.replica_deleted(&lineage.image, source, destination, now).await?;
            }
        }
        self.alert_pushed_to_replica(source, lineage, settings, now).await?;
        Ok(checked)
    }

    /// The destinations that lack the image, and where a newer image has the tag of the push.
    async fn superseded(
        &self,
        expectation: &ReplicationExpectation,
        lineage: &Lineage,
        own: &ReplicationSettings,
        now: Timestamp,
    ) -> Result<BTreeSet<Registry>, store::Error> {
        let mut superseded = BTreeSet::new();
        let Some((tag, moved_at)) = expectation.moved_on(lineage) else { return Ok(superseded) };
        let name = TagName { repository: lineage.image.repository.clone(), tag: tag.clone() };
        for destination in expectation.missing(lineage, own, now).into_keys() {
            if self.table.has_newer(&name, (&expectation.source, moved_at), destination).await? {
                superseded.insert(destination.clone());
            }
        }
        Ok(superseded)
    }

    /// Asks ECR about copies that are not recorded as present, if there are any, and reads those that ECR says are
    /// complete.
    async fn ask_about_missing(
        &self,
        source: &Registry,
        expectations: &[ReplicationExpectation],
        lineage: &Lineage,
        own: &ReplicationSettings,
        now: Timestamp,
    ) -> (Option<Asked>, BTreeMap<Registry, Observation>) {
        let mut observations = BTreeMap::new();
        let missing = expectations.iter().flat_map(|expectation| expectation.missing(lineage, own, now).into_keys());
        let missing: BTreeSet<&Registry> = missing.collect();
        if missing.is_empty() {
            return (None, observations);
        }
        let asked = self.ask(source, &lineage.image).await;
        if let Asked::Copies(copies) = &asked {
            for destination in missing {
                if copies.get(destination) == Some(&CopyStatus::Complete) {
                    observations.insert(destination.clone(), self.observe(destination, &lineage.image).await);
                }
            }
        }
        let lacks_tag = |observation: &Observation| {
            let mut tags = expectations.iter().filter_map(|expectation| expectation.tag.as_ref());
            matches!(observation, Observation::Present(seen) if tags.any(|tag| !seen.tags.contains(tag)))
        };
        if observations.values().any(lacks_tag) {
            // Another image may have taken the tag at the source, and its event may not have arrived yet.
            observations.insert(source.clone(), self.observe(source, &lineage.image).await);
        }
        (Some(asked), observations)
    }

    /// If a copy failed: the lineage with what was recently refused and failed, which may say why. Otherwise `None`, because
    /// the facts of an image are not needed.
    async fn with_refusals(
        &self,
        lineage: &Lineage,
        asked: Option<&Asked>,
        expectations: &[ReplicationExpectation],
    ) -> Result<Option<Lineage>, store::Error> {
        let failed = |copies: &BTreeMap<Registry, CopyStatus>| {
            let mut failed = copies.iter().filter(|(_, status)| matches!(status, CopyStatus::Failed(_)));
            failed.next().map(|(registry, _)| registry.clone())
        };
        let Some(Asked::Copies(copies)) = asked else { return Ok(None) };
        let (Some(registry), Some(since)) = (failed(copies), expectations.iter().map(|one| one.since).min()) else {
            return Ok(None);
        };
        let repository = Subject::Repository(lineage.image.repository.clone());
        let mut explained = lineage.clone();
        for subject in [repository, Subject::Image(lineage.image.clone())] {
            explained.facts.extend(self.table.facts_since(&subject, &registry, since, MAX_FACTS).await?);
        }
        Ok(Some(explained))
    }

    async fn ask(&self, source: &Registry, image: &Image) -> Asked {
        match self.registries.copies(source, image).await {
            Ok(Some(copies)) => Asked::Copies(copies),
            // One response is not enough to conclude that an image is missing.
            Ok(None) => match self.observe(source, image).await {
                Observation::Missing | Observation::NoRepository => Asked::Gone,
                Observation::Present(_) => {
                    Asked::Unreadable("ECR answered that it has the image, and that it does not".to_owned())
                }
                Observation::Unreadable(why) => Asked::Unreadable(why),
                Observation::NotAsked => Asked::Unreadable("not read".to_owned()),
            },
            Err(failure) => {
                warn!(registry = %source, error = chain(&failure), "copies cannot be read, will be tried again");
                Asked::Unreadable(chain(&failure))
            }
        }
    }

    /// Reads an image afresh. A failed read is an observation, too.
    pub(crate) async fn observe(&self, registry: &Registry, image: &Image) -> Observation {
        self.registries
            .observe(registry, image)
            .await
            .unwrap_or_else(|failure| Observation::Unreadable(chain(&failure)))
    }

    /// Raises an alert for an image that was pushed directly to a replication destination and that no source has.
    async fn alert_pushed_to_replica(
        &self,
        registry: &Registry,
        lineage: &Lineage,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let repository = &lineage.image.repository;
        let Some(here) = lineage.placements.get(registry) else { return Ok(()) };
        let copies_here = |settings: &ReplicationSettings| settings.destinations(repository).contains_key(registry);
        let mut sources = settings.iter().filter(|(_, settings)| copies_here(settings)).map(|(source, _)| source);
        let nowhere_else = sources.clone().all(|source| !lineage.placements.contains_key(source));
        let Some(source) = sources.next() else { return Ok(()) };
        if here.pushed().is_none() || !here.replicated().is_empty() || !nowhere_else {
            return Ok(());
        }
        let message = format!(
            "{} was pushed to {registry}, where {source} replicates {repository}, and {source} never had it",
            lineage.image
        );
        let alert = Alert::notice(AlertKind::PushedToReplica, &format!("{registry} {repository}"), message, now);
        let alert = alert.about(repository);
        self.table.put_alert(&alert).await.map(drop)
    }
}
