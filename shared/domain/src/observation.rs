//! What a read of a registry showed of an image.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    image::{Digest, Tag},
    policy::ManifestKind,
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
