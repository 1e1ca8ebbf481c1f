//! The question that is put to a policy about a replica, and its answer. The crate `policy` evaluates it.

use std::{collections::BTreeSet, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    fact::Cause,
    image::{Image, Registry, Tag},
    named::named,
    usage::ImageUsers,
};

named! {
    /// What can be done to a replica.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Action {
        /// Delete the image with all its tags.
        Delete = "delete",
        /// Move the image to the archive storage class. It can be restored from there.
        Archive = "archive",
        /// Remove one tag, never the last one.
        Untag = "untag",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

named! {
    /// What a manifest is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub enum ManifestKind {
        /// A plain manifest: an image of one platform, or any other artifact without a subject.
        #[default]
        Image = "image",
        /// An image index or a manifest list.
        Index = "index",
        /// A signature, an SBOM or another artifact that refers to a subject.
        Referrer = "referrer",
    }
}

/// Everything that a policy can use: the replica, and what its source lost.
#[derive(Debug, Clone)]
pub struct PolicyQuestion<'a> {
    /// The registry that lost the image, or the tag.
    pub source: &'a Registry,
    /// The repository and the digest.
    pub image: &'a Image,
    /// The registry of the replica.
    pub registry: &'a Registry,
    /// The tags of the replica.
    pub tags: &'a BTreeSet<Tag>,
    /// The tags of the replica that the source never had.
    pub replica_only_tags: &'a BTreeSet<Tag>,
    /// The newest push at the source; `None` if no push is recorded.
    pub pushed_at: Option<Timestamp>,
    /// The newest replication from the source.
    pub replicated_at: Timestamp,
    /// The last pull of the replica; `None` if ECR reports none. ECR updates this with a delay of up to 24 hours.
    pub last_pulled_at: Option<Timestamp>,
    /// The size of the replica in bytes.
    pub size_bytes: u64,
    /// What the manifest is.
    pub kind: ManifestKind,
    /// Whether the replica is in the archive storage class.
    pub archived: bool,
    /// Who uses the replica; `None` if that was not read.
    pub users: Option<&'a ImageUsers>,
    /// The time of the evaluation.
    pub now: Timestamp,
    /// Since when the source lacks the image or the tag, or since when the replica arrived if that is later.
    pub since: Timestamp,
    /// Who or what deleted the image, or the tag, at the source.
    pub cause: &'a Cause,
    /// The number of other registries that have the image and keep it.
    pub other_copies: u64,
    /// The tag, if the deletion is about a tag and not about the image.
    pub tag: Option<&'a Tag>,
}

/// The answer of the policies about one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// Whether the action is permitted. Never if a policy failed to evaluate.
    pub permitted: bool,
    /// The names of the policies that decided: those that permit or those that forbid; empty if none permits.
    pub policies: BTreeSet<String>,
    /// The policies that failed to evaluate, with the reason.
    pub errors: Vec<String>,
    /// The grace period: the longest of those of the policies that permit.
    pub grace: SignedDuration,
    /// Whether an operator must approve: true if any policy that permits requires it.
    pub approval: bool,
    /// Whether a replica with tags that the source never had may be deleted: true if all policies that permit allow it.
    pub replica_only_tags: bool,
}
