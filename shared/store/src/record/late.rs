//! Facts that are older than what `reconcile` listed. A listing saw what all earlier events led to, so an event that
//! arrives after it cannot change what it saw.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    drift,
    evidence::{self, Evidence, PlacementKey},
    fact::{Fact, Subject, What},
    image::{Image, Registry},
    lineage::Placement,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::{Batch, Places, proof::ForProof};
use crate::{
    Table,
    batch::{CALLS_AT_A_TIME, Shared},
    item::{self, Key},
    reconcile::{LISTED_EVENT_ID, decode_run},
};

/// When the last complete listing of each registry began.
pub(super) type Listings = BTreeMap<Registry, Timestamp>;

/// What late facts prove about images, with the subjects of the facts.
type Late = BTreeMap<(Image, Registry), (Vec<(PlacementKey, Evidence)>, Places)>;

/// The keys of the items that say when the registries of these facts were listed.
pub(super) fn keys_of_listings(batch: &Batch<'_>) -> BTreeSet<Key> {
    registries(batch).into_keys().map(key_of_listing).collect()
}

/// The registries about whose images the facts prove something, and the subjects of the facts.
fn registries<'a>(batch: &Batch<'a>) -> BTreeMap<&'a Registry, Places> {
    let mut places_of: BTreeMap<_, Places> = BTreeMap::new();
    for (place, fact) in batch.facts() {
        if matches!(fact.what, What::RepositoryDeleted { .. }) || !evidence::of(fact).is_empty() {
            places_of.entry(&fact.registry).or_default().insert(place);
        }
    }
    places_of
}

fn key_of_listing(registry: &Registry) -> Key {
    (item::RUNS.to_owned(), registry.to_string())
}

/// A fact as it is stored: the deletion of a repository says when the registry was listed since.
pub(super) fn as_listed<'a>(fact: &'a Fact, listings: &Listings) -> Cow<'a, Fact> {
    let What::RepositoryDeleted { empty, cause, .. } = &fact.what else { return Cow::Borrowed(fact) };
    let listed_at = listings.get(&fact.registry).copied();
    let listed_at = listed_at.filter(|listed_at| drift::is_before_listing(fact.time, *listed_at));
    let what = What::RepositoryDeleted { empty: *empty, listed_at, cause: cause.clone() };
    Cow::Owned(Fact { what, ..fact.clone() })
}

impl Table {
    /// Records what listings saw of images, where facts that arrived after a listing and are older say otherwise. This
    /// comes before the evidence of these facts is written: if recording ends in between, the next attempt must still
    /// find what the listing left.
    pub(super) async fn record_listed(&self, batch: &mut Batch<'_>, read: &mut ForProof) {
        let (places, seen): (Vec<Places>, Vec<Fact>) = self.seen_by_listings(batch, read).await.into_iter().unzip();
        if seen.is_empty() {
            return;
        }
        let seen: Vec<_> = seen.iter().map(|fact| vec![fact]).collect();
        let mut seen = Batch::new(&seen);
        let read = self.prepare(&mut seen).await;
        let recorded = self.finish(seen, read).await.subjects.into_iter();
        batch.check_all(places.into_iter().zip(recorded.map(|recorded| recorded.map(drop))));
    }

    /// What listings saw of images, where late facts say otherwise; each with the subjects of these facts.
    async fn seen_by_listings(&self, batch: &mut Batch<'_>, read: &mut ForProof) -> Vec<(Places, Fact)> {
        batch.listings = self.listings(batch, read);
        let listings = batch.listings.clone();
        let late = late(batch, &read.displacements, &listings);
        let seen = stream::iter(late).map(async |((image, registry), (evidence, places))| {
            (places, self.seen_by_listing(image, registry, evidence, &listings).await)
        });
        let seen: Vec<_> = seen.buffer_unordered(CALLS_AT_A_TIME).collect().await;
        let seen = seen.into_iter().filter_map(|(places, seen)| {
            let fact = batch.check(&places, seen)??;
            Some((places, fact))
        });
        seen.collect()
    }

    /// When the registries of the facts were listed. Subjects for which that could not be read fail.
    fn listings(&self, batch: &mut Batch<'_>, read: &mut ForProof) -> Listings {
        let mut listings = Listings::new();
        for (registry, places) in registries(batch) {
            let run = read.items.remove(&key_of_listing(registry)).transpose().and_then(|item| {
                let run = item.map(|item| self.decode(item, decode_run)).transpose().map_err(Arc::new)?;
                Ok(run.and_then(|(_, run)| run.listed_at))
            });
            if let Some(listed_at) = batch.check(&places, run).flatten() {
                listings.insert(registry.clone(), listed_at);
            }
        }
        listings
    }

    /// What the listing of a registry saw of an image, if late evidence says otherwise.
    async fn seen_by_listing(
        &self,
        image: Image,
        registry: Registry,
        late: Vec<(PlacementKey, Evidence)>,
        listings: &Listings,
    ) -> Result<Option<Fact>, Shared> {
        let Some(listed_at) = listings.get(&registry) else { return Ok(None) };
        let lineage = self.placements(&image).await.map_err(Arc::new)?;
        let late = Placement::of(late.into_iter().map(|(name, evidence)| (name.tag, evidence)));
        let delta = drift::delta_from_listing(lineage.placements.get(&registry), &late, *listed_at);
        Ok(delta.map(|(time, what)| {
            let (subject, event_id) = (Subject::Image(image), LISTED_EVENT_ID.to_owned());
            Fact { time, registry, event_id, subject, what }
        }))
    }
}

/// What those facts prove that are older than the listing of their registry, and the moves of tags that ended before
/// it.
fn late(batch: &Batch<'_>, displacements: &[(PlacementKey, Evidence, Places)], listings: &Listings) -> Late {
    let is_late = |name: &PlacementKey, time: Timestamp| {
        let listed_at = listings.get(&name.registry);
        listed_at.is_some_and(|listed_at| drift::is_before_listing(time, *listed_at))
    };
    let mut late = Late::new();
    let mut add = |name: PlacementKey, evidence: Evidence, places: &Places| {
        let (proved, subjects) = late.entry((name.image.clone(), name.registry.clone())).or_default();
        proved.push((name, evidence));
        subjects.extend(places);
    };
    if listings.is_empty() {
        return late;
    }
    for (place, fact) in batch.facts() {
        for (name, evidence) in evidence::of(fact) {
            if is_late(&name, fact.time) {
                add(name, evidence, &Places::from([place]));
            }
        }
    }
    for (name, evidence, places) in displacements {
        if batch.sound(places) && evidence.moved.as_ref().is_some_and(|moved| is_late(name, moved.at)) {
            add(name.clone(), evidence.clone(), places);
        }
    }
    late
}
