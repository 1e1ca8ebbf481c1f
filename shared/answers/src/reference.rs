//! References to an image: by digest, by the beginning of a digest, by tag, or with the registry's host name.

use std::{fmt, str::FromStr};

use domain::{
    image::{Image, Registry, RepositoryName},
    tag::TagName,
};

/// A reference to an image, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `REPO@sha256:…` with all 64 characters.
    Exact(Image),
    /// `REPO@sha256:ab12` or `ab12`: the beginning of a digest.
    Short {
        /// The repository, if the reference names one.
        repository: Option<RepositoryName>,
        /// The beginning of the digest, with or without its algorithm.
        digest: String,
    },
    /// `REPO:TAG`.
    Tagged(TagReference),
}

/// A reference to a tag, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagReference {
    /// The repository and tag.
    pub name: TagName,
    /// The registry, if the reference has a host name.
    pub registry: Option<Registry>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(image) => write!(f, "{image}"),
            Self::Short { repository: Some(repository), digest } => write!(f, "{repository}@{digest}"),
            Self::Short { repository: None, digest } => write!(f, "{digest}"),
            Self::Tagged(tag) => write!(f, "{tag}"),
        }
    }
}

impl fmt::Display for TagReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name.repository, self.name.tag)
    }
}

/// The error of a text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; write `REPO:TAG`, `REPO@sha256:…` or the beginning of a digest")]
pub struct ReferenceError {
    reason: String,
}

/// The number of hexadecimal characters in a SHA-256 digest.
const DIGEST_LENGTH: usize = 64;

/// The fewest characters of a digest that are accepted for a search.
const SHORTEST: usize = 4;

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, text) = without_host(text)?;
        if let Some((repository, digest)) = text.split_once('@') {
            let repository = repository.parse().map_err(reference_error)?;
            // In `repo:tag@digest` the digest is enough.
            let encoded = digest.split_once(':').map_or(digest, |(_, encoded)| encoded);
            return if encoded.len() == DIGEST_LENGTH && encoded.len() < digest.len() {
                Ok(Self::Exact(Image { repository, digest: digest.parse().map_err(reference_error)? }))
            } else {
                Ok(Self::Short { repository: Some(repository), digest: short(digest)? })
            };
        }
        match text.rsplit_once(':') {
            Some(("sha256", _)) => Ok(Self::Short { repository: None, digest: short(text)? }),
            Some(_) => tagged(registry, text).map(Self::Tagged),
            None if text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self::Short { repository: None, digest: short(text)? })
            }
            None => Err(ReferenceError { reason: format!("`{text}` names a repository, not an image") }),
        }
    }
}

impl FromStr for TagReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, text) = without_host(text)?;
        tagged(registry, text)
    }
}

fn tagged(registry: Option<Registry>, text: &str) -> Result<TagReference, ReferenceError> {
    let Some((repository, tag)) = text.rsplit_once(':') else {
        return Err(ReferenceError { reason: format!("`{text}` has no tag") });
    };
    let name = TagName {
        repository: repository.parse().map_err(reference_error)?,
        tag: tag.parse().map_err(reference_error)?,
    };
    Ok(TagReference { name, registry })
}

/// The beginning of a digest, from [`SHORTEST`] characters to all 64.
fn short(text: &str) -> Result<String, ReferenceError> {
    let encoded = text.split_once(':').map_or(text, |(_, encoded)| encoded);
    if encoded.len() < SHORTEST {
        return Err(ReferenceError {
            reason: format!("`{text}` is too short: give at least {SHORTEST} characters of the digest"),
        });
    }
    if encoded.len() > DIGEST_LENGTH || !encoded.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(ReferenceError { reason: format!("`{text}` is not the beginning of a digest") });
    }
    Ok(text.to_owned())
}

/// Removes the host name of an ECR registry, which contains the account and the region:
/// `111122223333.dkr.ecr.eu-west-1.amazonaws.com`, `111122223333.dkr-ecr.eu-west-1.on.aws`, and their FIPS forms.
/// <https://docs.aws.amazon.com/general/latest/gr/ecr.html>
fn without_host(text: &str) -> Result<(Option<Registry>, &str), ReferenceError> {
    let Some((host, rest)) = text.split_once('/').filter(|(host, _)| host.contains(".dkr")) else {
        return Ok((None, text));
    };
    let mut parts = host.split('.');
    let account = parts.next().unwrap_or_default();
    let region = parts.find(|part| Registry::new("000000000000", part).is_ok()).unwrap_or_default();
    Registry::new(account, region)
        .map(|registry| (Some(registry), rest))
        .map_err(|_| ReferenceError { reason: format!("`{host}` is not the host of an ECR registry") })
}

fn reference_error(error: impl ToString) -> ReferenceError {
    ReferenceError { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn an_image_can_be_named_in_every_usual_way() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let image: Image = format!("team/app@{digest}").parse().unwrap();
        assert_eq!(parsed(&format!("team/app@{digest}")), Reference::Exact(image.clone()));
        assert_eq!(
            parsed(&format!("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app@{digest}")),
            Reference::Exact(image)
        );
        let repository = Some("team/app".parse().unwrap());
        let short = Reference::Short { repository, digest: "sha256:abab".into() };
        assert_eq!(parsed("team/app@sha256:abab"), short);
        assert_eq!(parsed("abab12"), Reference::Short { repository: None, digest: "abab12".into() });
        assert_eq!(parsed("sha256:abab"), Reference::Short { repository: None, digest: "sha256:abab".into() });
    }

    #[test]
    fn the_host_of_a_reference_selects_the_registry() {
        let name = TagName { repository: "team/app".parse().unwrap(), tag: "v1.4.2".parse().unwrap() };
        assert_eq!(parsed("team/app:v1.4.2"), Reference::Tagged(TagReference { name: name.clone(), registry: None }));
        let registry = Some("111122223333/eu-west-1".parse().unwrap());
        for host in ["111122223333.dkr.ecr.eu-west-1.amazonaws.com", "111122223333.dkr-ecr-fips.eu-west-1.on.aws"] {
            let reference = Reference::Tagged(TagReference { name: name.clone(), registry: registry.clone() });
            assert_eq!(parsed(&format!("{host}/team/app:v1.4.2")), reference);
        }
    }

    #[test]
    fn an_invalid_reference_is_an_error_with_its_reason() {
        for (text, reason) in [
            ("team/app", "`team/app` names a repository, not an image"),
            ("abc", "`abc` is too short: give at least 4 characters of the digest"),
            ("app@sha256:xyz!", "`sha256:xyz!` is not the beginning of a digest"),
            (
                "x.dkr.ecr.eu-west-1.amazonaws.com/app:v1",
                "`x.dkr.ecr.eu-west-1.amazonaws.com` is not the host of an ECR registry",
            ),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error.reason, reason);
        }
        assert!("Team/App:v1".parse::<Reference>().is_err());
    }
}
