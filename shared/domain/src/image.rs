//! The identifiers of ECR: registry, repository, digest, tag, image.
//!
//! Each type is parsed once, when it enters the program, and is valid afterwards. The grammars are the loosest that
//! cannot break a key or a command line, not the strictest that AWS documents: an event is evidence, and must still be
//! kept when AWS changes the format a little. AWS's own samples already contain digests of 60 characters and digests
//! that end in `EXAMPLE`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::controls::wildcard;

/// A value that does not follow the grammar of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {what}: {rule}")]
pub struct MalformedError {
    value: String,
    what: &'static str,
    rule: &'static str,
}

impl MalformedError {
    /// Keeps the first 100 characters of the value, without control characters: any input can end up in logs and
    /// terminals.
    pub(crate) fn new(value: &str, what: &'static str, rule: &'static str) -> Self {
        let value = value.chars().filter(|c| !c.is_control()).take(100).collect();
        Self { value, what, rule }
    }

    /// What a value of the type is like.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

/// Declares a string that follows a grammar, with the conversions every such type needs.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $pattern:literal, $follows:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(pattern = $pattern))]
        pub struct $name(String);

        impl $name {
            /// The text, as ECR writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedError;

            fn try_from(text: String) -> Result<Self, MalformedError> {
                let follows: fn(&str) -> bool = $follows;
                if follows(&text) { Ok(Self(text)) } else { Err(MalformedError::new(&text, $what, $rule)) }
            }
        }

        impl FromStr for $name {
            type Err = MalformedError;

            fn from_str(text: &str) -> Result<Self, MalformedError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text! {
    /// A registry: one account in one region, written `111122223333/eu-west-1`.
    Registry, "a registry", "expected a 12-digit account, `/` and a region, as in `111122223333/eu-west-1`",
    r"^[0-9]{12}/[a-z]+(-[a-z]+)+-[0-9]+$",
    |text| {
        let Some((account, region)) = text.split_once('/') else { return false };
        let mut parts = region.split('-');
        let number = parts.next_back().unwrap_or_default();
        account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && region.len() <= 32
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && parts.clone().count() >= 2
            && parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()))
    }
}

impl Registry {
    /// Builds a registry from the account and the region of an event.
    ///
    /// # Errors
    /// When the account is not 12 digits or the region is not like `eu-west-1`.
    pub fn new(account: &str, region: &str) -> Result<Self, MalformedError> {
        format!("{account}/{region}").try_into()
    }

    /// The 12-digit account.
    #[must_use]
    pub fn account(&self) -> &str {
        self.0.split_once('/').map_or("", |(account, _)| account)
    }

    /// The region, such as `eu-west-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, region)| region)
    }
}

text! {
    /// The name of a repository with its namespace, such as `team/app`: 2 to 256 characters.
    ///
    /// Grammar: `repositoryName` of the
    /// [ECR API](https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html), without its
    /// rules on the position of separators.
    RepositoryName, "a repository name", "expected 2 to 256 of `a-z 0-9 . _ - /`, starting with a letter or a digit",
    r"^[a-z0-9][a-z0-9._/-]{1,255}$",
    |text| {
        (2..=256).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b))
    }
}

text! {
    /// The repositories with a name, as in `team/app`, or with names that match a pattern, as in `prod/*`: a `*` stands for
    /// any characters.
    RepositoryPattern, "a pattern of repositories", "expected repositories, as in `prod/api` or `prod/*`, in lower case",
    r"^[a-z0-9*._/-]{1,256}$",
    |text| {
        (1..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*._-/".contains(&b))
    }
}

impl RepositoryPattern {
    /// Every repository.
    #[must_use]
    pub fn everything() -> Self {
        Self("*".to_owned())
    }

    /// The repository, if the pattern is a name.
    #[must_use]
    pub fn name(&self) -> Option<RepositoryName> {
        self.0.parse().ok()
    }

    /// With what the names begin.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.split_once('*').map_or(&self.0, |(prefix, _)| prefix)
    }

    /// Whether a repository is meant.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        wildcard(&self.0, repository.as_str())
    }
}

text! {
    /// The digest of a manifest, such as `sha256:7f5b…`.
    ///
    /// Grammar:
    /// [OCI image spec, "Digests"](https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#digests),
    /// without the rule that SHA-256 has exactly 64 hexadecimal characters: AWS's own sample events break it. Code that
    /// acts on a digest, rather than records it, must check that first.
    Digest, "a digest", "expected an algorithm, `:` and the encoded hash, as in `sha256:7f5b…`",
    r"^[a-z0-9+._-]+:[A-Za-z0-9=_-]+$",
    |text| {
        let Some((algorithm, encoded)) = text.split_once(':') else { return false };
        text.len() <= 256
            && !algorithm.is_empty()
            && algorithm.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b))
            && !encoded.is_empty()
            && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b))
    }
}

