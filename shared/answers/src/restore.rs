//! `restore`: restores an archived replica with a call to ECR, and prints commands that copy a deleted one back.

use std::collections::BTreeSet;

use aws::registry::Registries;
use domain::{
    image::{Image, Registry, Tag},
    lineage::Lineage,
    observation::Observation,
};
use retry::CallError;
use serde::Serialize;
use store::Table;

use crate::{answer, error, reference::Reference};

/// The result of `restore`.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// The image is present and can be pulled.
    There,
    /// ECR is restoring it from the archive: "within 20 minutes".
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>
    UnderWay,
    /// The image is missing.
    Gone {
        /// The registries that have the image now, from fresh reads.
        held_by: BTreeSet<Registry>,
        /// The registries that could not be read, or have the image archived.
        unknown: BTreeSet<Registry>,
        /// The tags that the image had in the registry, as recorded.
        tags: BTreeSet<Tag>,
        /// The commands that copy the image back.
        commands: Vec<String>,
    },
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

/// Answers `restore`.
///
/// # Errors
/// When the registry cannot be read, ECR refuses, or the table cannot be read.
pub async fn restore(
    table: &Table,
    registries: &Registries,
    reference: &Reference,
    registry: &Registry,
) -> Result<Restored, Error> {
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
    let lineage = table.placements(&image).await?;
    let unreadable = |source| Error::Registry { what: "look", registry: registry.clone(), source };
    let outcome = match registries.observe(registry, &image).await.map_err(unreadable)? {
        Observation::Present(seen) if seen.archived => {
            let refused = |source| Error::Registry { what: "restore it", registry: registry.clone(), source };
            registries.restore(registry, &image).await.map_err(refused)?;
            RestoreOutcome::UnderWay
        }
        Observation::Present(_) => RestoreOutcome::There,
        _ => gone(registries, &lineage, registry).await,
    };
    Ok(Restored { image, registry: registry.clone(), outcome })
}

/// Finds the registries that still have the image, and the commands that copy it from there.
async fn gone(registries: &Registries, lineage: &Lineage, registry: &Registry) -> RestoreOutcome {
    let (mut held_by, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for other in lineage.placements.keys().filter(|other| *other != registry) {
        match registries.observe(other, &lineage.image).await {
            Ok(Observation::Present(seen)) if !seen.archived => _ = held_by.insert(other.clone()),
            // An archived image cannot be pulled: it must be restored in its registry first.
            Ok(Observation::Present(_)) | Err(_) => _ = unknown.insert(other.clone()),
            Ok(_) => {}
        }
    }
    let tags = lineage.placements.get(registry).map(|here| here.tags.keys().cloned().collect()).unwrap_or_default();
    let commands = held_by.first().map(|from| copies(&lineage.image, from, registry, &tags)).unwrap_or_default();
    RestoreOutcome::Gone { held_by, unknown, tags, commands }
}

/// The commands that copy an image with all its tags. `crane copy` keeps digests, indexes and their children.
/// <https://github.com/google/go-containerregistry/blob/main/cmd/crane/doc/crane_copy.md>
fn copies(image: &Image, from: &Registry, to: &Registry, tags: &BTreeSet<Tag>) -> Vec<String> {
    let place = |registry: &Registry| format!("{}/{}", registry.host(), image.repository);
    let copy = |target: String| format!("crane copy {}@{} {target}", place(from), image.digest);
    if tags.is_empty() {
        return vec![copy(format!("{}@{}", place(to), image.digest))];
    }
    tags.iter().map(|tag| copy(format!("{}:{tag}", place(to)))).collect()
}
