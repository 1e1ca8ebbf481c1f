//! Images, tags and orphans, read from the table.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use domain::{
    deletion::Deletion,
    expectation::{ExpectedReplica, ReplicaState, ReplicationExpectation, expected_replicas},
    fact::{Fact, Subject},
    image::{Digest, Image, Registry, RepositoryName, Tag},
    inventory::{InventoryEntry, ListedCopy},
    lineage::{Lineage, Placement, PlacementStatus, Whereabouts},
    replication::ReplicationSettings,
    tag::TagInterval,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use store::{ImageRecord, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    basis::Basis,
    controls,
    cursor::Cursor,
    described::{DescribedDeletion, DescribedFact, DescribedInterval, described},
    error::Error,
    inventory,
    paging::{PageRequest, PageToken},
    reference::{Reference, TagReference},
    time::Period,
};

/// The lineage of an image. More than one image, if the tag points to different images in different registries.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shown {
    /// That the tag means no image now, and that the last one is shown; absent if it means one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<String>,
    /// The images, by digest.
    pub images: Vec<ShownImage>,
}

/// The lineage of one image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShownImage {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The platforms of an index, by name, as its manifest in CloudTrail's record of the push has them; absent for any
    /// other image, whose manifest names none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub platforms: BTreeSet<String>,
    /// Every registry that has or had the image, by name: those where it was pushed, and then its replicas.
    pub registries: Vec<Whereabouts>,
    /// Every destination that a replication rule names for the image, by name, and the state of its copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<ExpectedReplica>,
    /// The deletions of its replicas, by registry and tag, with status and reasons.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
    /// What happened to the image, and what was refused or changed in its repository and registries, oldest first. Facts
    /// that several events reported are one.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedFact>)]
    pub timeline: Vec<Fact>,
    /// The number of older facts that are not in `timeline`.
    #[serde(skip_serializing_if = "crate::deletions::is_zero")]
    pub timeline_omitted: usize,
}

/// Answers `show`, with at most `max_facts` facts: the newest.
///
/// # Errors
/// When the image is unknown, the reference is ambiguous, or the table cannot be read.
pub async fn show(table: &Table, reference: &Reference, max_facts: usize, now: Timestamp) -> Result<Shown, Error> {
    show_period(table, reference, Period::ALL, max_facts, now).await
}

/// Answers `show`, with at most `max_facts` facts of a period: the newest.
///
/// # Errors
/// When the image is unknown, the reference is ambiguous, or the table cannot be read.
pub async fn show_period(
    table: &Table,
    reference: &Reference,
    period: Period,
    max_facts: usize,
    now: Timestamp,
) -> Result<Shown, Error> {
    let mut images = Vec::new();
    let controls = table.controls().await?;
    let known = table.known_registries().await?;
    let settings = known.into_iter().filter_map(|known| Some((known.registry, known.settings?))).collect();
    let (resolved, past) = match resolve(table, reference).await {
        Err(Error::PastTag { asked }) => {
            let past = format!("tag {asked} means no image now; this is the last image that had it");
            (resolve_ever(table, reference).await?, Some(past))
        }
        resolved => (resolved?, None),
    };
    for image in resolved {
        let ImageRecord { lineage, mut deletions, expectations, .. } = table.image_record(&image).await?;
        if lineage.is_empty() {
            return Err(Error::UnknownImage { asked: image.to_string(), repository: Some(image.repository) });
        }
        controls::add_stops(&mut deletions, &controls, now);
        let mut registries = lineage.whereabouts();
        let listed = inventory::of(table, std::iter::once(&lineage)).await?;
        for place in &mut registries {
            place.listed = inventory::listed(&listed, &place.registry, &lineage.image);
        }
        let expected = expected_replicas(&lineage, &settings, &expectations, now);
        let mut timeline = lineage.timeline(around(table, &lineage, max_facts).await?);
        timeline.retain(|fact| period.contains(fact.time));
        let timeline_omitted = timeline.len().saturating_sub(max_facts);
        timeline.drain(..timeline_omitted);
        let platforms = lineage.platforms();
        let image = lineage.image;
        images.push(ShownImage { image, platforms, registries, expected, deletions, timeline, timeline_omitted });
    }
    Ok(Shown { past, images })
}

