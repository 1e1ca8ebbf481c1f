//! Why a question has no answer, in one line, and what to do next, in another.

use domain::image::{Image, Registry, RepositoryName};

/// Why a question has no answer, or a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table could not be used.
    #[error(transparent)]
    Table(#[from] store::Error),
    /// Nothing is known of what was asked for.
    #[error("no image `{asked}` is known")]
    UnknownImage {
        /// As it was asked for.
        asked: String,
        /// Its repository, if it was said.
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
        /// As it was asked for.
        asked: String,
        /// The only registry that was asked for.
        registry: Option<Registry>,
        /// Its repository.
        repository: RepositoryName,
    },
    /// Nothing has the tag now.
    #[error("tag `{asked}` means no image now")]
    PastTag {
        /// As it was asked for.
        asked: String,
    },
    /// More than one digest starts like this.
    #[error("`{asked}` is the beginning of more than one digest: {}", list(found))]
    Ambiguous {
        /// As it was asked for.
        asked: String,
        /// Some of them.
        found: Vec<Image>,
    },
    /// There is no such deletion.
    #[error("no deletion of `{asked}` is recorded{}", in_registry(registry.as_ref()))]
    NoDeletion {
        /// The image.
        asked: Image,
        /// The only registry that was asked for.
        registry: Option<Registry>,
    },
    /// That cannot be done about a deletion now.
    #[error(transparent)]
    InvalidTransition(#[from] domain::deletion::InvalidTransition),
    /// Somebody else changed it at the same time.
    #[error("{what} was changed by somebody else just now")]
    Changed {
        /// What.
        what: String,
    },
    /// No event ever told of the registry.
    #[error("registry `{registry}` is not known")]
    UnknownRegistry {
        /// The registry.
        registry: Registry,
    },
    /// The image is not a replica there.
    #[error("`{image}` is not known as a replica in `{registry}`")]
    NoReplica {
        /// The image.
        image: Image,
        /// Where.
        registry: Registry,
    },
}

fn in_registry(registry: Option<&Registry>) -> String {
    registry.map(|registry| format!(" in `{registry}`")).unwrap_or_default()
}

fn list(images: &[Image]) -> String {
    images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// What to do next.
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
            Self::InvalidTransition(_) => "`ecr-lineage deletions --kept --done --held` shows where it stands".into(),
            Self::Changed { .. } => "look again, and repeat it if it is still wanted".into(),
            Self::UnknownRegistry { .. } => "check the account and the region".into(),
            Self::NoReplica { image, .. } => format!("`ecr-lineage show {image}` shows where it is and was"),
        })
    }
}
