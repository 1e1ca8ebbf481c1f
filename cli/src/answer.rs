//! The questions people ask, answered from the table.

use std::collections::{BTreeMap, BTreeSet};

use aws::table::{Dossier, Table};
use domain::{
    deletion::Deletion,
    fact::Fact,
    image::{Digest, Image, Registry, RepositoryName, Tag},
    lineage::{Lineage, Placement, Status, Whereabouts},
    tag::Band,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    failure::Failure,
    reference::{Reference, TagReference},
};

/// Everything about an image: where it is, then what happened. More than one image, if registries disagree on a tag.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The images, in the order of their digests.
    pub images: Vec<ShownImage>,
}

/// Everything about one image.
#[derive(Debug, Serialize)]
pub struct ShownImage {
    /// Its name.
    #[serde(flatten)]
    pub image: Image,
    /// Every registry that has or had it.
    pub registries: Vec<Whereabouts>,
    /// Deletions that were or are to be mirrored to its replicas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<Deletion>,
    /// What happened, oldest first.
    pub timeline: Vec<Fact>,
}

/// Answers `show`.
///
/// # Errors
/// When nothing is known of the image, more than one is meant, or the table cannot be read.
pub async fn show(table: &Table, reference: &Reference) -> Result<Shown, Failure> {
    let mut images = Vec::new();
    for image in resolve(table, reference).await? {
        let Dossier { lineage, deletions, .. } = table.dossier(&image).await?;
        if lineage.is_empty() {
            return Err(Failure::UnknownImage { asked: image.to_string(), repository: Some(image.repository) });
        }
        let registries = lineage.whereabouts();
        images.push(ShownImage { registries, image: lineage.image, deletions, timeline: lineage.facts });
    }
    Ok(Shown { images })
}

/// The images that somebody means, also by a tag that nothing has any more: then the last that had it.
pub(crate) async fn resolve_ever(table: &Table, reference: &Reference) -> Result<BTreeSet<Image>, Failure> {
    match (resolve(table, reference).await, reference) {
        (Err(Failure::PastTag { .. }), Reference::Tagged(tag)) => {
            let bands = bands(table, tag, tag.registry.as_ref()).await?;
            let last = bands.into_iter().max_by_key(|band| band.ended.as_ref().map(|ended| ended.at));
            let image = |band: Band| Image { repository: tag.name.repository.clone(), digest: band.digest };
            Ok(last.into_iter().map(image).collect())
        }
        (resolved, _) => resolved,
    }
}

/// The images that somebody means: one, unless registries disagree on a tag.
pub(crate) async fn resolve(table: &Table, reference: &Reference) -> Result<BTreeSet<Image>, Failure> {
    match reference {
        Reference::Exact(image) => Ok([image.clone()].into()),
        Reference::Short { repository, digest } => {
            let found = table.find(repository.as_ref(), digest).await?;
            let asked =
                repository.as_ref().map_or_else(|| digest.clone(), |repository| format!("{repository}@{digest}"));
            match found.len() {
                0 => Err(Failure::UnknownImage { asked, repository: repository.clone() }),
                1 => Ok(found),
                _ => Err(Failure::Ambiguous { asked, found: found.into_iter().collect() }),
            }
        }
        Reference::Tagged(tag) => {
            let bands = bands(table, tag, tag.registry.as_ref()).await?;
            let image = |band: Band| Image { repository: tag.name.repository.clone(), digest: band.digest };
            let now: BTreeSet<_> = bands.into_iter().filter(|band| band.ended.is_none()).map(image).collect();
            if now.is_empty() { Err(Failure::PastTag { asked: tag.to_string() }) } else { Ok(now) }
        }
    }
}

/// The history of a tag.
#[derive(Debug, Serialize)]
pub struct History {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// What it meant, by registry, oldest first.
    pub history: Vec<Band>,
}