/// How long before the first fact about an image the facts about its repository and registries begin: what was refused
/// or changed then may explain what happened.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// The newest facts about the repository of an image and about its registries: refused calls and changed settings.
async fn around(table: &Table, lineage: &Lineage, max_facts: usize) -> Result<Vec<Fact>, store::Error> {
    let Some(first) = lineage.facts.first() else { return Ok(Vec::new()) };
    let since = first.time.checked_sub(BEFORE).unwrap_or(first.time);
    let repository = Subject::Repository(lineage.image.repository.clone());
    let mut facts = table.facts_since(&repository, &first.registry, since, max_facts).await?;
    let others = facts.iter().map(|fact| fact.registry.clone());
    let registries: BTreeSet<Registry> = lineage.placements.keys().cloned().chain(others).collect();
    for registry in registries {
        facts.extend(table.facts_since(&Subject::Registry, &registry, since, max_facts).await?);
    }
    Ok(facts)
}

/// Resolves a reference. A tag that no image has any more resolves to the last image that had it.
///
/// # Errors
/// When the image is unknown, the reference is ambiguous, or the table cannot be read.
pub async fn resolve_ever(table: &Table, reference: &Reference) -> Result<BTreeSet<Image>, Error> {
    match (resolve(table, reference).await, reference) {
        (Err(Error::PastTag { .. }), Reference::Tagged(tag)) => {
            let intervals = intervals(table, tag, tag.registry.as_ref()).await?;
            let last = intervals.into_iter().max_by_key(|interval| interval.ended.as_ref().map(|ended| ended.at));
            let image =
                |interval: TagInterval| Image { repository: tag.name.repository.clone(), digest: interval.digest };
            Ok(last.into_iter().map(image).collect())
        }
        (resolved, _) => resolved,
    }
}

/// Resolves a reference to one image, or to several if the tag points to different images in different registries.
///
/// # Errors
/// When the image is unknown, the reference is ambiguous, or the table cannot be read.
pub async fn resolve(table: &Table, reference: &Reference) -> Result<BTreeSet<Image>, Error> {
    match reference {
        Reference::Exact(image) => Ok([image.clone()].into()),
        Reference::Short { repository, digest } => {
            let found = table.find(digest, repository.as_ref()).await?;
            let asked = reference.to_string();
            match found.len() {
                0 => Err(Error::UnknownImage { asked, repository: repository.clone() }),
                1 => Ok(found),
                _ => Err(Error::Ambiguous { asked, found: found.into_iter().collect() }),
            }
        }
        Reference::Tagged(tag) => {
            let intervals = intervals(table, tag, tag.registry.as_ref()).await?;
            let image =
                |interval: TagInterval| Image { repository: tag.name.repository.clone(), digest: interval.digest };
            let now: BTreeSet<_> =
                intervals.into_iter().filter(|interval| interval.ended.is_none()).map(image).collect();
            if now.is_empty() { Err(Error::PastTag { asked: tag.to_string() }) } else { Ok(now) }
        }
    }
}

/// The history of a tag.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// The repository of the tag.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// The intervals in which the tag pointed to an image, by the name of the registry, oldest first.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedInterval>)]
    pub history: Vec<TagInterval>,
}

/// Answers `history`.
///
/// # Errors
/// When the tag was never seen, or the table cannot be read.
pub async fn history(table: &Table, tag: &TagReference, registry: Option<&Registry>) -> Result<History, Error> {
    history_period(table, tag, registry, Period::ALL).await
}

/// Answers `history`, with the intervals that have a part in a period.
///
/// # Errors
/// When the tag was never seen, or the table cannot be read.
pub async fn history_period(
    table: &Table,
    tag: &TagReference,
    registry: Option<&Registry>,
    period: Period,
) -> Result<History, Error> {
    let mut history = intervals(table, tag, registry.or(tag.registry.as_ref())).await?;
    history.retain(|interval| {
        let ended_before = interval.ended.as_ref().is_some_and(|ended| ended.at < period.from);
        !ended_before && period.to.is_none_or(|to| interval.from < to)
    });
    Ok(History { repository: tag.name.repository.clone(), tag: tag.name.tag.clone(), history })
}

