//! Errors of queries and operator actions: one line for the error, one for the next step.

use domain::image::{Image, Registry, RepositoryName};

/// The error of a query or of an operator action.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] store::Error),
    /// The image is unknown.
    #[error("no image `{asked}` is known")]
    UnknownImage {
        /// The reference, as the caller wrote it.
        asked: String,
        /// The repository, if the reference names one.
        repository: Option<RepositoryName>,
    },
    /// No image of the repository is known.
    #[error("no image of repository `{repository}` is known")]
    UnknownRepository {
        /// The repository.
        repository: RepositoryName,
    },
    /// The tag was never seen.
    #[error("tag `{asked}` was never seen{}", in_registry(registry.as_ref()))]
    UnknownTag {
        /// The reference, as the caller wrote it.
        asked: String,
        /// The only registry of the query.
        registry: Option<Registry>,
        /// The repository of the tag.
        repository: RepositoryName,
    },
    /// No image has the tag now.
    #[error("tag `{asked}` means no image now")]
    PastTag {
        /// The reference, as the caller wrote it.
        asked: String,
    },
    /// The shortened digest matches more than one image.
    #[error("`{asked}` is the beginning of more than one digest: {}", list(found))]
    Ambiguous {
        /// The reference, as the caller wrote it.
        asked: String,
        /// Some of the matches.
        found: Vec<Image>,
    },
    /// The selected deletion does not exist.
    #[error("no deletion of `{asked}` is recorded{}", in_registry(registry.as_ref()))]
    NoDeletion {
        /// The image of the query.
        asked: Image,
        /// The only registry of the query.
        registry: Option<Registry>,
    },
    /// The deletion's status does not allow the action.
    #[error(transparent)]
    InvalidTransition(#[from] domain::deletion::InvalidTransition),
    /// Another process changed the object at the same time.
    #[error("{what} was changed by another process at the same time")]
    Changed {
        /// The object that changed.
        what: String,
    },
    /// No event of the registry was ever recorded.
    #[error("registry `{registry}` is not known")]
    UnknownRegistry {
        /// The registry of the query.
        registry: Registry,
    },
    /// `mirror` has not run with the table.
    #[error("no policy is known: `mirror` has not run with this table")]
    NoMirror,
    /// The policy of `mirror` is invalid.
    #[error("the policy of `mirror` is invalid, and nothing is mirrored: {problem}")]
    MirrorsPolicyInvalid {
        /// The problem.
        problem: String,
    },
    /// No registry in the region is known.
    #[error("no registry in `{region}` is known")]
    UnknownRegion {
        /// The region of the query.
        region: String,
    },
    /// No such hold lasts.
    #[error("no hold `{asked}` lasts")]
    NoHold {
        /// The ID or the pattern, as the caller wrote it.
        asked: String,
    },
    /// Another operator put it on hold.
    #[error("`{asked}` is not your hold: {}", of_others.join("; "))]
    HoldOfOther {
        /// The ID or the pattern, as the caller wrote it.
        asked: String,
        /// The holds.
        of_others: Vec<String>,
    },
    /// A hold or a snooze needs a reason.
    #[error("{of} needs a reason")]
    NoReason {
        /// What needs it.
        of: &'static str,
    },
    /// No such incident is open.
    #[error("no incident `{asked}` is open")]
    NoIncident {
        /// The ID, as the caller wrote it.
        asked: String,
    },
    /// The end of a pause, hold or snooze is not in the future.
    #[error("the end {until} is over")]
    EndIsOver {
        /// The end.
        until: String,
    },
    /// There is no such pause.
    #[error("deletions of {} are not paused{}", only.as_ref().map_or("every source", Registry::as_str), also(others))]
    NotPaused {
        /// The only source of the query.
        only: Option<Registry>,
        /// The pauses of other sources, or of all.
        others: Vec<String>,
    },
    /// What an operator did took effect, and could not be recorded as activity.
    #[error("{done}: this took effect, but it is missing in the list of activity")]
    ActNotRecorded {
        /// What was done, in one line.
        done: String,
        /// Why it could not be recorded.
        #[source]
        source: store::Error,
    },
    /// The image is not a replica in the registry.
    #[error("`{image}` is not known as a replica in `{registry}`")]
    NoReplica {
        /// The image of the query.
        image: Image,
        /// The registry of the query.
        registry: Registry,
    },
}

fn in_registry(registry: Option<&Registry>) -> String {
    registry.map(|registry| format!(" in `{registry}`")).unwrap_or_default()
}

fn also(pauses: &[String]) -> String {
    if pauses.is_empty() { String::new() } else { format!("; but {}", pauses.join("; ")) }
}

fn list(images: &[Image]) -> String {
    images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// The recommended next step.
    #[must_use]
    pub fn remediation(&self) -> Option<String> {
        Some(match self {
            Self::Table(_) => return None,
            Self::UnknownImage { repository: Some(repository), .. } | Self::UnknownTag { repository, .. } => {
                format!("`ecr-lineage images {repository}` lists what is known")
            }
            Self::UnknownImage { repository: None, .. } => {
                "check the digest, or name the image by its tag: `ecr-lineage show REPO:TAG`".into()
            }
            Self::UnknownRepository { .. } => {
                "check the name; `ecr-lineage ingest FILE` records events that are not recorded yet".into()
            }
            Self::PastTag { asked } => format!("`ecr-lineage history {asked}` shows which images it meant"),
            Self::Ambiguous { .. } => "give more of the digest, or the repository: `REPO@sha256:…`".into(),
            Self::NoDeletion { .. } => "`ecr-lineage deletions` lists them".into(),
            Self::InvalidTransition(_) => "`ecr-lineage deletions --kept --done --held` shows its status".into(),
            Self::Changed { .. } => "look again, and repeat it if it is still wanted".into(),
            Self::UnknownRegistry { .. } => "check the account and the region".into(),
            Self::UnknownRegion { .. } => "name the registry: `--in ACCOUNT/REGION`".into(),
            Self::NoMirror => "name a policy: `--policy FILE`".into(),
            Self::MirrorsPolicyInvalid { .. } => "fix it (`ecr-lineage policy check FILE`) and deploy it".into(),
            Self::NoIncident { .. } => "`ecr-lineage alerts` lists the open incidents with their IDs".into(),
            Self::NoHold { .. } => "`ecr-lineage holds` lists them".into(),
            Self::HoldOfOther { .. } => "ask them, or end it with `--force`".into(),
            Self::NoReason { .. } => "say why: `--reason TEXT`".into(),
            Self::EndIsOver { .. } => "give an end in the future, in UTC".into(),
            Self::NotPaused { others, .. } if others.is_empty() => "none; nothing is paused".into(),
            Self::NotPaused { .. } => {
                "name the pause: `--source REGISTRY`, or none for the pause of every source".into()
            }
            Self::ActNotRecorded { .. } => {
                "do not repeat it; for an audit, note when and why it was done: `activity` will not list it".into()
            }
            Self::NoReplica { image, .. } => format!("`ecr-lineage show {image}` shows where it is and was"),
        })
    }
}