/// Answers `history`.
///
/// # Errors
/// When the tag was never seen, or the table cannot be read.
pub async fn history(table: &Table, tag: &TagReference, registry: Option<&Registry>) -> Result<History, Failure> {
    let history = bands(table, tag, registry.or(tag.registry.as_ref())).await?;
    Ok(History { repository: tag.name.repository.clone(), tag: tag.name.tag.clone(), history })
}

async fn bands(table: &Table, tag: &TagReference, registry: Option<&Registry>) -> Result<Vec<Band>, Failure> {
    let mut bands = table.tag_history(&tag.name).await?;
    bands.retain(|band| registry.is_none_or(|registry| band.registry == *registry));
    if bands.is_empty() {
        let (asked, repository) = (tag.to_string(), tag.name.repository.clone());
        return Err(Failure::UnknownTag { asked, registry: registry.cloned(), repository });
    }
    Ok(bands)
}

/// The images of a repository, newest first.
#[derive(Debug, Serialize)]
pub struct Images {
    /// The repository.
    pub repository: RepositoryName,
    /// Its images.
    pub images: Vec<ListedImage>,
}

/// One image of a repository.
#[derive(Debug, Serialize)]
pub struct ListedImage {
    /// Its digest.
    pub digest: Digest,
    /// Its newest push anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// Its tags, in any registry.
    pub tags: BTreeSet<Tag>,
    /// Where it is or was.
    pub registries: BTreeMap<Registry, Status>,
}

/// Answers `images`.
///
/// # Errors
/// When nothing is known of the repository, or the table cannot be read.
pub async fn images(table: &Table, repository: &RepositoryName) -> Result<Images, Failure> {
    let listed = |lineage: Lineage| ListedImage {
        pushed_at: lineage.placements.values().filter_map(Placement::pushed).max(),
        tags: lineage.placements.values().flat_map(|placement| placement.current_tags()).cloned().collect(),
        registries: lineage.placements.iter().map(|(registry, here)| (registry.clone(), here.status())).collect(),
        digest: lineage.image.digest,
    };
    let mut images: Vec<_> = table.images(repository).await?.into_iter().map(listed).collect();
    if images.is_empty() {
        return Err(Failure::UnknownRepository { repository: repository.clone() });
    }
    images.sort_by_key(|image| std::cmp::Reverse(image.pushed_at));
    Ok(Images { repository: repository.clone(), images })
}

/// Replicas whose source no longer has the image.
#[derive(Debug, Serialize)]
pub struct Orphans {
    /// By image, then by registry.
    pub orphans: Vec<Orphan>,
}

/// One replica whose source no longer has the image.
#[derive(Debug, Clone, Serialize)]
pub struct Orphan {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where the replica is.
    pub registry: Registry,
    /// Whether it is there.
    pub status: Status,
    /// The tags it has there.
    pub tags: BTreeSet<Tag>,
    /// The registries it came from, and when they lost it.
    pub sources: BTreeMap<Registry, Option<Timestamp>>,
}

/// Answers `orphans`, in one registry or in all, of one repository or of all.
///
/// # Errors
/// When the table cannot be read.
pub async fn orphans(
    table: &Table,
    registry: Option<&Registry>,
    repository: Option<&RepositoryName>,
) -> Result<Orphans, Failure> {
    let registries = match registry {
        Some(registry) => [registry.clone()].into(),
        None => table.registries().await?,
    };
    let mut orphans = Vec::new();
    for registry in registries {
        for lineage in table.orphans(&registry).await? {
            if repository.is_some_and(|repository| lineage.image.repository != *repository) {
                continue;
            }
            let Some(replica) = lineage.placements.get(&registry) else { continue };
            let lost = |source: &Registry| lineage.placements.get(source).and_then(Placement::gone_at);
            orphans.push(Orphan {
                sources: replica.replicated().into_keys().map(|source| (source.clone(), lost(source))).collect(),
                tags: replica.current_tags().into_iter().cloned().collect(),
                image: lineage.image.clone(),
                status: replica.status(),
                registry: registry.clone(),
            });
        }
    }
    orphans.sort_by(|a, b| (&a.image, &a.registry).cmp(&(&b.image, &b.registry)));
    Ok(Orphans { orphans })
}