async fn intervals(table: &Table, tag: &TagReference, registry: Option<&Registry>) -> Result<Vec<TagInterval>, Error> {
    let mut intervals = table.tag_history(&tag.name).await?;
    intervals.retain(|interval| registry.is_none_or(|registry| interval.registry == *registry));
    if intervals.is_empty() {
        let (asked, repository) = (tag.to_string(), tag.name.repository.clone());
        return Err(Error::UnknownTag { asked, registry: registry.cloned(), repository });
    }
    Ok(intervals)
}

/// The images of a repository.
#[derive(Debug, Serialize, ToSchema)]
pub struct Images {
    /// The repository.
    pub repository: RepositoryName,
    /// The images, newest push first; those whose push is not recorded come last, by digest.
    pub images: Vec<ListedImage>,
    /// Every status of an image in a registry, in words.
    #[schema(value_type = BTreeMap<String, String>)]
    pub status_texts: BTreeMap<PlacementStatus, &'static str>,
    /// Every state of a copy that did not arrive, in words.
    #[schema(value_type = BTreeMap<String, String>)]
    pub replica_texts: BTreeMap<ReplicaState, &'static str>,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<NewestFirst>>,
}

/// The position of an image in a list, the newest push first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NewestFirst {
    pushed_at: Reverse<Option<Timestamp>>,
    digest: Digest,
}

/// One image of a repository.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedImage {
    /// The digest.
    pub digest: Digest,
    /// The newest push to any registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// The tags that the image has in any registry, by name.
    pub tags: BTreeSet<Tag>,
    /// The registries that have or had the image, with its status there.
    pub registries: BTreeMap<Registry, PlacementStatus>,
    /// The destinations of replication rules whose copy did not arrive, as far as is recorded, and its state. A failure is
    /// in the lineage of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_arrived: BTreeMap<Registry, ReplicaState>,
    /// The size and the last pull in each registry, as its last listing saw them; absent for a registry where no listing
    /// saw the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<Registry, ListedCopy>,
}

/// Chooses among the images of a repository by the registries that have them.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageFilter<'a> {
    /// Only images that this registry has, and no other.
    pub only_in: Option<&'a Registry>,
    /// Only images that some registry has, and this one does not.
    pub not_in: Option<&'a Registry>,
    /// Only images whose newest push is in this time.
    pub pushed: Option<Period>,
    /// Only images of which a copy arrived before this time, and ECR recorded no pull of that copy since. A copy that no
    /// listing saw does not count.
    pub unpulled_since: Option<Timestamp>,
}

impl ImageFilter<'_> {
    fn chooses(&self, image: &ListedImage, copies: &[&InventoryEntry]) -> bool {
        let has = |registry: &Registry| image.registries.get(registry).is_some_and(|status| status.may_be_there());
        let somewhere = image.registries.values().any(|status| status.may_be_there());
        let elsewhere = |only: &Registry| {
            image.registries.iter().any(|(registry, status)| registry != only && status.may_be_there())
        };
        self.only_in.is_none_or(|only| has(only) && !elsewhere(only))
            && self.not_in.is_none_or(|not| somewhere && !has(not))
            && self.unpulled_since.is_none_or(|since| copies.iter().any(|copy| copy.is_unpulled_since(since)))
    }
}

