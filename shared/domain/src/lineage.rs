//! Everything known about one image, and the answers that queries need.

mod placement;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

pub use placement::{Placement, PlacementStatus};

use crate::{
    evidence::{Evidence, PlacementKey},
    fact::{Cause, Fact, Subject, What},
    image::{Digest, Image, Registry, Tag},
    inventory::ListedCopy,
};

/// How far apart, in seconds, an ECR event and the CloudTrail record that explains it may be. Both carry the time of
/// the deletion, but a lifecycle run sends one record for all its images; runs of one policy are hours apart.
pub(crate) const CAUSE_WINDOW_SECONDS: i64 = 15 * 60;

/// Everything known about one image: the evidence of every registry, and every fact, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The repository and the digest.
    pub image: Image,
    /// What is known of the image, by registry.
    pub placements: BTreeMap<Registry, Placement>,
    /// What happened, oldest first; deletions of the whole repository included.
    pub facts: Vec<Fact>,
}

/// Whether a replica is an orphan: none of its sources has the image any more, and no push to its own registry is
/// recorded.
#[must_use]
pub fn is_orphan(replica: &Placement, sources: &BTreeMap<Registry, Placement>) -> bool {
    let replicated = replica.replicated();
    replica.status().may_be_there()
        && replica.pushed().is_none()
        && !replicated.is_empty()
        // A source that is only probably without the image is in doubt, and a replica with such a source is no orphan.
        && replicated.keys().all(|source| {
            sources.get(*source).is_some_and(|source| source.status() == PlacementStatus::Absent)
        })
}

/// Where one image is: its status in one registry, how it came there, and who deleted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whereabouts {
    /// The registry.
    pub registry: Registry,
    /// Whether the image is there.
    pub status: PlacementStatus,
    /// The status in words, such as `untagged, deletion not confirmed`.
    pub status_text: &'static str,
    /// Whether this is a replica that no source has any more.
    pub orphan: bool,
    /// The newest push to this registry, or the newest time its pull through cache brought the image; absent if none is
    /// recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// Who pushed it then; absent if CloudTrail did not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_by: Option<String>,
    /// The upstream registry from which the pull through cache brought the image then; absent if it was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<String>,
    /// The newest replication into this registry, one entry per source, by name.
    pub replicated_from: Vec<ReplicatedFrom>,
    /// The tags that the image has there now, by name.
    pub tags: BTreeSet<Tag>,
    /// The tags that the image had when it was deleted there, by name; absent if it is there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Tag>))]
    pub deleted_tags: BTreeSet<Tag>,
    /// Tags that moved from this image to another one in this registry, by name, with the newest move of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved_tags: Vec<MovedTag>,
    /// The start of the present stay, or of the last one if the image is not there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When and why the image was deleted; absent if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Loss>,
    /// The size and the last pull, as the last listing of the registry saw them; absent if no listing saw the image there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed: Option<ListedCopy>,
}

/// One source of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplicatedFrom {
    /// The source registry.
    pub registry: Registry,
    /// The newest replication from this source.
    pub at: Timestamp,
    /// The replication lag in seconds: from the newest push at the source to the replication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
}

/// A tag that moved to another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MovedTag {
    /// The tag that moved.
    pub tag: Tag,
    /// When the tag was set on the other image.
    pub at: Timestamp,
    /// The digest of the image that got the tag.
    pub to: Digest,
    /// The move, in one line.
    pub summary: String,
}

/// When and why an image was deleted from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Loss {
    /// When the image was deleted.
    pub at: Timestamp,
    /// Who or what deleted it.
    #[serde(flatten)]
    pub cause: Cause,
    /// The cause in words, such as `by lifecycle rule 10`; `cause unknown` if it is not known.
    pub cause_text: String,
}

impl Loss {
    fn new(at: Timestamp, cause: Cause) -> Self {
        Self { at, cause_text: cause.to_string(), cause }
    }
}

impl Lineage {
    /// Combines what is stored about one image with the deletions of its whole repository.
    #[must_use]
    pub fn new(
        image: Image,
        evidence: impl IntoIterator<Item = (PlacementKey, Evidence)>,
        mut facts: Vec<Fact>,
        mut repository_deletions: Vec<Fact>,
    ) -> Self {
        let mut by_registry: BTreeMap<Registry, Vec<(Option<Tag>, Evidence)>> = BTreeMap::new();
        for (name, evidence) in evidence {
            by_registry.entry(name.registry).or_default().push((name.tag, evidence));
        }
        let mut placements: BTreeMap<_, _> =
            by_registry.into_iter().map(|(registry, evidence)| (registry, Placement::of(evidence))).collect();
        repository_deletions.sort_by_key(|deletion| deletion.time);
        for deletion in &repository_deletions {
            let What::RepositoryDeleted { empty, listed_at, .. } = deletion.what else { continue };
            if let Some(placement) = placements.get_mut(&deletion.registry) {
                placement.lose_repository(deletion.time, empty, listed_at);
            }
        }
        facts.extend(repository_deletions.into_iter().filter(|fact| placements.contains_key(&fact.registry)));
        facts.sort_by(|a, b| order(a).cmp(&order(b)));
        Self { image, placements, facts }
    }

