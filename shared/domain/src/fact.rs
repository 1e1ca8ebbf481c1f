//! Facts: things that happened, as an event or an observation reported them. Facts are immutable.

mod work;

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use work::{StartedWork, WorkItem, work_started_by};

use crate::{
    image::{Digest, Image, Registry, RepositoryName, Tag},
    named::named,
};

/// One thing that happened to one subject in one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fact {
    /// When it happened, in whole seconds: the resolution of ECR's events.
    pub time: Timestamp,
    /// The registry in which it happened.
    pub registry: Registry,
    /// The id of the event that reported it. One event reports at most one fact about a subject.
    pub event_id: String,
    /// What it happened to.
    #[serde(skip)]
    pub subject: Subject,
    /// What happened.
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
    /// Nothing narrower than the registry is known.
    #[default]
    Registry,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum What {
    /// A caller pushed the image to this registry, or put a tag on it.
    Pushed {
        /// The tag of the push. Absent for a push by digest, such as a child of an index.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// The media type of the artifact, if ECR reports it. It distinguishes a signature or an SBOM from an image.
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_media_type: Option<String>,
        /// The platforms of an index, by name, as `linux/arm64` or `linux/arm/v7`. Empty for any other image, and if
        /// CloudTrail did not report the manifest.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        platforms: BTreeSet<String>,
        /// The caller's ARN, or else the most specific identity that CloudTrail names; absent if the event names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The pull through cache of this registry brought the image from an upstream registry.
    Cached {
        /// The host name of the upstream registry, such as `public.ecr.aws`.
        upstream: String,
        /// The tag with which it was pulled; absent for a pull by digest.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
    /// ECR replicated the image to this registry.
    Replicated {
        /// The source registry.
        source: Registry,
        /// The tag with which ECR replicated the image; absent if it was replicated without a tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
    },
    /// ECR tried to replicate the image to this registry and failed. Changes no placement.
    ReplicationFailed {
        /// The source registry.
        source: Registry,
        /// The tag with which ECR tried to replicate the image; absent if there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<Tag>,
        /// ECR's failure code, if the event has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// ECR's reason in words, if the event has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The image was deleted here, with all its tags.
    ImageDeleted {
        /// Who or what deleted it, if the event says so.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Tags were removed from the image here. ECR deletes an image together with its last tag and sends no event for
    /// that.
    TagsDeleted {
        /// The removed tags, by name.
        tags: BTreeSet<Tag>,
        /// Who or what removed them, if the event says so.
        #[serde(flatten)]
        cause: Cause,
    },
    /// A call that AWS refused, or whose outcome is not known. Changes no placement.
    Attempted {
        /// The API action that was called, such as `BatchDeleteImage`, or the action of the lifecycle rule.
        call: String,
        /// Why it was refused: the failure code of the image, or the error code of the whole call. Absent if CloudTrail
        /// left out the response for its size: whether the call had any effect is not known then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// Why it was refused, in AWS's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who or what made the call.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The repository was deleted here.
    RepositoryDeleted {
        /// Whether it is proven that the repository had no image: ECR deletes one that has images only with `force`.
        #[serde(default, skip_serializing_if = "is_false")]
        empty: bool,
        /// When the registry was listed, if the event arrived only after that: what was listed is still there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed_at: Option<Timestamp>,
        /// Who deleted it.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The image was moved to the archive storage class: it is kept and listed, but not pullable.
    Archived {
        /// Who or what archived it, if the event says so.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The image was moved back to the standard storage class.
    Restored,
    /// ecr-lineage read the image from the registry.
    Observed {
        /// The storage class of the image; `null` if the image was not there.
        storage: Option<StorageClass>,
        /// Tags, by name, that the image had: all of them if `complete`.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tags: BTreeSet<Tag>,
        /// Tags, by name, that were recorded and that the image did not have.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        without: BTreeSet<Tag>,
        /// Whether the image had no other tags than these.
        #[serde(default, skip_serializing_if = "is_false")]
        complete: bool,
        /// The source registry of this replica, if ECR reports one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Registry>,
    },
    /// A caller changed a setting of the registry, the repository or the image.
    Changed {
        /// The setting.
        setting: Setting,
        /// The caller's ARN, or else the most specific identity that CloudTrail names.
        by: String,
    },
    /// Any other ECR event. It is kept and changes no placement.
    Other {
        /// The `detail-type` of the EventBridge event.
        detail_type: String,
        /// The `detail` as JSON text; absent if it is longer than 3,000 bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl Fact {
    /// The longest `detail` that is kept of an event that changes nothing, in bytes. It keeps the cost of storing such
    /// an event below four write units, while every documented ECR event (under 2 kB) fits.
    pub const DETAIL_BYTES: usize = 3_000;

    /// What separates the `sharedEventID` of a CloudTrail record from its own `eventID`, in an event id that has both.
    pub const SHARED: char = '.';

    /// The longest reason that is kept of a refused call, in characters.
    pub const REASON_CHARS: usize = 400;

    /// What happened, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let by = |cause: &Cause| match cause {
            Cause::Unknown => String::new(),
            known => format!(" {known}"),
        };
        match &self.what {
            What::Pushed { tag, by, .. } => {
                let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                format!("pushed {}{by}", as_tag(tag.as_ref()))
            }
            What::Cached { upstream, tag } => {
                format!("brought {} from {upstream} by the pull through cache", as_tag(tag.as_ref()))
            }
            What::Replicated { source, tag: Some(tag) } => format!("replicated as {tag} from {source}"),
            What::Replicated { source, tag: None } => format!("replicated without a tag from {source}"),
            What::ReplicationFailed { source, code, reason, .. } => {
                format!("replication failed from {source}{}", why(code.as_deref(), reason.as_deref()))
            }
            What::ImageDeleted { cause } => format!("deleted{}", by(cause)),
            What::RepositoryDeleted { empty, cause: Cause::Repository { by }, .. } => {
                if *empty {
                    format!("empty repository deleted by {by}")
                } else {
                    format!("repository deleted by {by}")
                }
            }
            What::RepositoryDeleted { .. } => format!("repository found missing{}", self.found_by()),
            What::TagsDeleted { tags, cause } => format!("tag {} deleted{}", list(tags), by(cause)),
            What::Attempted { call, code: None, cause, .. } => {
                format!("{call} called{}, outcome not recorded", by(cause))
            }
            What::Attempted { call, code, reason, cause } => {
                format!("{call}{} refused{}", by(cause), why(code.as_deref(), reason.as_deref()))
            }
            What::Archived { cause } => format!("archived{}", by(cause)),
            What::Restored => "restored".to_owned(),
            What::Observed { storage: None, .. } => format!("found missing{}", self.found_by()),
            What::Observed { storage: Some(class), tags, without, source, .. } => {
                let found = match class {
                    StorageClass::Standard => "found",
                    StorageClass::Archive => "found archived",
                };
                let mut text = format!("{found}{}", self.found_by());
                if !tags.is_empty() {
                    _ = write!(text, " with tag {}", list(tags));
                }
                if !without.is_empty() {
                    _ = write!(text, ", tag {} found missing", list(without));
                }
                if let Some(source) = source {
                    _ = write!(text, ", replicated from {source}");
                }
                text
            }
            What::Changed { setting, by } => format!("{} changed by {by}", setting.words()),
            What::Other { detail_type, .. } => detail_type.clone(),
        }
    }

    /// The function that found the fact by reading the registry. A fact that an event reported has another id.
    fn found_by(&self) -> &'static str {
        match self.event_id.split('-').next() {
            Some("watch") => " by watch",
            Some("reconcile") => " by reconcile",
            Some("mirror") => " by mirror",
            Some("backfill") => " by a backfill",
            Some("list") => " in a list",
            _ => "",
        }
    }
}

/// Why something was refused or failed: ` (code: reason)`, or nothing if neither is known.
fn why(code: Option<&str>, reason: Option<&str>) -> String {
    match (code, reason) {
        (Some(code), Some(reason)) => format!(" ({code}: {reason})"),
        (Some(text), None) | (None, Some(text)) => format!(" ({text})"),
        (None, None) => String::new(),
    }
}

fn as_tag(tag: Option<&Tag>) -> String {
    tag.map_or_else(|| "without a tag".to_owned(), |tag| format!("as {tag}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn list(tags: &BTreeSet<Tag>) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")
}

/// ECR's storage classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StorageClass {
    /// The image can be pulled.
    Standard,
    /// The image is kept and listed, but cannot be pulled until it is restored.
    Archive,
}

named! {
    /// A setting that callers change.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum Setting {
        /// The replication rules of the registry.
        ReplicationRules = "replication_rules",
        /// The policy of the registry: which other accounts may replicate to it.
        RegistryPolicy = "registry_policy",
        /// The policy of the repository: who may use it.
        RepositoryPolicy = "repository_policy",
        /// The lifecycle policy of the repository: which images expire.
        LifecyclePolicy = "lifecycle_policy",
        /// Whether tags of the repository may be moved.
        TagMutability = "tag_mutability",
        /// The storage class of the image: its restore was requested.
        StorageClass = "storage_class",
    }
}

impl Setting {
    /// The setting in words.
    #[must_use]
    pub fn words(self) -> String {
        self.as_str().replace('_', " ")
    }
}

/// Who or what deleted or archived. ECR's own events never say; CloudTrail does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Cause {
    /// Not known. Treated as the most dangerous cause.
    #[default]
    Unknown,
    /// A caller of the ECR API: a person, a role or a pipeline.
    Principal {
        /// The caller's ARN, or else the most specific identity that CloudTrail names.
        by: String,
    },
    /// The lifecycle policy of the repository.
    Lifecycle {
        /// The priority of the rule, which identifies it within the policy.
        rule: i64,
        /// The description of the rule, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// The deletion of the whole repository.
    Repository {
        /// The caller's ARN, or else the most specific identity that CloudTrail names.
        by: String,
    },
    /// ecr-lineage, which mirrored the deletion at the source to this replica.
    Mirror {
        /// The source registry.
        source: Registry,
        /// The policies that permitted it, by name.
        policies: BTreeSet<String>,
        /// Who approved it, and why; absent without an approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
}

impl Cause {
    /// The names of all kinds of causes, as in policies.
    pub const NAMES: [&'static str; 5] = ["principal", "lifecycle", "repository", "mirror", "unknown"];

    /// The name of this kind of cause, as in its JSON and in policies.
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

impl Cause {
    /// Whether the caller is named by an ARN. In the trail of another account, CloudTrail names only an opaque id.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Principal { by } | Self::Repository { by } => by.starts_with("arn:"),
            Self::Unknown | Self::Lifecycle { .. } | Self::Mirror { .. } => true,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("cause unknown"),
            Self::Principal { by } => write!(f, "by {by}"),
            Self::Lifecycle { rule, description: None } => write!(f, "by lifecycle rule {rule}"),
            Self::Lifecycle { rule, description: Some(text) } => write!(f, "by lifecycle rule {rule} ({text})"),
            Self::Repository { by } => write!(f, "with its repository, by {by}"),
            Self::Mirror { source, policies, approval } => {
                let policies: Vec<_> = policies.iter().map(String::as_str).collect();
                write!(f, "by ecr-lineage, following {source} (policy {})", policies.join(", "))?;
                approval.as_ref().map_or(Ok(()), |approval| write!(f, ", approved by {approval}"))
            }
        }
    }
}

impl What {
    /// The registry was read, and the image was not there.
    pub const FOUND_MISSING: Self = Self::Observed {
        storage: None,
        tags: BTreeSet::new(),
        without: BTreeSet::new(),
        complete: false,
        source: None,
    };

    /// The name of this kind of fact, as in its JSON and in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pushed { .. } => "pushed",
            Self::Cached { .. } => "cached",
            Self::Replicated { .. } => "replicated",
            Self::ReplicationFailed { .. } => "replication_failed",
            Self::ImageDeleted { .. } => "image_deleted",
            Self::TagsDeleted { .. } => "tags_deleted",
            Self::Attempted { .. } => "attempted",
            Self::RepositoryDeleted { .. } => "repository_deleted",
            Self::Archived { .. } => "archived",
            Self::Restored => "restored",
            Self::Observed { .. } => "observed",
            Self::Changed { .. } => "changed",
            Self::Other { .. } => "other",
        }
    }
}

impl Subject {
    /// The image if there is a digest, else the repository.
    pub(crate) fn narrowest(repository: RepositoryName, digest: Option<Digest>) -> Self {
        match digest {
            Some(digest) => Self::Image(Image { repository, digest }),
            None => Self::Repository(repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of variants of an enum that is read from JSON, from the message that lists them.
    fn variants<T: serde::de::DeserializeOwned + fmt::Debug>(tag: &str) -> usize {
        let error = serde_json::from_str::<T>(&format!(r#"{{"{tag}": "?"}}"#)).unwrap_err().to_string();
        error.split_once("expected one of ").unwrap().1.matches('`').count() / 2
    }

    #[test]
    fn the_names_in_the_code_are_those_in_json() {
        let source: Registry = "111122223333/eu-west-1".parse().unwrap();
        let by = "dana".to_owned();
        let causes = [
            Cause::Unknown,
            Cause::Principal { by: by.clone() },
            Cause::Lifecycle { rule: 1, description: None },
            Cause::Repository { by: by.clone() },
            Cause::Mirror { source: source.clone(), policies: BTreeSet::new(), approval: None },
        ];
        for cause in &causes {
            assert_eq!(serde_json::to_value(cause).unwrap()["cause"], cause.as_str());
        }
        assert_eq!(causes.len(), variants::<Cause>("cause"));
        let cause = Cause::Unknown;
        let all = [
            What::Pushed { tag: None, artifact_media_type: None, platforms: BTreeSet::new(), by: None },
            What::Cached { upstream: String::new(), tag: None },
            What::Replicated { source: source.clone(), tag: None },
            What::ReplicationFailed { source, tag: None, code: None, reason: None },
            What::ImageDeleted { cause: cause.clone() },
            What::TagsDeleted { tags: BTreeSet::new(), cause: cause.clone() },
            What::Attempted { call: String::new(), code: None, reason: None, cause: cause.clone() },
            What::RepositoryDeleted { empty: false, listed_at: None, cause: cause.clone() },
            What::Archived { cause },
            What::Restored,
            What::FOUND_MISSING,
            What::Changed { setting: Setting::ReplicationRules, by },
            What::Other { detail_type: String::new(), detail: None },
        ];
        for what in &all {
            assert_eq!(serde_json::to_value(what).unwrap()["what"], what.kind());
        }
        assert_eq!(all.len(), variants::<What>("what"));
    }
}
