//! What would follow at the replicas if a lifecycle policy took images of their source. Nothing here changes a registry.

use std::collections::BTreeMap;

use aws::registry::TakenImage;
use decide::Planner;
use domain::{
    deletion::{Deletion, DeletionIntent, DeletionStatus, Verdict},
    evidence::Evidence,
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, RepositoryName, Tag},
    lineage::Lineage,
    observation::{Candidate, Observation},
    time::whole_seconds,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::preview::{PreviewAction, PreviewEntry, Total};

/// What would follow at the replicas.
#[derive(Debug, Serialize, ToSchema)]
pub struct LifecycleAudit {
    /// The registry of the lifecycle policy.
    pub source: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// The images that ECR says would expire at the source, with what would follow.
    pub expiring: Vec<ExpiringImage>,
    /// The number of images that would be archived at the source: no replica follows that.
    pub archiving: usize,
    /// The number and size of replicas, by planned action.
    pub totals: BTreeMap<PreviewAction, Total>,
    /// For when the replicas were evaluated: the end of the longest grace period.
    pub evaluated_for: Timestamp,
}

/// An image that would expire at the source.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExpiringImage {
    /// The digest.
    pub digest: Digest,
    /// The tags of the image at the source.
    pub tags: Vec<Tag>,
    /// The priority of the rule.
    pub rule: i64,
    /// Its replicas, as far as they are recorded, and what is planned for each.
    pub replicas: Vec<PreviewEntry>,
}

/// Answers `audit lifecycle`: plans what `planner` would do with each replica if the source lost these images now, from
/// fresh reads in which the source has lost them, for the time when every grace period is over.
///
/// # Errors
/// When the table cannot be read. A registry that cannot be read keeps the replicas that depend on it.
pub async fn lifecycle(
    planner: &Planner<'_>,
    source: &Registry,
    repository: &RepositoryName,
    taken: Vec<TakenImage>,
    now: Timestamp,
) -> Result<LifecycleAudit, store::Error> {
    let (expiring, archiving): (Vec<_>, Vec<_>) = taken.into_iter().partition(|taken| taken.expires);
    let mut candidates = Vec::new();
    for one in &expiring {
        let image = Image { repository: repository.clone(), digest: one.digest.clone() };
        let lineage = planner.table.image_record(&image).await?.lineage;
        candidates.extend(losses(lineage, source, one.rule, now));
    }
    let mut observations = planner.observe(candidates, now).await?;
    let at_source = observations.repositories.entry(source.clone()).or_default().entry(repository.clone()).or_default();
    at_source.images.extend(expiring.iter().map(|one| (one.digest.clone(), Observation::Missing)));
    let steps = planner.plan_from(&observations, now).steps;
    let due = steps.iter().filter_map(|step| match step.decision.verdict {
        Verdict::Wait(until) => Some(until),
        _ => None,
    });
    let evaluated_for = due.max().unwrap_or(now);
    let mut replicas: BTreeMap<Digest, Vec<PreviewEntry>> = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for step in planner.plan_from(&observations, evaluated_for).steps {
        let entry = PreviewEntry::of(step, false);
        entry.add_to(&mut totals, entry.planned_action);
        replicas.entry(entry.image.digest.clone()).or_default().push(entry);
    }
    let expiring = expiring.into_iter().map(|TakenImage { digest, tags, rule, .. }| ExpiringImage {
        replicas: replicas.remove(&digest).unwrap_or_default(),
        digest,
        tags,
        rule,
    });
    Ok(LifecycleAudit {
        source: source.clone(),
        repository: repository.clone(),
        expiring: expiring.collect(),
        archiving: archiving.len(),
        totals,
        evaluated_for,
    })
}

/// The deletion of each replica of an image that would follow if a lifecycle rule took the image from its source now.
fn losses(mut lineage: Lineage, source: &Registry, rule: i64, now: Timestamp) -> Vec<Candidate> {
    let since = whole_seconds(now);
    if let Some(placement) = lineage.placements.get_mut(source) {
        placement.image.merge(&Evidence { removed: Some(since), reported: Some(since), ..Evidence::default() });
    }
    lineage.facts.push(Fact {
        time: since,
        registry: source.clone(),
        event_id: "preview".to_owned(),
        subject: Subject::Image(lineage.image.clone()),
        what: What::ImageDeleted { cause: Cause::Lifecycle { rule, description: None } },
    });
    let replicas = lineage.placements.iter().filter(|(registry, placement)| {
        *registry != source && placement.status().may_be_there() && placement.replicated().contains_key(source)
    });
    let deletions = replicas.filter_map(|(registry, _)| {
        let intent = DeletionIntent { registry: registry.clone(), tag: None, since };
        let mut deletion = Deletion::open(None, &lineage.image, source, intent, now)?;
        deletion.status = DeletionStatus::Pending;
        Some(deletion)
    });
    let deletions: Vec<_> = deletions.collect();
    deletions.into_iter().map(|deletion| Candidate { deletion, lineage: lineage.clone() }).collect()
}