/// Answers `images`: at most `most` images, after one of them, of which those that the filter chooses are listed.
///
/// # Errors
/// When no image of the repository or no event of a registry is known, or the table cannot be read.
pub async fn images(
    table: &Table,
    repository: &RepositoryName,
    filter: ImageFilter<'_>,
    after: Option<NewestFirst>,
    most: usize,
    now: Timestamp,
) -> Result<Images, Error> {
    let known = table.known_registries().await?;
    if let Some(registry) = filter
        .only_in
        .into_iter()
        .chain(filter.not_in)
        .find(|asked| known.iter().all(|known| known.registry != **asked))
    {
        return Err(Error::UnknownRegistry { registry: registry.clone() });
    }
    let settings = known.into_iter().filter_map(|known| Some((known.registry, known.settings?))).collect();
    // The index is complete in names and pushes: a page reads only its own images.
    let pushes = table.pushes(repository).await?.into_iter();
    let mut images: Vec<_> =
        pushes.map(|(digest, pushed_at)| NewestFirst { pushed_at: Reverse(pushed_at), digest }).collect();
    if images.is_empty() {
        return Err(Error::UnknownRepository { repository: repository.clone() });
    }
    let wanted = |image: &NewestFirst| {
        filter.pushed.is_none_or(|period| image.pushed_at.0.is_some_and(|at| period.contains(at)))
    };
    images.retain(|image| after.as_ref().is_none_or(|after| image > after) && wanted(image));
    images.sort();
    let more = images.len() > most;
    images.truncate(most);
    let next_cursor = images.last().filter(|_| more).cloned().map(Cursor);
    let settings = &settings;
    let read = stream::iter(images).map(|NewestFirst { digest, .. }| async move {
        let image = Image { repository: repository.clone(), digest };
        let lineage = table.placements(&image).await?;
        let listed = ListedImage::of(&lineage, settings, &[], now);
        if listed.not_arrived.is_empty() {
            return Ok::<_, store::Error>((lineage, listed));
        }
        // ECR's answers to `watch` say why a copy has not arrived.
        let expectations = table.expectations(&image).await?.expectations;
        let listed = ListedImage::of(&lineage, settings, &expectations, now);
        Ok((lineage, listed))
    });
    let read: Vec<_> = read.buffered(READS_AT_A_TIME).try_collect().await?;
    let inventory = inventory::of(table, read.iter().map(|(lineage, _)| lineage)).await?;
    let mut by_digest: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((registry, image), entry) in &inventory {
        by_digest.entry(&image.digest).or_default().push((registry, entry));
    }
    let images = read.into_iter().filter_map(|(_, mut image)| {
        let copies = by_digest.remove(&image.digest).unwrap_or_default();
        image.listed = copies.iter().map(|(registry, entry)| ((*registry).clone(), (*entry).into())).collect();
        let copies: Vec<_> = copies.into_iter().map(|(_, entry)| entry).collect();
        filter.chooses(&image, &copies).then_some(image)
    });
    let images: Vec<_> = images.collect();
    let status_texts = PlacementStatus::ALL.map(|status| (status, status.words())).into();
    let replica_texts = ReplicaState::ALL.map(|state| (state, state.words())).into();
    Ok(Images { repository: repository.clone(), images, status_texts, replica_texts, next_cursor })
}

impl ListedImage {
    /// Summarizes a lineage for a list of images.
    #[must_use]
    pub fn of(
        lineage: &Lineage,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        expectations: &[ReplicationExpectation],
        now: Timestamp,
    ) -> Self {
        let expected = expected_replicas(lineage, settings, expectations, now).into_iter();
        let not_arrived = expected.filter(|replica| {
            !matches!(replica.state, ReplicaState::Arrived | ReplicaState::Deleted | ReplicaState::NotExpected)
        });
        Self {
            not_arrived: not_arrived.map(|replica| (replica.registry, replica.state)).collect(),
            pushed_at: lineage.placements.values().filter_map(Placement::pushed).max(),
            tags: lineage.placements.values().flat_map(|placement| placement.current_tags()).cloned().collect(),
            registries: lineage.placements.iter().map(|(registry, here)| (registry.clone(), here.status())).collect(),
            listed: BTreeMap::new(),
            digest: lineage.image.digest.clone(),
        }
    }
}

/// Replicas whose source no longer has the image.
#[derive(Debug, Serialize, ToSchema)]
pub struct Orphans {
    /// What the answer rests on.
    pub basis: Basis,
    /// The orphans, by the name of the registry, then by that of the image.
    pub orphans: Vec<Orphan>,
    /// The cursor for the next page; absent on the last page. A page may be empty and have a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PageToken>>,
}

