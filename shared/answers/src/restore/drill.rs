//! The restore drill: picks deletions that are done, and shows by reads whether each image could be brought back.

use std::collections::BTreeSet;

use aws::registry::Registries;
use domain::{
    deletion::DeletionStatus,
    drill::RestoreDrill,
    image::{Image, Registry},
    lineage::Lineage,
    observation::Observation,
};
use jiff::{SignedDuration, Timestamp};
use retry::chain;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{
    deletions::{self, DeletionFilter},
    error::Error,
    time::Period,
};

/// The manifests of one image that are read at most: an index may have one for each platform.
pub(super) const MANIFESTS_PER_IMAGE: usize = 200;

/// The result of a restore drill.
#[derive(Debug, Serialize, ToSchema)]
pub struct Drilled {
    /// The figure that is stored.
    #[serde(flatten)]
    pub drill: RestoreDrill,
    /// The deletions that were tried.
    pub deletions: Vec<DrilledDeletion>,
}

/// One deletion of a drill.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrilledDeletion {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry in which the image was deleted.
    pub registry: Registry,
    /// Whether the image could be brought back now.
    pub restorable: bool,
    /// From where, or why not.
    pub why: String,
}

/// Tries some deletions of a period, picked at random: `pick` returns a number below its argument.
///
/// # Errors
/// When the table cannot be read. A registry that cannot be read proves nothing.
pub async fn drill(
    table: &Table,
    registries: &Registries,
    (count, since): (usize, SignedDuration),
    mut pick: impl FnMut(usize) -> usize,
    by: &str,
    now: Timestamp,
) -> Result<Drilled, Error> {
    let changed = Period::last(since, now);
    let filter = DeletionFilter::everywhere([DeletionStatus::Done].into(), changed);
    let mut done = deletions::stored(table, &filter).await?;
    done.retain(|deletion| deletion.tag.is_none());
    let mut deletions = Vec::new();
    while !done.is_empty() && deletions.len() < count {
        let deletion = done.swap_remove(pick(done.len()).min(done.len() - 1));
        let lineage = table.placements(&deletion.image).await?;
        let (restorable, why) = match origin(registries, &lineage, &deletion.registry).await {
            Ok(from) => (true, from),
            Err(why) => (false, why),
        };
        deletions.push(DrilledDeletion { image: deletion.image, registry: deletion.registry, restorable, why });
    }
    let restorable = deletions.iter().filter(|deletion| deletion.restorable).count();
    let drill = RestoreDrill { at: now, by: by.to_owned(), tried: deletions.len(), restorable };
    Ok(Drilled { drill, deletions })
}

/// From where an image can be brought back to a registry.
///
/// # Errors
/// When it cannot: the reason.
async fn origin(registries: &Registries, lineage: &Lineage, registry: &Registry) -> Result<String, String> {
    let (image, mut reasons) = (&lineage.image, Vec::new());
    // The registry itself first: there it may be archived, or back already.
    let others = lineage.placements.keys().filter(|other| *other != registry);
    for other in std::iter::once(registry).chain(others) {
        match registries.observe(other, image).await {
            Ok(Observation::Present(seen)) if seen.archived => {
                return Ok(format!("archived in {other}: ECR restores it"));
            }
            Ok(Observation::Present(_)) => match is_whole(registries, other, image).await {
                Ok(()) if other == registry => return Ok(format!("it is in {registry} again")),
                Ok(()) => return Ok(format!("from {other}")),
                Err(why) => reasons.push(format!("{other}: {why}")),
            },
            Ok(_) => {}
            Err(error) => reasons.push(format!("{other} cannot be read: {}", chain(&error))),
        }
    }
    Err(if reasons.is_empty() { "no known registry has it".to_owned() } else { reasons.join("; ") })
}

/// Reads the manifest of an image and of its children, and whether their layers are there.
///
/// # Errors
/// When something is missing, or cannot be read: what.
async fn is_whole(registries: &Registries, registry: &Registry, image: &Image) -> Result<(), String> {
    let (mut open, mut seen) = (vec![image.digest.clone()], BTreeSet::new());
    while let Some(digest) = open.pop().filter(|_| seen.len() < MANIFESTS_PER_IMAGE) {
        let of = Image { repository: image.repository.clone(), digest: digest.clone() };
        if !seen.insert(digest) {
            continue;
        }
        let manifest = registries.manifest(registry, &of).await.map_err(|error| chain(&error))?;
        let manifest = manifest.ok_or_else(|| format!("manifest {} is missing", of.digest.short()))?;
        let missing = registries.missing_layers(registry, &of.repository, &manifest.layers).await;
        if let Some(layer) = missing.map_err(|error| chain(&error))?.first() {
            return Err(format!("layer {} is missing", layer.short()));
        }
        open.extend(manifest.children);
    }
    if open.is_empty() { Ok(()) } else { Err(format!("it has more than {MANIFESTS_PER_IMAGE} manifests")) }
}
