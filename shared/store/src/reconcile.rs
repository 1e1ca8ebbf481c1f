//! The runs of `reconcile`, and what the index records of a registry.

use std::collections::BTreeMap;

use domain::{
    drift::{self, Difference},
    expectation::EXPECTED_REPLICATION_TIME,
    image::{Digest, Image, Registry, RepositoryName},
    lineage::{Lineage, Placement},
    replication::ReplicationSettings,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, PageBounds, PageEnd, Table,
    item::{self, Item, ItemError, take},
    list::READS_AT_A_TIME,
};

/// The current or the last run through a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconcileRun {
    /// When the run began, which identifies it.
    pub began_at: Timestamp,
    /// When the run ended; `None` while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The sum of the counts of all repositories.
    #[serde(default)]
    pub found: ReconcileCounts,
    /// The drift that remained at the end of the run.
    #[serde(default)]
    pub drifts: drift::Drifts,
    /// When the previous run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// When the last complete run began. It is stored after everything that the run saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
}

/// The counts of one repository, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReconcileCounts {
    /// Images in the registry.
    pub images: u64,
    /// Images in the registry that were not recorded.
    pub added: u64,
    /// Images that were recorded as present and are not in the registry.
    pub removed: u64,
    /// Images whose tags or storage class differ from what was recorded.
    pub updated: u64,
}

impl std::ops::AddAssign for ReconcileCounts {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.added += other.added;
        self.removed += other.removed;
        self.updated += other.updated;
    }
}

/// The event id of facts that come from a listing of `reconcile`.
pub const LISTED_EVENT_ID: &str = "reconcile";

/// The last result of `reconcile` for one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryTask {
    /// When the run began that produced it.
    pub run: Timestamp,
    /// The counts of the repository.
    pub found: ReconcileCounts,
    /// Whether the settings of the repository were compared with those at its source.
    #[serde(default)]
    pub compared: bool,
}

impl Table {
    /// The last run through each registry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn runs(&self) -> Result<BTreeMap<Registry, ReconcileRun>, Error> {
        self.partition(item::RUNS, decode_run).await
    }

    /// Stores the state of a run through a registry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_run(&self, registry: &Registry, run: &ReconcileRun) -> Result<(), Error> {
        let item = encode_run(registry, run).map_err(|source| self.decode_error(&registry.to_string(), source))?;
        self.put_always(item).await.map(drop)
    }

    /// The last result for each repository of a registry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn tasks(&self, registry: &Registry) -> Result<BTreeMap<RepositoryName, RepositoryTask>, Error> {
        self.partition(&item::pk_of_tasks(registry), decode_task).await
    }

    /// Stores the result for a repository.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_task(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        task: &RepositoryTask,
    ) -> Result<(), Error> {
        let item = encode_task(registry, repository, task);
        self.put_always(item.map_err(|source| self.decode_error(repository.as_str(), source))?).await.map(drop)
    }

    /// Visits what the index records about the images of a repository in a registry. The index does not record moves of
    /// tags.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn each_placement(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        mut each: impl FnMut(&Digest, &Placement),
    ) -> Result<(), Error> {
        let gone = self.repository_deletions(repository, &[registry.clone()].into()).await?;
        let mut contents = self.contents(registry, repository);
        while let Some((image, entries)) = contents.next().await? {
            let lineage = Lineage::new(image, entries, Vec::new(), gone.clone());
            for placement in lineage.placements.values() {
                each(&lineage.image.digest, placement);
            }
        }
        Ok(())
    }

    /// Visits the differences between a source and its destinations, and returns how far the list was read. Changes
    /// younger than [`EXPECTED_REPLICATION_TIME`] are ignored, because ECR may still be replicating them.
    ///
    /// The index of the source is read in parallel with those of its destinations. A difference is reported only if the
    /// partition of the image confirms it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn drift(
        &self,
        source: &Registry,
        settings: &ReplicationSettings,
        bounds: PageBounds<'_>,
        now: Timestamp,
        mut each: impl FnMut(Difference),
    ) -> Result<PageEnd, Error> {
        let on_its_way = now.checked_sub(EXPECTED_REPLICATION_TIME).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut here = self.entries_from(source, bounds);
        let mut there = self.index_join(bounds);
        let mut candidates: Vec<Image> = Vec::new();
        let (mut page_end, mut ended) = (PageEnd::default(), false);
        loop {
            let next = if ended { None } else { here.next().await? };
            ended = next.is_none();
            if let Some((image, mut entries)) = next {
                ended = page_end.count(&image, bounds);
                let destinations = settings.destinations(&image.repository);
                if destinations.is_empty() {
                    continue;
                }
                for destination in destinations.keys() {
                    entries.extend(there.entries(destination, &image).await?);
                }
                let registries = destinations.keys().copied().chain([source]);
                let candidate = there.lineage(&image, entries, registries).await?;
                if !differences(&candidate, source, settings, on_its_way).is_empty() {
                    candidates.push(image);
                }
            }
            if ended || candidates.len() >= CANDIDATES_AT_A_TIME {
                let read = stream::iter(std::mem::take(&mut candidates))
                    .map(|image| async move { self.placements(&image).await })
                    .buffered(READS_AT_A_TIME);
                let lineages: Vec<Lineage> = read.try_collect().await?;
                for lineage in lineages {
                    differences(&lineage, source, settings, on_its_way).into_iter().for_each(&mut each);
                }
            }
            if ended {
                return Ok(page_end);
            }
        }
    }
}

/// The number of images that may differ and whose partitions are read together.
const CANDIDATES_AT_A_TIME: usize = 1_000;

/// The differences between the replicas of one image and its source.
fn differences(
    lineage: &Lineage,
    source: &Registry,
    settings: &ReplicationSettings,
    on_its_way: Timestamp,
) -> Vec<Difference> {
    let Some(here) = lineage.placements.get(source) else { return Vec::new() };
    let destinations = settings.destinations(&lineage.image.repository).into_iter();
    let difference = |(destination, since): (&Registry, Timestamp)| {
        let drift = drift::compare(here, lineage.placements.get(destination), since, on_its_way)?;
        let (image, source, destination) = (lineage.image.clone(), source.clone(), destination.clone());
        Some(Difference { image, source, destination, drift })
    };
    destinations.filter_map(difference).collect()
}

fn encode_run(registry: &Registry, run: &ReconcileRun) -> Result<Item, ItemError> {
    Ok(item::with_key(serde_dynamo::to_item(run)?, (item::RUNS.into(), registry.to_string())))
}

pub(super) fn decode_run(mut item: Item) -> Result<(Registry, ReconcileRun), ItemError> {
    let registry = take(&mut item, "sk")?.parse()?;
    Ok((registry, serde_dynamo::from_item(item)?))
}

fn encode_task(registry: &Registry, repository: &RepositoryName, task: &RepositoryTask) -> Result<Item, ItemError> {
    Ok(item::with_key(serde_dynamo::to_item(task)?, (item::pk_of_tasks(registry), repository.to_string())))
}

fn decode_task(mut item: Item) -> Result<(RepositoryName, RepositoryTask), ItemError> {
    let repository = take(&mut item, "sk")?.parse()?;
    Ok((repository, serde_dynamo::from_item(item)?))
}
