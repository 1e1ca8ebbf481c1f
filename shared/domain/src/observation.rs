//! What reads of registries showed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    breaker::{Breaker, BreakerClass, CountKey},
    controls::Controls,
    deletion::Deletion,
    image::{Digest, Image, Registry, RepositoryName, Tag},
    lineage::Lineage,
    policy::ManifestKind,
    replication::ReplicationRules,
    usage::{ImageUsers, UsageObservations},
};

/// An image as a registry describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedImage {
    /// The tags of the image in this registry.
    pub tags: BTreeSet<Tag>,
    /// Whether the image is in the archive storage class, or is being restored from it.
    pub archived: bool,
    /// When the image arrived in this registry, by a push or by replication.
    pub pushed_at: Option<Timestamp>,
    /// When the image was last pulled from this registry; ECR updates this with a delay of up to 24 hours.
    pub last_pulled_at: Option<Timestamp>,
    /// The size of the image in bytes.
    pub size_bytes: u64,
    /// What the manifest is: image, index or referrer.
    pub kind: ManifestKind,
    /// The digest of the subject, if the image is a referrer.
    pub subject: Option<Digest>,
}

/// The result of reading one image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Observation {
    /// The image is there, in any storage class.
    Present(ObservedImage),
    /// The repository exists, the image does not.
    Missing,
    /// The repository does not exist.
    NoRepository,
    /// The registry could not be read, for this reason.
    Unreadable(String),
    /// The registry was not read.
    #[default]
    NotAsked,
}

impl Observation {
    /// The image, if it is there.
    #[must_use]
    pub fn seen(&self) -> Option<&ObservedImage> {
        if let Self::Present(seen) = self { Some(seen) } else { None }
    }
}

/// The result of reading some images of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedRepository {
    /// The images that were asked about.
    pub images: BTreeMap<Digest, Observation>,
    /// A lower bound of the number of images in the repository; the exact number if the list was complete. `None` if
    /// the repository was not listed.
    pub listed: Option<u32>,
}

impl ObservedRepository {
    /// The same observation of each image, if nothing more is known about any.
    #[must_use]
    pub fn all(digests: &BTreeSet<Digest>, observation: &Observation) -> Self {
        Self { images: digests.iter().map(|digest| (digest.clone(), observation.clone())).collect(), listed: None }
    }
}

/// A deletion that is due, and what is recorded about its image.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The deletion.
    pub deletion: Deletion,
    /// What is recorded about the image.
    pub lineage: Lineage,
}

impl Candidate {
    /// The key under which a breaker counts the deletion.
    #[must_use]
    pub fn count_key(&self) -> CountKey {
        let Deletion { registry, image, .. } = &self.deletion;
        let class = BreakerClass::of(&self.deletion.cause(&self.lineage));
        CountKey { class, registry: registry.clone(), repository: image.repository.clone() }
    }
}

/// Everything that was read about some deletions. A plan depends on nothing else but the policy, the mode, the limits
/// and the time.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// The deletions.
    pub candidates: Vec<Candidate>,
    /// The replication rules of every known registry, or why they could not be read.
    pub rules: BTreeMap<Registry, Result<ReplicationRules, String>>,
    /// The repositories that were read.
    pub repositories: BTreeMap<Registry, BTreeMap<RepositoryName, ObservedRepository>>,
    /// The breakers of the sources.
    pub breakers: BTreeMap<Registry, Breaker>,
    /// The pauses and holds; `None` if they were not read.
    pub controls: Option<Controls>,
    /// What uses the images; `None` if no service and no list is configured to be read.
    pub usage: Option<UsageObservations>,
}

impl Observations {
    /// What was read of a repository; `None` if it was not read.
    #[must_use]
    pub fn repository(&self, registry: &Registry, repository: &RepositoryName) -> Option<&ObservedRepository> {
        self.repositories.get(registry)?.get(repository)
    }

    /// The observation of an image.
    #[must_use]
    pub fn image(&self, registry: &Registry, image: &Image) -> &Observation {
        let found = self.repository(registry, &image.repository).and_then(|found| found.images.get(&image.digest));
        found.unwrap_or(&Observation::NotAsked)
    }

    /// Who uses what a deletion removes: the tag, or the image with everything that needs it.
    #[must_use]
    pub fn users(&self, Deletion { registry, image, tag, .. }: &Deletion) -> ImageUsers {
        let Some(usage) = &self.usage else { return ImageUsers::default() };
        let tags = |digest: &Digest| {
            let image = Image { repository: image.repository.clone(), digest: digest.clone() };
            self.image(registry, &image).seen().map(|seen| seen.tags.clone()).unwrap_or_default()
        };
        match tag {
            Some(tag) => usage.tag_in_use(registry, &image.repository, tag),
            None => usage.in_use(registry, image, &tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_all_images_is_known_of_each() {
        let digests: BTreeSet<Digest> =
            ["a", "b"].map(|letter| format!("sha256:{}", letter.repeat(64)).parse().unwrap()).into();
        let all = ObservedRepository::all(&digests, &Observation::NoRepository);
        let each = digests.into_iter().map(|digest| (digest, Observation::NoRepository));
        assert_eq!(all.images, each.collect());
        assert_eq!(all.listed, None);
    }
}
