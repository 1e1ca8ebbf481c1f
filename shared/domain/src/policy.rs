//! What a policy is asked about a replica, and what it answers. Who answers is somebody else's concern.

use std::{collections::BTreeSet, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    fact::Cause,
    image::{Image, Registry, Tag},
};

/// What may be done to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Action {
    /// Delete the image with all its tags.
    Delete,
    /// Move the image to the archive storage class, from where it can be restored.
    Archive,
    /// Remove one tag, never the last.
    Untag,
}

impl Action {
    /// The word for it, in policies and everywhere else.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Archive => "archive",
            Self::Untag => "untag",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestKind {
    /// An image of one platform, or anything else that is a plain manifest.
    #[default]
    Image,
    /// An image index or a manifest list.
    Index,
    /// A signature, an SBOM or another artifact that refers to a subject.
    Referrer,
}

impl ManifestKind {
    /// The word for it, in policies and everywhere else.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::Referrer => "referrer",
        }
    }
}

/// Everything that a policy may know about a replica and the loss of its source.
#[derive(Debug, Clone)]
pub struct PolicyQuestion<'a> {
    /// The registry that lost the image, or the tag.
    pub source: &'a Registry,
    /// The image.
    pub image: &'a Image,
    /// The registry of the replica.
    pub registry: &'a Registry,
    /// The tags of the replica.
    pub tags: &'a BTreeSet<Tag>,
    /// Those of its tags that the source never had.
    pub replica_only_tags: &'a BTreeSet<Tag>,
    /// The newest push at the source.
    pub pushed_at: Option<Timestamp>,
    /// The newest replication from the source.
    pub replicated_at: Timestamp,
    /// The last pull of the replica, up to 24 hours late; none was recorded if there is none.
    pub last_pulled_at: Option<Timestamp>,
    /// The size of the replica.
    pub size_bytes: u64,
    /// What the manifest is.
    pub kind: ManifestKind,
    /// Whether the replica is in the archive storage class.
    pub archived: bool,
    /// Now.
    pub now: Timestamp,
    /// Since when the replica is without its source, or without the tag there.
    pub since: Timestamp,
    /// Why the source lost it.
    pub cause: &'a Cause,
    /// In how many other registries the image was found, and stays.
    pub other_copies: u64,
    /// The tag, if a tag is meant and not the image.
    pub tag: Option<&'a Tag>,
}

/// What a policy answers about one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// Whether the action is permitted. Never, if anything failed to evaluate.
    pub permitted: bool,
    /// The policies that decided: those that permit, or those that forbid; none if nothing permits.
    pub policies: BTreeSet<String>,
    /// The policies that failed to evaluate, with the reason.
    pub errors: Vec<String>,
    /// How long to wait after the loss: the longest of the policies that permit.
    pub grace: SignedDuration,
    /// Whether a person must approve: if any policy that permits asks for it.
    pub approval: bool,
    /// Whether replicas with tags that the source never had may go: if all policies that permit say so.
    pub replica_only_tags: bool,
}
