//! `restore --copy`: copies a deleted image back through ECR's own API, in an order in which it can be repeated.
//!
//! Layers first, then the children of an index, then what refers to the image, and the image with its tags at the end.
//! So the image is there only when all of it is, and a repetition goes on with what is missing.

use std::collections::{BTreeMap, BTreeSet};

use aws::registry::{Manifest, Registries};
use domain::{
    image::{Digest, Image, Registry, Tag},
    observation::Observation,
};
use retry::CallError;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use store::Table;
use utoipa::ToSchema;

use super::{
    Error, RestoreOutcome, Restored, Return, activate, drill::MANIFESTS_PER_IMAGE, resolve, tags_when_deleted,
};
use crate::reference::Reference;

/// What is copied, from fresh reads.
#[derive(Debug)]
pub struct CopyPlan {
    /// The repository and digest of the image.
    pub image: Image,
    /// The registry that has it.
    pub from: Registry,
    /// The registry in which it was deleted.
    pub to: Registry,
    /// The layers that the destination lacks, with their sizes in bytes.
    pub layers: BTreeMap<Digest, u64>,
    /// The tags that it gets.
    pub tags: BTreeSet<Tag>,
    /// What to know before, one line each.
    pub notes: Vec<String>,
    /// The manifests that the destination lacks, in the order in which they are pushed; the image is the last.
    manifests: Vec<(Digest, Manifest)>,
    /// The images that have some of the tags now.
    taken: BTreeMap<Tag, Digest>,
}

/// What `restore --copy` begins with.
#[derive(Debug)]
pub enum CopyAnswer {
    /// Nothing can be copied, or need be: the answer of `restore`.
    Nothing(Restored),
    /// A copy that can be made.
    Plan(CopyPlan),
}

/// The result of a copy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Copied {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry that it was copied from.
    pub from: Registry,
    /// The registry that has it again.
    pub to: Registry,
    /// What was copied.
    #[serde(flatten)]
    pub progress: CopyProgress,
    /// The tags that were set.
    pub tags: BTreeSet<Tag>,
    /// The tags that another image got meanwhile, and which: they were not moved.
    pub left_out: BTreeMap<Tag, Digest>,
    /// What to know about it, one line each.
    pub notes: Vec<String>,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CopyProgress {
    /// The layers that were copied.
    pub layers: usize,
    /// The manifests that were pushed.
    pub manifests: usize,
    /// The bytes of layers that were copied, including those of a layer in progress.
    pub bytes: u64,
}

/// The error of a copy. What was copied before stays.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot copy {what} from `{from}` to `{to}`; copied before it: {} of {layers} layers, {} of {manifests} manifests",
    done.layers,
    done.manifests
)]
pub struct CopyError {
    /// The layer, manifest or tag.
    what: String,
    from: Registry,
    to: Registry,
    done: CopyProgress,
    layers: usize,
    manifests: usize,
    #[source]
    source: CallError,
}

/// Reads what a copy needs to do. An archived replica is restored instead, as by `restore`.
///
/// # Errors
/// When a registry cannot be read, or the table.
pub async fn plan_copy(
    table: &Table,
    registries: &Registries,
    reference: &Reference,
    registry: &Registry,
    move_tags: bool,
) -> Result<CopyAnswer, Error> {
    let image = resolve(table, reference, registry).await?;
    let lineage = table.placements(&image).await?;
    let unreadable = |source| Error::Registry { what: "look", registry: registry.clone(), source };
    let tags = tags_when_deleted(table, &lineage, registry).await?;
    let outcome = match registries.observe(registry, &image).await.map_err(unreadable)? {
        Observation::Present(seen) if seen.archived => activate(registries, registry, &image).await?,
        Observation::Present(seen) if seen.tags.is_superset(&tags) => RestoreOutcome::There,
        // A copy that was interrupted between two tags: the rest of them is set.
        observed => {
            let missing: BTreeSet<_> = match observed.seen() {
                Some(seen) => tags.difference(&seen.tags).cloned().collect(),
                None => tags,
            };
            let found = Return::of(registries, &lineage, registry, missing, move_tags).await.map_err(unreadable)?;
            let is_there = observed.seen().is_some();
            match found.held_by.first().filter(|_| found.has_repository).cloned() {
                None if is_there => RestoreOutcome::There,
                Some(_) if is_there && found.tags_to_set.is_empty() => RestoreOutcome::There,
                None => RestoreOutcome::Gone(Box::new(found)),
                Some(from) => {
                    return Ok(CopyAnswer::Plan(CopyPlan::of(registries, image, (from, registry), found).await?));
                }
            }
        }
    };
    Ok(CopyAnswer::Nothing(Restored { image, registry: registry.clone(), outcome }))
}

