//! Patterns of repositories, as people write them.

use answers::reference::repository;
use domain::image::RepositoryPattern;

/// A pattern such as `prod/*`, or a repository, which may be written as its URI or ARN.
///
/// # Errors
/// When it is neither.
pub(super) fn repositories(text: &str) -> Result<RepositoryPattern, String> {
    let text = if text.contains('*') {
        text.to_owned()
    } else {
        repository(text).map_err(|error| error.to_string())?.to_string()
    };
    text.parse().map_err(|error: domain::image::MalformedError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_a_star_or_is_a_repository_or_its_uri() {
        for (text, pattern) in [
            ("prod/*", "prod/*"),
            ("prod/api", "prod/api"),
            ("111122223333.dkr.ecr.eu-west-1.amazonaws.com/prod/api", "prod/api"),
        ] {
            assert_eq!(repositories(text).unwrap().as_str(), pattern);
        }
        for wrong in ["", "Prod/*", "prod/api:*", "prod/api:v1"] {
            assert!(repositories(wrong).is_err(), "{wrong}");
        }
    }
}
