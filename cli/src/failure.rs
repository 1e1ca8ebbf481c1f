//! What went wrong, in one line, and what to do next, in another.

use std::{error::Error as StdError, io::ErrorKind, path::PathBuf, sync::Arc};

use aws::{retry::chain, table};
use domain::image::{Image, Registry, RepositoryName};

use crate::embedded;

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The table could not be used.
    #[error(transparent)]
    Table(#[from] table::Error),
    /// The embedded table could not be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Events could not be recorded, repeatedly.
    #[error("cannot record the events from here on; those before are recorded")]
    Recording(#[source] Arc<table::Error>),
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
    #[error("tag `{asked}` was never seen{}", registry.as_ref().map(|registry| format!(" in `{registry}`")).unwrap_or_default())]
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
    /// The simulated registries could not be opened or saved.
    #[error(transparent)]
    Registries(#[from] simulator::keep::Error),
    /// The port is not free.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A role could not be assumed.
    #[error("cannot assume the role")]
    Role(#[source] Box<dyn StdError + Send + Sync>),
    /// A simulated registry refused something that the demo does.
    #[error("the demo failed")]
    Demo(#[source] Box<dyn StdError + Send + Sync>),
    /// AWS does not say who the caller is.
    #[error("cannot find out who you are")]
    Identity(#[source] Box<dyn StdError + Send + Sync>),
    /// A policy cannot be used.
    #[error(transparent)]
    Policy(#[from] policy::Invalid),
    /// A registry could not be asked or changed.
    #[error("cannot {what} in `{registry}`")]
    Registry {
        /// What was tried.
        what: &'static str,
        /// Where.
        registry: Registry,
        /// Why.
        #[source]
        source: aws::retry::Failure,
    },
    /// A registry could not be listed to its end.
    #[error(transparent)]
    Listing(reconcile::Error),
    /// Somebody else lists registries.
    #[error("another process lists registries just now")]
    Busy,
    /// There is no such deletion.
    #[error("no deletion of `{asked}` is recorded{}", registry.as_ref().map(|registry| format!(" in `{registry}`")).unwrap_or_default())]
    NoDeletion {
        /// The image.
        asked: Image,
        /// The only registry that was asked for.
        registry: Option<Registry>,
    },
    /// That cannot be done about a deletion now.
    #[error(transparent)]
    Impossible(#[from] domain::deletion::Impossible),
    /// Somebody else changed it at the same time.
    #[error("{what} was changed by somebody else just now")]
    Changed {
        /// What.
        what: String,
    },
    /// The image is not a replica there.
    #[error("`{image}` is not known as a replica in `{registry}`")]
    NoReplica {
        /// The image.
        image: Image,
        /// Where.
        registry: Registry,
    },
    /// Standard output is gone.
    #[error("cannot print")]
    Output(#[from] std::io::Error),
}

fn list(images: &[Image]) -> String {
    images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Failure {
    /// The message for a terminal: `error:` with all causes on one line, `next:` with what to do.
    #[must_use]
    pub fn report(&self) -> String {
        let line = chain(self);
        let (red, bold) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Style::new().bold());
        let next = self.next().map(|next| format!("{bold}next:{bold:#}  {next}\n")).unwrap_or_default();
        format!("{red}error:{red:#} {line}\n{next}")
    }

    /// What to do next.
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Table(error) => return table(error),
            Self::Recording(error) => {
                return Some(table(error).unwrap_or_else(|| "run it again: nothing is recorded twice".into()));
            }
            Self::Embedded(_) => "name another file with `--table`, or `--table memory`".into(),
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
            Self::Unreadable { source, .. } => match source.kind() {
                ErrorKind::NotFound => "check the path; `-` reads standard input".into(),
                ErrorKind::IsADirectory => "name the files in it, as in `ecr-lineage ingest folder/*.json`".into(),
                ErrorKind::PermissionDenied => "ask for permission to read it".into(),
                _ => "the file is damaged or cut off: fetch it again".into(),
            },
            Self::Registries(simulator::keep::Error::InUse { .. }) => {
                "stop the other process, or name another folder with `--data`".into()
            }
            Self::Registries(_) => "name another folder with `--data`".into(),
            Self::Port { .. } => "name another port with `--port`; `--port 0` takes any that is free".into(),
            Self::Identity(_) => "sign in (`aws sso login`), or choose another `--profile`".into(),
            Self::Policy(_) => "`infra/policies/README.md` lists what a policy can say".into(),
            Self::Registry { .. } => {
                "name a role of the registry's account with `--role`, or credentials with `--profile`".into()
            }
            Self::Listing(_) => {
                "run it again: what was done is not done twice; `--role` enters the registry, `--calls-per-second` asks less".into()
            }
            Self::Busy => "wait until it is done: an hour at most".into(),
            Self::NoDeletion { .. } => "`ecr-lineage deletions` lists them".into(),
            Self::Impossible(_) => "`ecr-lineage deletions --kept --done --held` shows where it stands".into(),
            Self::Changed { .. } => "look again, and repeat it if it is still wanted".into(),
            Self::NoReplica { image, .. } => format!("`ecr-lineage show {image}` shows where it is and was"),
            Self::Role(_) | Self::Demo(_) | Self::Output(_) => return None,
        })
    }
}

/// What to do about a table that cannot be used.
fn table(error: &table::Error) -> Option<String> {
    let next = match error.code() {
        Some("ResourceNotFoundException") => {
            "check `--table` and `--region`; an embedded table is named with a slash or `.db`"
        }
        Some("AccessDeniedException") => "these credentials may not use the table; try another `--profile`",
        Some("UnrecognizedClientException" | "ExpiredTokenException" | "InvalidSignatureException") => {
            "sign in again, or choose another `--profile`"
        }
        _ if mentions(error, "credential") => {
            "sign in (`aws sso login`), or name credentials with `--profile` or the AWS environment variables"
        }
        _ if mentions(error, "region") => "name the table's region with `--region`",
        _ => return None,
    };
    Some(next.to_owned())
}

/// Whether an error or its sources speak of something.
fn mentions(error: &dyn StdError, word: &str) -> bool {
    error.to_string().to_lowercase().contains(word) || error.source().is_some_and(|source| mentions(source, word))
}
