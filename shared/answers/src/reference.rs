//! References to an image: by digest, by the beginning of a digest or by tag; with the registry's host name or the
//! repository's ARN, as tools print them.

use std::{fmt, str::FromStr};

use domain::{
    image::{Image, MalformedError, Registry, RepositoryName},
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

impl Reference {
    /// The registry whose host name the reference of a tag begins with.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        match self {
            Self::Tagged(tag) => tag.registry.as_ref(),
            Self::Exact(_) | Self::Short { .. } => None,
        }
    }
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
#[error("{reason}")]
pub struct ReferenceError {
    reason: String,
}

impl ReferenceError {
    /// The error of a name in a reference.
    pub(crate) fn new(error: MalformedError) -> Self {
        Self { reason: error.to_string() }
    }
}

/// The number of hexadecimal characters in a SHA-256 digest.
const DIGEST_LENGTH: usize = 64;

/// The fewest characters of a digest that are accepted for a search.
const SHORTEST: usize = 4;

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, text) = without_registry(text)?;
        if let Some((repository, digest)) = text.split_once('@') {
            // In `repo:tag@digest` the digest decides.
            let repository = repository.split_once(':').map_or(repository, |(repository, _)| repository);
            let repository = repository.parse().map_err(reference_error)?;
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
            None => Err(refused(format!("`{text}` names a repository, not an image"))),
        }
    }
}

impl FromStr for TagReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, text) = without_registry(text)?;
        // In `repo:tag@digest` only the tag is meant here.
        tagged(registry, text.split_once('@').map_or(text, |(text, _)| text))
    }
}

/// Reads the name of a repository, alone or as a part of its URI or ARN.
///
/// # Errors
/// When the text names no repository, or an image in it.
pub fn repository(text: &str) -> Result<RepositoryName, ReferenceError> {
    let (_, name) = without_registry(text)?;
    name.parse().map_err(ReferenceError::new)
}

fn tagged(registry: Option<Registry>, text: &str) -> Result<TagReference, ReferenceError> {
    let Some((repository, tag)) = text.rsplit_once(':') else {
        return Err(refused(format!("`{text}` has no tag")));
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
        return Err(refused(format!("`{text}` is too short: give at least {SHORTEST} characters of the digest")));
    }
    if encoded.len() > DIGEST_LENGTH || !encoded.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(refused(format!("`{text}` is not the beginning of a digest")));
    }
    Ok(text.to_owned())
}

/// What container tools write before a reference: skopeo and crane `docker://`, the kubelet `docker-pullable://`,
/// Helm `oci://`, browsers `https://`.
const SCHEMES: [&str; 5] = ["docker://", "docker-pullable://", "docker-image://", "oci://", "https://"];

/// Removes the scheme, and the registry's host name or the beginning of the repository's ARN, which contain the account
/// and the region.
pub(crate) fn without_registry(text: &str) -> Result<(Option<Registry>, &str), ReferenceError> {
    let text = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    if text.starts_with("arn:") {
        let known = of_arn(text).map(|(registry, rest)| (Some(registry), rest));
        return known.ok_or_else(|| refused(format!("`{text}` is not the ARN of an ECR repository")));
    }
    let Some((host, rest)) = text.split_once('/').filter(|(host, _)| host.to_ascii_lowercase().contains(".dkr")) else {
        return Ok((None, text));
    };
    Registry::from_host(host)
        .map(|registry| (Some(registry), rest))
        .ok_or_else(|| refused(format!("`{host}` is not the host of an ECR registry")))
}

/// The registry of `arn:aws:ecr:REGION:ACCOUNT:repository/REPO`, and what follows `repository/`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>
fn of_arn(text: &str) -> Option<(Registry, &str)> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let &["arn", partition, "ecr", region, account, resource] = &*parts else { return None };
    let registry = Registry::new(account, region).ok()?;
    Some(registry).filter(|registry| registry.partition().name == partition).zip(resource.strip_prefix("repository/"))
}

fn reference_error(error: MalformedError) -> ReferenceError {
    refused(error.to_string())
}

/// The error of a text that should name an image.
fn refused(reason: String) -> ReferenceError {
    ReferenceError { reason: format!("{reason}; write `REPO:TAG`, `REPO@sha256:…` or the beginning of a digest") }
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
    fn a_reference_is_read_as_tools_print_it() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let name = TagName { repository: "team/app".parse().unwrap(), tag: "v1".parse().unwrap() };
        let tagged = TagReference { name, registry: Some("111122223333/eu-west-1".parse().unwrap()) };
        let image: Image = format!("team/app@{digest}").parse().unwrap();
        for before in [
            "docker-pullable://111122223333.dkr.ecr.eu-west-1.amazonaws.com/",
            "docker://111122223333.dkr.ecr.eu-west-1.amazonaws.com:443/",
            "oci://111122223333.dkr-ecr.eu-west-1.on.aws/",
            "https://111122223333.dkr.ecr-fips.eu-west-1.amazonaws.com/",
            "111122223333.DKR.ECR.EU-WEST-1.AMAZONAWS.COM/",
            "arn:aws:ecr:eu-west-1:111122223333:repository/",
        ] {
            assert_eq!(parsed(&format!("{before}team/app:v1")), Reference::Tagged(tagged.clone()), "{before}");
            assert_eq!(parsed(&format!("{before}team/app@{digest}")), Reference::Exact(image.clone()), "{before}");
            let both = format!("{before}team/app:v1@{digest}");
            assert_eq!(parsed(&both), Reference::Exact(image.clone()), "the digest decides");
            assert_eq!(both.parse::<TagReference>().unwrap(), tagged, "the tag is meant");
            assert_eq!(repository(&format!("{before}team/app")).unwrap(), image.repository);
        }
        let both = parsed(&format!("team/app:v1@{digest}"));
        assert_eq!(both, Reference::Exact(image));
        assert!(repository("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1").is_err());
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
            (
                "arn:aws:ecr:cn-north-1:111122223333:repository/app:v1",
                "`arn:aws:ecr:cn-north-1:111122223333:repository/app:v1` is not the ARN of an ECR repository",
            ),
            ("arn:aws:ecr:eu-west-1:111122223333:repository/team/app", "`team/app` names a repository, not an image"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            let next = "write `REPO:TAG`, `REPO@sha256:…` or the beginning of a digest";
            assert_eq!(error.to_string(), format!("{reason}; {next}"));
        }
        assert!("Team/App:v1".parse::<Reference>().is_err());
    }
}
