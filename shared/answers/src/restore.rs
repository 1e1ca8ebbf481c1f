//! `restore`: restores an archived replica with a call to ECR, and copies a deleted one back, or prints the commands.

mod copy;
mod drill;

use std::collections::{BTreeMap, BTreeSet};

use aws::registry::Registries;
use domain::{
    image::{Digest, Image, Registry, Tag},
    lineage::{Lineage, Placement},
    observation::Observation,
    tag::{AssignmentEnd, TagName},
};
use retry::{CallError, chain};
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

pub use copy::{Copied, CopyAnswer, CopyError, CopyPlan, copy, plan_copy};
pub use drill::{Drilled, DrilledDeletion, drill};

use crate::{answer, error, reference::Reference};

/// The result of `restore`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restored {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry in which the image is restored.
    pub registry: Registry,
    /// The state of the image there.
    #[serde(flatten)]
    pub outcome: RestoreOutcome,
}

/// The state of the image in the registry.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// The image is present and can be pulled.
    There,
    /// ECR is restoring it from the archive: "within 20 minutes".
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>
    UnderWay,
    /// The image is missing.
    Gone(Box<Return>),
}

/// How a missing image comes back.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Return {
    /// The registries that have the image now, from fresh reads.
    pub held_by: BTreeSet<Registry>,
    /// The registries that have the image archived.
    pub archived_in: BTreeSet<Registry>,
    /// The registries that could not be read, and why.
    pub unreadable: BTreeMap<Registry, String>,
    /// The tags that the image had in the registry when it was deleted there, as recorded.
    pub tags: BTreeSet<Tag>,
    /// Those of them that another image has there now, and which.
    pub taken: BTreeMap<Tag, Digest>,
    /// Those of them that a copy sets.
    pub tags_to_set: BTreeSet<Tag>,
    /// The artifacts that refer to the image, and are copied with it.
    pub referrers: BTreeSet<Digest>,
    /// Whether the registry has the repository, which a copy needs.
    pub has_repository: bool,
    /// The commands that copy the image back, with its referrers, and with its tags as far as they may be set.
    pub commands: Vec<String>,
    /// What to know before they are run, one line each.
    pub notes: Vec<String>,
}

/// The error of `restore`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference could not be resolved, or the table could not be read.
    #[error(transparent)]
    Question(#[from] error::Error),
    /// The call to the registry failed.
    #[error("cannot {what} in `{registry}`")]
    Registry {
        /// The failed operation.
        what: &'static str,
        /// The registry of the call.
        registry: Registry,
        /// The error of the call.
        #[source]
        source: CallError,
    },
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Question(error.into())
    }
}

/// Answers `restore`. With `move_tags`, tags that another image has now are moved back.
///
/// # Errors
/// When the registry cannot be read, ECR refuses, or the table cannot be read.
pub async fn restore(
    table: &Table,
    registries: &Registries,
    reference: &Reference,
    registry: &Registry,
    move_tags: bool,
) -> Result<Restored, Error> {
    let image = resolve(table, reference, registry).await?;
    let lineage = table.placements(&image).await?;
    let unreadable = |source| Error::Registry { what: "look", registry: registry.clone(), source };
    let outcome = match registries.observe(registry, &image).await.map_err(unreadable)? {
        Observation::Present(seen) if seen.archived => activate(registries, registry, &image).await?,
        Observation::Present(_) => RestoreOutcome::There,
        _ => {
            let tags = tags_when_deleted(table, &lineage, registry).await?;
            let found = Return::of(registries, &lineage, registry, tags, move_tags).await.map_err(unreadable)?;
            RestoreOutcome::Gone(Box::new(found))
        }
    };
    Ok(Restored { image, registry: registry.clone(), outcome })
}

/// Asks ECR to restore an archived image.
async fn activate(registries: &Registries, registry: &Registry, image: &Image) -> Result<RestoreOutcome, Error> {
    let refused = |source| Error::Registry { what: "restore it", registry: registry.clone(), source };
    registries.restore(registry, image).await.map_err(refused)?;
    Ok(RestoreOutcome::UnderWay)
}

/// The one image that a reference means in a registry.
async fn resolve(table: &Table, reference: &Reference, registry: &Registry) -> Result<Image, Error> {
    let mut images = answer::resolve_ever(table, reference).await?;
    // A tag may point to different images: use the one that has a placement in this registry.
    if images.len() > 1 {
        let mut known = BTreeSet::new();
        for image in &images {
            if table.placements(image).await?.placements.contains_key(registry) {
                known.insert(image.clone());
            }
        }
        images = known;
    }
    let mut images = images.into_iter();
    let (Some(image), None) = (images.next(), images.next()) else {
        return Err(error::Error::Ambiguous { asked: reference.to_string(), found: images.collect() }.into());
    };
    Ok(image)
}

