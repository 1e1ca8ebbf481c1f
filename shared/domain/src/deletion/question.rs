//! The question about a replica that is put to the policy.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Deletion,
    judge::{DeletionContext, replica},
};
use crate::{
    fact::Cause,
    image::{Image, Registry, Tag},
    lineage::{Lineage, Placement, PlacementStatus},
    observation::ObservedImage,
    policy::{ManifestKind, PolicyQuestion},
    usage::ImageUsers,
};

/// What the policy question contains about the replica.
pub(super) struct ReplicaFacts<'a> {
    tags: BTreeSet<Tag>,
    replica_only_tags: BTreeSet<Tag>,
    pushed_at: Option<Timestamp>,
    replicated_at: Timestamp,
    last_pulled_at: Option<Timestamp>,
    size_bytes: u64,
    kind: ManifestKind,
    archived: bool,
    users: Option<ImageUsers>,
    cause: Cause,
    image: &'a Image,
}

impl<'a> ReplicaFacts<'a> {
    /// The facts from the read of the replica.
    pub(super) fn seen(context: &DeletionContext<'a>, seen: &ObservedImage) -> Self {
        let Self { pushed_at, replicated_at, cause, image, .. } = Self::recorded(context.deletion, context.lineage);
        Self {
            replica_only_tags: replica_only(context.deletion, context.lineage, seen.tags.iter()),
            tags: seen.tags.clone(),
            pushed_at,
            replicated_at,
            last_pulled_at: seen.last_pulled_at,
            size_bytes: seen.size_bytes,
            kind: seen.kind,
            archived: seen.archived,
            users: context.observations.usage.is_some().then(|| context.observations.users(context.deletion)),
            cause,
            image,
        }
    }

    /// The facts from what is recorded.
    pub(super) fn recorded(deletion: &'a Deletion, lineage: &Lineage) -> Self {
        let placement = replica(deletion, lineage);
        let tags: BTreeSet<Tag> =
            placement.map(Placement::current_tags).unwrap_or_default().into_iter().cloned().collect();
        let at_source = lineage.placements.get(&deletion.source);
        let arrived = placement.and_then(|placement| placement.replicated().get(&deletion.source).copied());
        Self {
            replica_only_tags: replica_only(deletion, lineage, tags.iter()),
            tags,
            pushed_at: at_source.and_then(Placement::pushed),
            replicated_at: arrived.unwrap_or(deletion.since),
            last_pulled_at: None,
            size_bytes: 0,
            kind: ManifestKind::Image,
            archived: placement.is_some_and(|placement| placement.status() == PlacementStatus::Archived),
            users: None,
            cause: deletion.cause(lineage),
            image: &deletion.image,
        }
    }

    pub(super) fn question<'q>(
        &'q self,
        deletion: &'q Deletion,
        now: Timestamp,
        other_copies: u64,
    ) -> PolicyQuestion<'q> {
        PolicyQuestion {
            source: &deletion.source,
            image: self.image,
            registry: &deletion.registry,
            tags: &self.tags,
            replica_only_tags: &self.replica_only_tags,
            pushed_at: self.pushed_at,
            replicated_at: self.replicated_at,
            last_pulled_at: self.last_pulled_at,
            size_bytes: self.size_bytes,
            kind: self.kind,
            archived: self.archived,
            users: self.users.as_ref(),
            now,
            since: deletion.since,
            cause: &self.cause,
            other_copies,
            tag: deletion.tag.as_ref(),
        }
    }
}

/// The tags that the source never had: neither set there, nor replicated from there.
fn replica_only<'t>(deletion: &Deletion, lineage: &Lineage, tags: impl Iterator<Item = &'t Tag>) -> BTreeSet<Tag> {
    let evidence = |registry: &Registry, tag: &Tag| lineage.placements.get(registry)?.tags.get(tag);
    tags.filter(|tag| {
        let set = evidence(&deletion.source, tag).is_some_and(|tag| tag.pullable().is_some());
        let came = evidence(&deletion.registry, tag).is_some_and(|tag| tag.replicated.contains_key(&deletion.source));
        !set && !came
    })
    .cloned()
    .collect()
}