    /// What happened, oldest first: one fact for each thing, even if several events reported it. `around` are facts about
    /// the repository and the registries of the image.
    #[must_use]
    pub fn timeline(&self, around: Vec<Fact>) -> Vec<Fact> {
        let mut facts = [self.facts.clone(), around].concat();
        facts.sort_by(|a, b| order(a).cmp(&order(b)));
        timeline::merged(&facts)
    }

    /// Whether nothing at all is recorded about the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty() && self.facts.is_empty()
    }

    /// The answer for every registry that has or had the image: those where it was pushed first, then its replicas.
    #[must_use]
    pub fn whereabouts(&self) -> Vec<Whereabouts> {
        let mut all: Vec<_> =
            self.placements.iter().map(|(registry, placement)| self.whereabouts_in(registry, placement)).collect();
        all.sort_by_key(|answer| (answer.pushed_at.is_none(), answer.registry.clone()));
        all
    }

    fn whereabouts_in(&self, registry: &Registry, placement: &Placement) -> Whereabouts {
        let replicated_from = placement.replicated().into_iter().map(|(source, at)| ReplicatedFrom {
            registry: source.clone(),
            at,
            lag_seconds: self.lag_seconds(placement, source),
        });
        Whereabouts {
            registry: registry.clone(),
            status: placement.status(),
            status_text: placement.status().words(),
            orphan: is_orphan(placement, &self.placements),
            pushed_at: placement.pushed(),
            pushed_by: self.newest_push(registry, placement, |what| match what {
                What::Pushed { by, .. } => by.clone(),
                _ => None,
            }),
            cached_from: self.newest_push(registry, placement, |what| match what {
                What::Cached { upstream, .. } => Some(upstream.clone()),
                _ => None,
            }),
            replicated_from: replicated_from.collect(),
            tags: placement.current_tags().into_iter().cloned().collect(),
            deleted_tags: placement
                .gone_at()
                .map(|_| placement.last_tags().into_iter().cloned().collect())
                .unwrap_or_default(),
            moved_tags: placement.moved_tags(),
            since: self.since(registry),
            deleted: self.loss(registry),
            listed: None,
        }
    }

    /// The platforms of an index, by name, from its pushes.
    #[must_use]
    pub fn platforms(&self) -> BTreeSet<String> {
        let of_push = |fact: &Fact| match &fact.what {
            What::Pushed { platforms, .. } => platforms.clone(),
            _ => BTreeSet::new(),
        };
        self.facts.iter().flat_map(of_push).collect()
    }

    /// What a fact near the newest push to a registry says about it.
    fn newest_push(
        &self,
        registry: &Registry,
        placement: &Placement,
        says: impl Fn(&What) -> Option<String>,
    ) -> Option<String> {
        let pushed = placement.pushed()?;
        let near = self.facts.iter().filter(|fact| {
            fact.registry == *registry && distance(fact, pushed) <= CAUSE_WINDOW_SECONDS && fact.time <= pushed
        });
        let said = near.filter_map(|fact| Some((distance(fact, pushed), says(&fact.what)?)));
        said.min_by_key(|(distance, text)| (*distance, !text.starts_with("arn:"))).map(|(_, text)| text)
    }

    /// The lag of the newest replication from a source, in seconds.
    fn lag_seconds(&self, replica: &Placement, source: &Registry) -> Option<i64> {
        let at_source = self.placements.get(source)?;
        let tagged = replica.tags.iter().filter_map(|(tag, evidence)| Some((evidence, at_source.tags.get(tag)?)));
        let (_, lag) = std::iter::once((&replica.image, &at_source.image))
            .chain(tagged)
            .filter_map(|(here, there)| Some((here.replicated.get(source)?, here.lag_seconds(source, there)?)))
            .max()?;
        Some(lag)
    }

    /// The start of the newest stay: the first proof of presence after the deletion before it.
    #[must_use]
    pub fn since(&self, registry: &Registry) -> Option<Timestamp> {
        let mut since = None;
        let mut ended = false;
        for fact in self.facts.iter().filter(|fact| fact.registry == *registry) {
            match presence(&fact.what) {
                Some(true) if ended || since.is_none() => (since, ended) = (Some(fact.time), false),
                Some(false) => ended = true,
                _ => {}
            }
        }
        since
    }

    /// Who or what deleted the image from a registry, if it is not there.
    #[must_use]
    pub fn cause_of_loss(&self, registry: &Registry) -> Cause {
        self.loss(registry).map_or(Cause::Unknown, |deleted| deleted.cause)
    }

    /// When and why the image was deleted, if it is not there.
    fn loss(&self, registry: &Registry) -> Option<Loss> {
        let at = self.placements.get(registry)?.gone_at()?;
        Some(Loss::new(at, self.cause(registry, at)))
    }

    /// Whether it is proven that the image itself was deleted from a registry, and not only with its whole repository: a
    /// call or a lifecycle rule deleted this image, or it was reported as deleted, and the repository that was deleted
    /// next was empty.
    #[must_use]
    pub fn was_deleted_itself(&self, registry: &Registry) -> bool {
        let Some(placement) = self.placements.get(registry) else { return false };
        let Some(at) = placement.reported_gone_at().filter(|_| placement.status() == PlacementStatus::Absent) else {
            return false;
        };
        let here = || self.facts.iter().filter(|fact| fact.registry == *registry);
        let by_itself = here().any(|fact| {
            let known = |cause: &Cause| matches!(cause, Cause::Principal { .. } | Cause::Lifecycle { .. });
            distance(fact, at) <= CAUSE_WINDOW_SECONDS
                && matches!(&fact.what, What::ImageDeleted { cause } if known(cause))
        });
        let mut repository = here().filter(|fact| fact.time >= at).filter_map(|fact| match fact.what {
            What::RepositoryDeleted { empty, .. } => Some(empty),
            _ => None,
        });
        let with_repository = matches!(self.cause(registry, at), Cause::Repository { .. });
        !with_repository && (by_itself || repository.next() == Some(true))
    }

    /// Who or what deleted the image, or tags of it, from a registry at a time: the nearest fact with a known cause. A
    /// deletion by ecr-lineage itself takes precedence, because CloudTrail names only the role that it used.
    #[must_use]
    pub fn cause(&self, registry: &Registry, at: Timestamp) -> Cause {
        let knows = |fact: &&Fact| fact.registry == *registry && distance(fact, at) <= CAUSE_WINDOW_SECONDS;
        self.facts
            .iter()
            .filter(knows)
            .filter_map(|fact| match &fact.what {
                // An image that an empty repository had was deleted before, and a call without its response may have
                // deleted the image.
                What::ImageDeleted { cause }
                | What::TagsDeleted { cause, .. }
                | What::RepositoryDeleted { empty: false, cause, .. }
                | What::Attempted { code: None, cause, .. } => {
                    let ours = matches!(cause, Cause::Mirror { .. });
                    (*cause != Cause::Unknown).then_some(((!ours, distance(fact, at), !cause.is_readable()), cause))
                }
                _ => None,
            })
            .min_by_key(|(preference, _)| *preference)
            .map_or(Cause::Unknown, |(_, cause)| cause.clone())
    }
}

