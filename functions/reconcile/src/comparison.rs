//! The comparison of one repository with the table.

use std::collections::{BTreeMap, BTreeSet};

use aws::registry::ExpectedPresence;
use domain::{
    drift::{self, Comparison},
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, RepositoryName},
    inventory::{Inventory, InventoryEntry, Origin},
    lineage::{Placement, PlacementStatus},
    observation::{Observation, ObservedImage},
    time::whole_seconds,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use store::{LISTED_EVENT_ID, ReconcileCounts};

use crate::{Error, Reconcile};

/// Images that are read or recorded concurrently.
const AT_A_TIME: usize = 16;

impl Reconcile {
    /// Compares a repository's content with the table, and records the differences.
    pub(crate) async fn compare(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        clock: &impl Fn() -> Timestamp,
    ) -> Result<ReconcileCounts, Error> {
        let unreadable = |source| Error::Registry { what: format!("{repository} in {registry}"), source };
        let began = clock();
        let Some(listed) = self.registries.contents(registry, repository).await.map_err(unreadable)? else {
            self.table.put_inventory(registry, repository, &Inventory::new()).await?;
            return Ok(self.record_repository_deletion(registry, repository, began).await?);
        };
        let (mut comparison, mut origins) = (Comparison::of(&listed), BTreeMap::new());
        let each = |digest: &Digest, placement: &Placement| {
            comparison.add(digest, placement);
            origins.insert(digest.clone(), Origin::of(placement));
        };
        self.table.each_placement(registry, repository, each).await?;
        let (different, unknown) = comparison.end();

        // A list of several pages may miss an image that was there all the time: missing images are described again.
        let missing: BTreeSet<Digest> =
            different.iter().filter(|digest| !listed.contains_key(*digest)).cloned().collect();
        let (looked_again, mut there_after_all) = (clock(), BTreeMap::new());
        if !missing.is_empty() {
            let again = self.registries.describe(registry, repository, &missing, ExpectedPresence::Absent, None);
            there_after_all = again.await.map_err(unreadable)?.images;
        }
        let about = |digest: &Digest| Image { repository: repository.clone(), digest: digest.clone() };
        // Images that are not in the table are recorded without a read first: merging the same evidence twice changes
        // nothing.
        let unknown =
            unknown.into_iter().filter_map(|digest| Finding::unknown(about(&digest), listed.get(&digest), began));
        let mut counts = self.record(registry, stream::iter(unknown)).await?;
        counts.images = listed.len() as u64;
        let (listed, there_after_all) = (&listed, &there_after_all);
        let looked = stream::iter(different).map(async |digest| {
            let image = about(&digest);
            let lineage = self.table.placements(&image).await?;
            let (seen, at) = match listed.get(&digest) {
                Some(seen) => (Some(seen), began),
                None => (there_after_all.get(&digest).and_then(Observation::seen), looked_again),
            };
            Ok(Finding::of(image, lineage.placements.get(registry), seen, at))
        });
        let looked: Vec<_> = looked.buffered(AT_A_TIME).try_collect().await.map_err(|error: store::Error| error)?;
        counts += self.record(registry, stream::iter(looked.into_iter().flatten())).await?;
        self.table.put_inventory(registry, repository, &inventory(listed, origins)).await?;
        Ok(counts)
    }

    /// Records findings, and counts them.
    async fn record(
        &self,
        registry: &Registry,
        findings: impl Stream<Item = Finding>,
    ) -> Result<ReconcileCounts, store::Error> {
        let recorded = findings.map(async |finding| {
            let (kind, fact) = (finding.kind, finding.fact(registry));
            self.table.record(&[&fact]).await.map(|_| kind)
        });
        let recorded = recorded.buffer_unordered(AT_A_TIME);
        recorded.try_fold(ReconcileCounts::default(), async |counts, kind| Ok(counted(counts, kind))).await
    }

    /// Records the deletion of a repository and of all its images, if the table lists any of them as present.
    async fn record_repository_deletion(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        began: Timestamp,
    ) -> Result<ReconcileCounts, store::Error> {
        let (mut removed, mut doubtful) = (0, false);
        self.table
            .each_placement(registry, repository, |_, placement| match placement.status() {
                PlacementStatus::Present | PlacementStatus::Archived => removed += 1,
                PlacementStatus::ProbablyAbsent => doubtful = true,
                PlacementStatus::Absent => {}
            })
            .await?;
        if removed > 0 || doubtful {
            let subject = Subject::Repository(repository.clone());
            let what = What::RepositoryDeleted { empty: false, listed_at: None, cause: Cause::Unknown };
            let fact = Fact {
                time: whole_seconds(began),
                registry: registry.clone(),
                event_id: LISTED_EVENT_ID.to_owned(),
                subject,
                what,
            };
            self.table.record(&[&fact]).await?;
        }
        Ok(ReconcileCounts { removed, ..ReconcileCounts::default() })
    }
}

/// What was listed of a repository, with the recorded origins of its images.
fn inventory(listed: &BTreeMap<Digest, ObservedImage>, mut origins: BTreeMap<Digest, Origin>) -> Inventory {
    let entry = |(digest, seen): (&Digest, &ObservedImage)| {
        (digest.clone(), InventoryEntry::new(seen, origins.remove(digest).unwrap_or_default()))
    };
    listed.iter().map(entry).collect()
}

/// What the comparison found about one image, and the table does not have.
struct Finding {
    image: Image,
    kind: FindingKind,
    /// The time of the observation.
    time: Timestamp,
    what: What,
}

/// How an image differs from the table.
#[derive(Clone, Copy)]
enum FindingKind {
    /// The table does not know the image in this registry.
    Added,
    /// Its tags or its storage class differ.
    Updated,
    /// It is not there, and the table lists it as present.
    Removed,
    /// It is not there; the table lists it as probably absent.
    ConfirmedAbsent,
}

impl Finding {
    /// The finding about an image that the index does not know.
    fn unknown(image: Image, seen: Option<&ObservedImage>, began: Timestamp) -> Option<Self> {
        let (time, what) = drift::delta_from_observation(None, seen, began)?;
        Some(Self { image, kind: FindingKind::Added, time, what })
    }

    /// The finding about an image that differs from the index; `None` if the consistent read shows no difference.
    fn of(image: Image, known: Option<&Placement>, seen: Option<&ObservedImage>, began: Timestamp) -> Option<Self> {
        let (time, what) = drift::delta_from_observation(known, seen, began)?;
        let kind = match known.map(Placement::status) {
            _ if what != What::FOUND_MISSING => FindingKind::Updated,
            Some(PlacementStatus::ProbablyAbsent) => FindingKind::ConfirmedAbsent,
            _ => FindingKind::Removed,
        };
        Some(Self { image, kind, time, what })
    }

    fn fact(self, registry: &Registry) -> Fact {
        let Self { image, time, what, .. } = self;
        let (registry, event_id) = (registry.clone(), LISTED_EVENT_ID.to_owned());
        Fact { time, registry, event_id, subject: Subject::Image(image), what }
    }
}

/// The counts with one more finding. An image that was listed as probably absent is not counted as removed.
fn counted(mut counts: ReconcileCounts, kind: FindingKind) -> ReconcileCounts {
    match kind {
        FindingKind::Added => counts.added += 1,
        FindingKind::Updated => counts.updated += 1,
        FindingKind::Removed => counts.removed += 1,
        FindingKind::ConfirmedAbsent => {}
    }
    counts
}
