//! One thing that happened, as an event told it. Facts are never changed.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::{Digest, Image, Registry, RepositoryName, Tag};

/// One thing that happened to one subject in one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fact {
    /// When, in whole seconds: the resolution of ECR's events.
    pub time: Timestamp,
    /// Where.
    pub registry: Registry,
    /// The id of the event that told it. One event tells at most one fact about a subject.
    pub event_id: String,
    /// To what.
    #[serde(skip)]
    pub subject: Subject,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What a fact is about, as narrow as the event allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Subject {
    /// One image.
    Image(Image),
    /// A repository as a whole.
    Repository(RepositoryName),
    /// Nothing narrower than the registry.
    #[default]
    Registry,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum What {
    /// Somebody pushed the image here, or put a tag on it.
    Pushed {
        /// The tag of the push; a child of an index has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// The media type of what was pushed, where ECR says it: tells a signature or an SBOM from an image.
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_media_type: Option<String>,
    },
    /// Replication brought the image here.
    Replicated {
        /// The registry it came from.
        source: Registry,
        /// The tag it came with.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
    /// Replication tried to bring the image here and failed. Changes no placement.
    ReplicationFailed {
        /// The registry it should have come from.
        source: Registry,
        /// The tag it should have come with.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
    /// The image itself was deleted here, with every tag it had.
    ImageDeleted {
        /// Who or what did it, if this event knows.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Tags were removed from the image here. ECR deletes an image with its last tag, and does not say so.
    TagsDeleted {
        /// The tags.
        tags: BTreeSet<Tag>,
        /// Who or what did it, if this event knows.
        #[serde(flatten)]
        cause: Cause,
    },
    /// A deletion was asked for and refused. Changes no placement.
    DeletionFailed {
        /// ECR's failure code, or the error code of the whole call.
        code: String,
        /// Who or what asked.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The repository was deleted here, with every image in it.
    RepositoryDeleted {
        /// Who did it.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The image was moved to the archive storage class: kept, listed, not pullable.
    Archived {
        /// Who or what did it, if this event knows.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The image was moved back to the standard storage class.
    Restored,
    /// Somebody looked into the registry.
    Observed {
        /// How the image was kept there; nothing if it was not there.
        storage: Option<StorageClass>,
        /// Tags that were seen on it.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tags: BTreeSet<Tag>,
        /// Tags that it was thought to have, and that were not seen on it.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        without: BTreeSet<Tag>,
        /// The registry that replicated it here, as ECR says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Registry>,
    },
    /// Somebody changed what the registry replicates.
    ReplicationConfigured {
        /// The caller's ARN, or the nearest thing CloudTrail has.
        by: String,
    },
    /// Anything else that ECR told: kept, and changes nothing.
    Other {
        /// EventBridge's `detail-type`.
        detail_type: String,
        /// The `detail` as JSON, unless it is longer than [`Fact::DETAIL_BYTES`].
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl Fact {
    /// The longest `detail` kept of an event that changes nothing, in bytes: keeps the price of such an event below
    /// four write units, while every documented ECR event (under 2 kB) fits.
    pub const DETAIL_BYTES: usize = 3_000;
}

/// ECR's storage classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StorageClass {
    /// Pullable.
    Standard,
    /// Kept and listed, not pullable until restored.
    Archive,
}

/// Who or what deleted or archived. ECR's own events never say; CloudTrail does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Cause {
    /// Not known, to be treated with the most care.
    #[default]
    Unknown,
    /// A caller of the API: a person, a role, a pipeline.
    Principal {
        /// The caller's ARN, or the nearest thing CloudTrail has.
        by: String,
    },
    /// The repository's lifecycle policy.
    Lifecycle {
        /// The rule's priority, its name within a policy.
        rule: i64,
        /// The rule's description, where it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// The deletion of the whole repository.
    Repository {
        /// The caller's ARN, or the nearest thing CloudTrail has.
        by: String,
    },
    /// Ours: a replica followed its source.
    Mirror {
        /// The registry that it followed.
        source: Registry,
        /// The policies that permitted it.
        policies: BTreeSet<String>,
    },
}

impl Cause {
    /// The word for this kind of cause, as in its JSON and in policies.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Principal { .. } => "principal",
            Self::Lifecycle { .. } => "lifecycle",
            Self::Repository { .. } => "repository",
            Self::Mirror { .. } => "mirror",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "unknown cause"),
            Self::Principal { by } => write!(f, "by {by}"),
            Self::Lifecycle { rule, description: None } => write!(f, "by lifecycle rule {rule}"),
            Self::Lifecycle { rule, description: Some(text) } => write!(f, "by lifecycle rule {rule} ({text})"),
            Self::Repository { by } => write!(f, "with its repository, by {by}"),
            Self::Mirror { source, policies } => {
                let policies: Vec<_> = policies.iter().map(String::as_str).collect();
                write!(f, "by ecr-lineage, following {source} (policy {})", policies.join(", "))
            }
        }
    }
}

impl What {
    /// Somebody looked, and it was not there.
    pub const FOUND_MISSING: Self =
        Self::Observed { storage: None, tags: BTreeSet::new(), without: BTreeSet::new(), source: None };

    /// The word for this kind of fact, as in its JSON and in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pushed { .. } => "pushed",
            Self::Replicated { .. } => "replicated",
            Self::ReplicationFailed { .. } => "replication_failed",
            Self::ImageDeleted { .. } => "image_deleted",
            Self::TagsDeleted { .. } => "tags_deleted",
            Self::DeletionFailed { .. } => "deletion_failed",
            Self::RepositoryDeleted { .. } => "repository_deleted",
            Self::Archived { .. } => "archived",
            Self::Restored => "restored",
            Self::Observed { .. } => "observed",
            Self::ReplicationConfigured { .. } => "replication_configured",
            Self::Other { .. } => "other",
        }
    }
}

impl Subject {
    /// The image of an optional digest, else the repository.
    pub(crate) fn narrowest(repository: RepositoryName, digest: Option<Digest>) -> Self {
        match digest {
            Some(digest) => Self::Image(Image { repository, digest }),
            None => Self::Repository(repository),
        }
    }
}
