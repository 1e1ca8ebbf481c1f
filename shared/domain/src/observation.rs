//! What a read of a registry showed of an image.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    image::{Digest, Tag},
    policy::ManifestKind,
};

/// An image as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedImage {
    /// Its tags.
    pub tags: BTreeSet<Tag>,
    /// Whether it is in the archive storage class, or on its way back from there.
    pub archived: bool,
    /// When it was pushed there, by somebody or by replication.
    pub pushed_at: Option<Timestamp>,
    /// When it was last pulled there, up to 24 hours late.
    pub last_pulled_at: Option<Timestamp>,
    /// Its size.
    pub size_bytes: u64,
    /// What the manifest is.
    pub kind: ManifestKind,
    /// What it refers to, if it is a referrer.
    pub subject: Option<Digest>,
}

/// What a look into a registry showed of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Observation {
    /// It is there, in whatever storage class.
    Present(ObservedImage),
    /// The repository is there, the image is not.
    Missing,
    /// The repository is not there.
    NoRepository,
    /// The registry could not be asked, for this reason.
    Unreadable(String),
    /// Nobody asked.
    #[default]
    NotAsked,
}
