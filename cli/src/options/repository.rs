//! Patterns of repositories.

use std::str::FromStr;

use answers::reference::repository;
use domain::{controls::wildcard, image::RepositoryName};

/// A repository, or a pattern such as `prod/*` in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryPattern {
    /// One repository.
    One(RepositoryName),
    /// All repositories that match.
    All(String),
}

impl RepositoryPattern {
    /// The repository, if it is only one: its images are read, and no others.
    #[must_use]
    pub fn one(&self) -> Option<&RepositoryName> {
        match self {
            Self::One(repository) => Some(repository),
            Self::All(_) => None,
        }
    }

    /// Whether a repository is meant.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::One(one) => one == repository,
            Self::All(pattern) => wildcard(pattern, repository.as_str()),
        }
    }
}

impl FromStr for RepositoryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('*') {
            return repository(text).map(Self::One).map_err(|error| error.to_string());
        }
        let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "*._-/".contains(c);
        let is_pattern = text.chars().all(of_name);
        is_pattern.then(|| Self::All(text.to_owned())).ok_or_else(|| {
            format!("`{text}` is not a pattern of repositories: write `prod/api` or `prod/*`, in lower case")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_repository_its_uri_or_has_a_star() {
        let covers =
            |pattern: &str, name: &str| pattern.parse::<RepositoryPattern>().unwrap().covers(&name.parse().unwrap());
        assert!(covers("prod/api", "prod/api") && !covers("prod/api", "prod/api2"));
        assert!(covers("111122223333.dkr.ecr.eu-west-1.amazonaws.com/prod/api", "prod/api"));
        assert!(covers("prod/*", "prod/a/b") && covers("*", "web") && !covers("prod/*", "staging/api"));
        for wrong in ["", "Prod/*", "prod/api:*", "prod/api:v1"] {
            assert!(wrong.parse::<RepositoryPattern>().is_err(), "{wrong}");
        }
    }
}