/// The facts about any subjects with each thing that happened to a subject only once, even if several events reported it.
#[must_use]
pub fn without_repeats(facts: Vec<Fact>) -> Vec<Fact> {
    let mut by_subject: BTreeMap<Subject, Vec<Fact>> = BTreeMap::new();
    for fact in facts {
        by_subject.entry(fact.subject.clone()).or_default().push(fact);
    }
    let merged = by_subject.into_values().flat_map(|mut facts| {
        facts.sort_by(|a, b| order(a).cmp(&order(b)));
        timeline::merged(&facts)
    });
    merged.collect()
}

fn distance(fact: &Fact, at: Timestamp) -> i64 {
    (fact.time.as_second() - at.as_second()).abs()
}

/// The order of a timeline: by time; within a second, losses before proofs of presence, because present wins.
fn order(fact: &Fact) -> impl Ord + '_ {
    (
        fact.time,
        presence(&fact.what) == Some(true),
        &fact.registry,
        matches!(fact.subject, Subject::Image(_)),
        &fact.event_id,
    )
}

/// Whether a fact proves that the image is there (`true`), that it is not (`false`), or neither.
fn presence(what: &What) -> Option<bool> {
    match what {
        What::Pushed { .. }
        | What::Cached { .. }
        | What::Replicated { .. }
        | What::Archived { .. }
        | What::Restored => Some(true),
        What::Observed { storage, .. } => Some(storage.is_some()),
        What::ImageDeleted { .. } | What::RepositoryDeleted { .. } => Some(false),
        What::TagsDeleted { .. }
        | What::ReplicationFailed { .. }
        | What::Attempted { .. }
        | What::Changed { .. }
        | What::Other { .. } => None,
    }
}