impl Digest {
    /// The first 12 characters of the digest, without its algorithm: enough for a person to distinguish images.
    #[must_use]
    pub fn short(&self) -> String {
        self.encoded().chars().take(12).collect()
    }

    /// The digest without its algorithm.
    #[must_use]
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }
}

text! {
    /// An image tag, such as `v1.4.2`: 1 to 300 characters.
    ///
    /// Grammar: OCI distribution spec,
    /// [Pulling manifests](https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests);
    /// length: `imageTag` of the
    /// [ECR API](https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageIdentifier.html).
    Tag, "an image tag", "expected 1 to 300 of `A-Z a-z 0-9 . _ -`",
    r"^[A-Za-z0-9._-]{1,300}$",
    |text| {
        (1..=300).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
}

/// An image: a manifest digest in a repository. Replication keeps both, so this names the same image in every registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Image {
    /// The repository, which has the same name in every registry.
    pub repository: RepositoryName,
    /// The digest of the manifest, the same in every registry.
    pub digest: Digest,
}

/// The OpenAPI schema of an image that may be absent.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct PossibleImage {
    /// The repository, which has the same name in every registry.
    repository: Option<RepositoryName>,
    /// The digest of the manifest, the same in every registry.
    digest: Option<Digest>,
}

impl fmt::Display for Image {
    /// `repository@digest`, as container tools write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl FromStr for Image {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        let (repository, digest) = text
            .split_once('@')
            .ok_or_else(|| MalformedError::new(text, "an image", "expected `repository@digest`"))?;
        Ok(Self { repository: repository.parse()?, digest: digest.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_an_account_and_a_region() {
        for good in ["111122223333/eu-west-1", "111122223333/us-gov-west-1", "111122223333/ap-southeast-12"] {
            let registry: Registry = good.parse().unwrap();
            assert_eq!(format!("{}/{}", registry.account(), registry.region()), good);
        }
        for bad in [
            "",
            "/",
            "1/eu-west-1",
            "111122223333",
            "111122223333/eu",
            "111122223333/eu-west-",
            "11112222333x/eu-west-1",
            "111122223333/EU-WEST-1",
            "111122223333/eu-west-1#",
        ] {
            assert!(bad.parse::<Registry>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_exclude_characters_that_would_break_a_key() {
        for bad in ["a", "Team/App", "team/app#x", "team app", "team@app", "/team", "team\u{0}"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
        for bad in ["", "v1#2", "v1/2", "v1:2", "a b"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        for bad in ["", "sha256", "sha256:", ":abc", "sha256:a#b", "SHA256:abc"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_covers_a_repository_or_those_with_a_star() {
        let covers =
            |pattern: &str, name: &str| pattern.parse::<RepositoryPattern>().unwrap().covers(&name.parse().unwrap());
        assert!(covers("prod/api", "prod/api") && !covers("prod/api", "prod/api2"));
        assert!(covers("prod/*", "prod/a/b") && covers("*", "web") && !covers("prod/*", "staging/api"));
        for bad in ["", "Prod/*", "prod/api:*", "prod/api:v1", "prod/?", "a b"] {
            assert!(bad.parse::<RepositoryPattern>().is_err(), "{bad}");
        }
        let pattern = |text: &str| text.parse::<RepositoryPattern>().unwrap();
        assert_eq!((pattern("prod/*").name(), pattern("prod/*").prefix()), (None, "prod/"));
        assert_eq!(pattern("prod/api").name().unwrap().as_str(), "prod/api");
    }

    #[test]
    fn the_digests_of_awss_own_samples_are_accepted() {
        for sample in [
            "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234",
            "sha256:8g6c3751gf7gc5g47603ege4511d5a80ead5g90f5893543f1489bde2345",
            "sha256:4aa08ef415aecc80814cb42fa41b658480779d80c77ab15EXAMPLE",
        ] {
            assert_eq!(sample.parse::<Digest>().unwrap().as_str(), sample);
        }
        assert_eq!("sha256:7f5b2640fe6fb4f4".parse::<Digest>().unwrap().short(), "7f5b2640fe6f");
    }

    #[test]
    fn a_malformed_value_is_named_and_its_control_characters_are_not_repeated() {
        let error = "a\u{1b}[31mb".parse::<Tag>().unwrap_err();
        assert_eq!(error.to_string(), "`a[31mb` is not an image tag: expected 1 to 300 of `A-Z a-z 0-9 . _ -`");
    }
}
