//! What a listing saw of the images of a repository: their sizes, pulls and storage classes, and where they came from.
//!
//! It is not evidence: it says what was there when the registry was listed, and nothing about any other time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    image::{Digest, Registry},
    lineage::Placement,
    observation::ObservedImage,
    policy::ManifestKind,
};

/// What a listing saw of a repository in one registry, by image.
pub type Inventory = BTreeMap<Digest, InventoryEntry>;

/// What a listing saw of one image in one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryEntry {
    /// The size that ECR reports, in bytes. Of an index it is the size of the largest image that the index refers to.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html>
    pub size_bytes: u64,
    /// When the image arrived in this registry, by a push or by replication.
    pub arrived_at: Option<Timestamp>,
    /// The last pull that ECR recorded; `None` if it recorded none.
    pub last_pulled_at: Option<Timestamp>,
    /// Whether the image is in the archive storage class, or is being restored from it.
    pub archived: bool,
    /// Whether the image has a tag.
    pub tagged: bool,
    /// What the manifest is.
    pub kind: ManifestKind,
    /// Where the image came from, as far as was recorded when it was listed.
    pub origin: Origin,
}

/// Where an image in a registry came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// It was pushed to this registry, or brought by its pull through cache.
    Pushed,
    /// It was replicated from these sources, and no push to this registry is recorded.
    Replicated(BTreeSet<Registry>),
    /// Neither is recorded: the image is older than the deployment, or its event was lost.
    #[default]
    Unknown,
}

impl Origin {
    /// The origin that is recorded of an image in a registry.
    #[must_use]
    pub fn of(placement: &Placement) -> Self {
        let sources = placement.replicated();
        if placement.pushed().is_some() {
            Self::Pushed
        } else if sources.is_empty() {
            Self::Unknown
        } else {
            Self::Replicated(sources.into_keys().cloned().collect())
        }
    }
}

impl InventoryEntry {
    /// What a listing saw of an image, and its recorded origin.
    #[must_use]
    pub fn new(seen: &ObservedImage, origin: Origin) -> Self {
        Self {
            size_bytes: seen.size_bytes,
            arrived_at: seen.pushed_at,
            last_pulled_at: seen.last_pulled_at,
            archived: seen.archived,
            tagged: !seen.tags.is_empty(),
            kind: seen.kind,
            origin,
        }
    }

    /// Whether the image arrived before a time, and ECR recorded no pull since.
    #[must_use]
    pub fn is_unpulled_since(&self, time: Timestamp) -> bool {
        self.arrived_at.max(self.last_pulled_at).is_some_and(|at| at < time)
    }
}

/// What the last listing of a registry saw of an image there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedCopy {
    /// The size that ECR reports, in bytes; of an index, that of the largest image that it refers to.
    pub size_bytes: u64,
    /// The last pull that ECR recorded, up to 24 hours old; absent if it recorded none. Pulls by principals on ECR's list
    /// of pull-time exclusions are not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pulled_at: Option<Timestamp>,
}

impl From<&InventoryEntry> for ListedCopy {
    fn from(entry: &InventoryEntry) -> Self {
        Self { size_bytes: entry.size_bytes, last_pulled_at: entry.last_pulled_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}T00:00:00Z").parse().unwrap()
    }

    #[test]
    fn an_image_that_is_young_or_of_unknown_age_is_not_unpulled() {
        let seen = |arrived: Option<&str>, pulled: Option<&str>| {
            let seen =
                ObservedImage { pushed_at: arrived.map(at), last_pulled_at: pulled.map(at), ..Default::default() };
            InventoryEntry::new(&seen, Origin::Unknown).is_unpulled_since(at("09-01"))
        };
        assert!(seen(Some("08-01"), None));
        assert!(seen(Some("08-01"), Some("08-31")));
        assert!(!seen(Some("08-01"), Some("09-02")));
        assert!(!seen(Some("09-02"), None));
        // Pushed again after its last pull.
        assert!(!seen(Some("09-02"), Some("08-01")));
        assert!(!seen(None, None));
    }
}