impl CopyPlan {
    async fn of(
        registries: &Registries,
        image: Image,
        (from, to): (Registry, &Registry),
        found: Return,
    ) -> Result<Self, Error> {
        let failed = |what, registry: &Registry| {
            let registry = registry.clone();
            move |source| Error::Registry { what, registry, source }
        };
        let mut manifests = Vec::new();
        for digest in &found.referrers {
            let referrer = Image { repository: image.repository.clone(), digest: digest.clone() };
            manifests.extend(family(registries, &from, &referrer).await.map_err(failed("read manifests", &from))?);
        }
        manifests.extend(family(registries, &from, &image).await.map_err(failed("read manifests", &from))?);
        // The image's own children come before what refers to the image, which is pushed right before it.
        manifests.sort_by_key(|(digest, _)| (*digest == image.digest, found.referrers.contains(digest)));
        let (mut missing, mut sizes, mut known) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for (digest, manifest) in manifests {
            if !known.insert(digest.clone()) {
                continue;
            }
            let of = Image { repository: image.repository.clone(), digest: digest.clone() };
            let there = registries.observe(to, &of).await.map_err(failed("look", to))?.seen().is_some();
            if !there || digest == image.digest {
                sizes.extend(manifest.stored.clone());
                missing.push((digest, manifest));
            }
        }
        let layers: BTreeSet<_> = sizes.keys().cloned().collect();
        let lacking = registries.missing_layers(to, &image.repository, &layers).await.map_err(failed("look", to))?;
        sizes.retain(|layer, _| lacking.contains(layer));
        let Return { tags_to_set, taken, notes, .. } = found;
        let to = to.clone();
        Ok(Self { image, from, to, layers: sizes, tags: tags_to_set, notes, manifests: missing, taken })
    }

    /// The number of manifests that are pushed.
    #[must_use]
    pub fn manifests(&self) -> usize {
        self.manifests.len()
    }

    /// The bytes of all layers that are copied.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layers.values().fold(0, |sum, size| sum.saturating_add(*size))
    }
}

/// The manifest of an image and those below it; each after its children, as ECR requires.
async fn family(
    registries: &Registries,
    registry: &Registry,
    image: &Image,
) -> Result<Vec<(Digest, Manifest)>, CallError> {
    let (mut open, mut found) = (vec![image.digest.clone()], Vec::new());
    let mut seen = BTreeSet::new();
    while let Some(digest) = open.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        if seen.len() > MANIFESTS_PER_IMAGE {
            return Err(CallError::unclear(format!("{image} has more than {MANIFESTS_PER_IMAGE} manifests")));
        }
        let of = Image { repository: image.repository.clone(), digest: digest.clone() };
        let manifest = registries.manifest(registry, &of).await?;
        let manifest =
            manifest.ok_or_else(|| CallError::unclear(format!("manifest {} is missing there", digest.short())))?;
        open.extend(manifest.children.iter().cloned());
        found.push((digest, manifest));
    }
    let mut ordered: Vec<(Digest, Manifest)> = Vec::new();
    let has = |ordered: &[(Digest, Manifest)], child: &Digest| ordered.iter().any(|(digest, _)| digest == child);
    while let Some(next) = found.iter().position(|(_, one)| one.children.iter().all(|child| has(&ordered, child))) {
        ordered.push(found.remove(next));
    }
    Ok(ordered)
}

/// Makes a copy. Calls `on_progress` after each part of a layer and each manifest.
///
/// # Errors
/// When ECR refuses, or what was downloaded is not what its digest says. The error says what was copied before.
pub async fn copy(
    registries: &Registries,
    plan: &CopyPlan,
    mut on_progress: impl FnMut(CopyProgress),
) -> Result<Copied, CopyError> {
    let CopyPlan { image, from, to, layers, manifests, .. } = plan;
    let mut done = CopyProgress::default();
    let stopped = |what: String, done: CopyProgress| {
        let (from, to, layers, manifests) = (from.clone(), to.clone(), layers.len(), manifests.len());
        move |source| CopyError { what, from, to, done, layers, manifests, source }
    };
    for layer in layers.keys() {
        let before = done;
        let on_bytes = |bytes| {
            done.bytes += bytes;
            on_progress(done);
        };
        let copied = registries.copy_layer(&image.repository, layer, (from, to), on_bytes).await;
        copied.map_err(stopped(format!("layer {layer}"), before))?;
        done.layers += 1;
    }
    let (mut tags, mut left_out) = (BTreeSet::new(), BTreeMap::new());
    for (digest, manifest) in manifests {
        let what = || format!("manifest {digest}");
        proven(digest, manifest).map_err(stopped(what(), done))?;
        if *digest == image.digest {
            // The last of them: the tags are read again, because they may have moved since the plan was made.
            for tag in &plan.tags {
                let now = registries.digest_of_tag(to, &image.repository, tag).await;
                let now = now.map_err(stopped(format!("tag {tag}"), done))?;
                if now.as_ref() == plan.taken.get(tag) || now.as_ref() == Some(digest) {
                    let put = registries.put_manifest(to, &image.repository, (digest, manifest), Some(tag)).await;
                    put.map_err(stopped(format!("tag {tag}"), done))?;
                    tags.insert(tag.clone());
                } else {
                    left_out.extend(now.map(|now| (tag.clone(), now)));
                }
            }
        }
        if *digest != image.digest || tags.is_empty() {
            let put = registries.put_manifest(to, &image.repository, (digest, manifest), None).await;
            put.map_err(stopped(what(), done))?;
        }
        done.manifests += 1;
        on_progress(done);
    }
    let notes = plan.notes.clone();
    Ok(Copied { image: image.clone(), from: from.clone(), to: to.clone(), progress: done, tags, left_out, notes })
}

/// A manifest whose text hashes to its digest.
fn proven(digest: &Digest, manifest: &Manifest) -> Result<(), CallError> {
    let hash: String = Sha256::digest(manifest.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest.encoded() == hash {
        return Ok(());
    }
    Err(CallError::unclear(format!("what was read is not this manifest: its digest is sha256:{hash}")))
}
