//! Replicas that were deleted while their source has the image.

use domain::{
    alert::{AlertKind, Occurrence},
    drift,
    expectation::EXPECTED_REPLICATION_TIME,
    fact::{Fact, Subject, What},
    image::{Image, Registry},
    observation::Observation,
    time::whole_seconds,
};
use jiff::Timestamp;

use crate::Watch;

impl Watch {
    /// Checks whether a replica was deleted while its source has the image, and raises an alert. Returns when to check
    /// again, if it is too early or a registry cannot be read. ECR's native deletion replication emits the same event,
    /// and the source's event may arrive later.
    pub(crate) async fn check_deleted_replica(
        &self,
        image: &Image,
        registry: &Registry,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, store::Error> {
        let lineage = self.table.lineage(image).await?;
        let Some((gone_at, sources)) = drift::unexpected_deletion(&lineage, registry) else { return Ok(None) };
        let patient = gone_at.saturating_add(EXPECTED_REPLICATION_TIME).unwrap_or(now);
        if now < patient {
            return Ok(Some(patient));
        }
        let again = now.saturating_add(EXPECTED_REPLICATION_TIME).ok();
        match self.observe(registry, image).await {
            Observation::Missing | Observation::NoRepository => {}
            // The image was pushed or replicated again. `reconcile` records since when.
            Observation::Present(_) => return Ok(None),
            Observation::Unreadable(_) | Observation::NotAsked => return Ok(again),
        }
        for source in sources {
            match self.observe(&source, image).await {
                Observation::Present(_) => self.replica_deleted(image, &source, registry, now).await?,
                Observation::Missing | Observation::NoRepository => {
                    let time = whole_seconds(now);
                    let (event_id, subject) = ("watch-looked".to_owned(), Subject::Image(image.clone()));
                    let fact = Fact { time, registry: source, event_id, subject, what: What::FOUND_MISSING };
                    self.table.record(&[&fact]).await?;
                }
                Observation::Unreadable(_) | Observation::NotAsked => return Ok(again),
            }
        }
        Ok(None)
    }

    /// Counts the deletion of a replica in the incident between its source and its registry.
    pub(crate) async fn replica_deleted(
        &self,
        image: &Image,
        source: &Registry,
        destination: &Registry,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let name = format!("{}@{}", image.repository, image.digest.short());
        let why = format!("{name} was deleted from {destination} while {source} still has it");
        let (image, source, destination) = (image.clone(), source.clone(), destination.clone());
        let occurrence = Occurrence { kind: AlertKind::ReplicaDeleted, source, destination, image, why };
        self.table.count_occurrences(&occurrence.into(), now).await
    }
}