/// One replica whose source no longer has the image.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Orphan {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The replica's status in that registry.
    pub status: PlacementStatus,
    /// The replica's tags in that registry, by name.
    pub tags: BTreeSet<Tag>,
    /// The status and the tags in words, such as `has it, tagged v1`.
    pub summary: String,
    /// The source registries, and when each deleted the image, if known.
    pub sources: BTreeMap<Registry, Option<Timestamp>>,
    /// The size and the last pull, as the last listing of the registry saw them; absent if no listing saw the replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed: Option<ListedCopy>,
}

/// Chooses among orphans.
#[derive(Debug, Clone, Copy, Default)]
pub struct OrphanFilter {
    /// Only those whose last source deleted the image in this time. If the time is not known, the orphan is chosen.
    pub deleted: Option<Period>,
    /// Only those that arrived before this time, and of which ECR recorded no pull since. What no listing saw is not
    /// chosen.
    pub unpulled_since: Option<Timestamp>,
}

/// Answers `orphans`: all, or those that arrived before a time and of which ECR recorded no pull since. A replica that no
/// listing saw is not one of the latter.
///
/// # Errors
/// When the registry or the repository is not known, or the table cannot be read.
pub async fn orphans(table: &Table, filter: OrphanFilter, request: &PageRequest<'_>) -> Result<Orphans, Error> {
    let OrphanFilter { deleted, unpulled_since } = filter;
    let is_wanted = |orphan: &Orphan| {
        let last = orphan.sources.values().try_fold(Timestamp::MIN, |last, at| Some(last.max((*at)?)));
        deleted.zip(last).is_none_or(|(period, last)| period.contains(last))
    };
    let basis = Basis::read(table, request.registry, request.repository().as_ref()).await?;
    let mut pager = request.through(table.registries().await?);
    let mut orphans = Vec::new();
    while let Some(page) = pager.next_page() {
        let (mut lineages, page_end) = table.orphans(&page.registry, page.bounds()).await?;
        lineages.retain(|lineage| request.covers(&lineage.image.repository));
        let replica = |lineage: &Lineage| (page.registry.clone(), lineage.image.clone());
        let listed = table.inventory_of(&lineages.iter().map(replica).collect()).await?;
        let chosen = lineages.iter().filter(|lineage| {
            let entry = listed.get(&replica(lineage));
            unpulled_since.is_none_or(|since| entry.is_some_and(|entry| entry.is_unpulled_since(since)))
        });
        orphans.extend(chosen.filter_map(|lineage| {
            let listed = inventory::listed(&listed, &page.registry, &lineage.image);
            Some(Orphan { listed, ..Orphan::of(lineage, &page.registry)? })
        }));
        pager.end_page(page, page_end);
    }
    orphans.retain(is_wanted);
    // The order of the index, in which images are texts.
    orphans.sort_by_key(|orphan| (orphan.registry.clone(), orphan.image.to_string()));
    Ok(Orphans { basis, orphans, next_cursor: pager.token().map(Cursor) })
}

impl Orphan {
    /// Summarizes a replica for a list of orphans; nothing if the image has no placement in the registry.
    #[must_use]
    pub fn of(lineage: &Lineage, registry: &Registry) -> Option<Self> {
        let replica = lineage.placements.get(registry)?;
        let lost = |source: &Registry| lineage.placements.get(source).and_then(Placement::gone_at);
        let (status, tags) = (replica.status(), replica.current_tags());
        Some(Self {
            sources: replica.replicated().into_keys().map(|source| (source.clone(), lost(source))).collect(),
            summary: orphan_summary(status, &tags),
            tags: tags.into_iter().cloned().collect(),
            image: lineage.image.clone(),
            status,
            registry: registry.clone(),
            listed: None,
        })
    }
}

fn orphan_summary(status: PlacementStatus, tags: &BTreeSet<&Tag>) -> String {
    let tags: Vec<_> = tags.iter().map(|tag| tag.as_str()).collect();
    let tags = if tags.is_empty() { "untagged".to_owned() } else { format!("tagged {}", tags.join(", ")) };
    match status {
        PlacementStatus::Present | PlacementStatus::Absent => format!("has it, {tags}"),
        PlacementStatus::Archived => format!("has it archived, {tags}"),
        PlacementStatus::ProbablyAbsent => status.words().to_owned(),
    }
}