/// The tags that an image had in a registry when it was deleted there: those that ended with it. A tag that moved to
/// another image, or was removed before, is none of them.
async fn tags_when_deleted(
    table: &Table,
    lineage: &Lineage,
    registry: &Registry,
) -> Result<BTreeSet<Tag>, store::Error> {
    let (image, mut had) = (&lineage.image, BTreeSet::new());
    let Some(placement) = lineage.placements.get(registry) else { return Ok(had) };
    for tag in placement.tags.keys() {
        let history = table.tag_history(&TagName { repository: image.repository.clone(), tag: tag.clone() }).await?;
        let here = history.into_iter().filter(|one| one.registry == *registry && one.digest == image.digest);
        let Some(ended) = here.max_by_key(|one| one.from).and_then(|last| last.ended) else { continue };
        // ECR deletes an image with its last tag: then both end at once.
        let with_last_tag = ended.why == AssignmentEnd::TagDeleted && placement.gone_at() == Some(ended.at);
        if ended.why == AssignmentEnd::ImageDeleted || with_last_tag {
            had.insert(tag.clone());
        }
    }
    Ok(had)
}

impl Return {
    /// Reads which registries have the image, and what its tags mean now.
    async fn of(
        registries: &Registries,
        lineage: &Lineage,
        registry: &Registry,
        tags: BTreeSet<Tag>,
        move_tags: bool,
    ) -> Result<Self, CallError> {
        let (image, mut found) = (&lineage.image, Self { tags, ..Self::default() });
        for other in lineage.placements.keys().filter(|other| *other != registry) {
            match registries.observe(other, image).await {
                Ok(Observation::Present(seen)) if seen.archived => _ = found.archived_in.insert(other.clone()),
                Ok(Observation::Present(_)) => _ = found.held_by.insert(other.clone()),
                Ok(_) => {}
                Err(error) => _ = found.unreadable.insert(other.clone(), chain(&error)),
            }
        }
        for tag in &found.tags {
            if let Some(now) = registries.digest_of_tag(registry, &image.repository, tag).await? {
                found.taken.insert(tag.clone(), now);
            }
        }
        let immutable = registries.tags_are_immutable(registry, &image.repository).await?;
        found.note_tags(registry, immutable == Some(true), move_tags);
        let moves = |tag: &&Tag| !found.taken.contains_key(*tag) || (move_tags && immutable == Some(false));
        let tags: Vec<_> = found.tags.iter().filter(moves).cloned().collect();
        (found.tags_to_set, found.has_repository) = (tags.iter().cloned().collect(), immutable.is_some());
        let Some(from) = found.held_by.first().cloned() else {
            found.note_archives(image);
            return Ok(found);
        };
        if immutable.is_none() {
            found.notes.push(format!("{registry} has no repository {}: create it first", image.repository));
        }
        if lineage.placements.get(registry).is_some_and(is_replica) {
            found.notes.push(format!(
                "a copy counts as pushed to {registry} itself: it no longer follows its source, and is not deleted \
                 with it again"
            ));
        }
        found.commands = copies(image, &from, registry, &tags);
        match registries.referrers(&from, image).await {
            Ok(referrers) => {
                let of = |digest: &Digest| Image { repository: image.repository.clone(), digest: digest.clone() };
                found.commands.extend(referrers.iter().flat_map(|one| copies(&of(one), &from, registry, &[])));
                found.referrers = referrers;
            }
            Err(error) => {
                let why = chain(&error);
                found.notes.push(format!("whether signatures or other artifacts refer to it is not known: {why}"));
            }
        }
        Ok(found)
    }

    /// Notes the tags that another image has now.
    fn note_tags(&mut self, registry: &Registry, immutable: bool, move_tags: bool) {
        for (tag, now) in &self.taken {
            let now = format!("tag {tag} means {} in {registry} now", now.short());
            self.notes.push(match (immutable, move_tags) {
                (true, _) => format!("{now}, and tags of this repository are immutable: it is not moved"),
                (false, false) => format!("{now}: it is not moved back, unless `--move-tag` is given"),
                (false, true) => format!("{now}: it is moved back"),
            });
        }
    }

    /// Notes that an archived image must be restored in its registry first: it cannot be pulled.
    fn note_archives(&mut self, image: &Image) {
        for registry in &self.archived_in {
            self.notes.push(format!(
                "{registry} has it archived: restore it there first, `ecr-lineage restore {image} --registry {registry}`"
            ));
        }
    }
}

/// Whether an image came to a registry by replication alone.
fn is_replica(placement: &Placement) -> bool {
    placement.pushed().is_none() && !placement.replicated().is_empty()
}

/// The commands that copy an image with some tags. `crane copy` keeps digests, indexes and their children.
/// <https://github.com/google/go-containerregistry/blob/main/cmd/crane/doc/crane_copy.md>
fn copies(image: &Image, from: &Registry, to: &Registry, tags: &[Tag]) -> Vec<String> {
    let place = |registry: &Registry| format!("{}/{}", registry.host(), image.repository);
    let copy = |target: String| format!("crane copy {}@{} {target}", place(from), image.digest);
    if tags.is_empty() {
        return vec![copy(format!("{}@{}", place(to), image.digest))];
    }
    tags.iter().map(|tag| copy(format!("{}:{tag}", place(to)))).collect()
}
