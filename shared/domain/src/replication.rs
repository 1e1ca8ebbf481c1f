//! The replication rules of a registry, as `DescribeRegistry` returns them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::{MalformedError, Registry, RepositoryName};

/// The replication rules of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicationRules {
    /// In the order in which they are configured. Messages count them from 1.
    pub rules: Vec<ReplicationRule>,
}

/// One rule: which repositories ECR copies to which registries, and whether it replicates deletions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRule {
    /// The destination registries.
    pub destinations: BTreeSet<Registry>,
    /// Prefixes of the names of the repositories that are copied. If there are none, all repositories are.
    pub prefixes: Vec<String>,
    /// ECR's own `deleteReplication`: ECR deletes at the destinations whatever is deleted at the source.
    pub deletes_natively: bool,
}

/// A response that cannot be read as one of `DescribeRegistry`.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationRulesError {
    /// Broken JSON, or a field that is missing or of another type.
    #[error("not an answer of DescribeRegistry")]
    Json(#[from] serde_json::Error),
    /// A destination that is not a registry.
    #[error("a destination is malformed")]
    Destination(#[from] MalformedError),
    /// A filter type other than `PREFIX_MATCH`, the only one known to this version.
    #[error("unknown filter type `{0}`")]
    FilterType(String),
}

impl ReplicationRules {
    /// Reads the body of a response of
    /// [`DescribeRegistry`](https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRegistry.html) as it
    /// came over the wire: an SDK that is older than a field drops the field.
    ///
    /// # Errors
    /// When any part is not understood: no deletion may rely on rules that are only partly known.
    pub fn read(body: &[u8]) -> Result<Self, ReplicationRulesError> {
        let answer: wire::Registry = serde_json::from_slice(body)?;
        let rules = answer.replication_configuration.map(|configuration| configuration.rules).unwrap_or_default();
        Ok(Self { rules: rules.into_iter().map(wire::ReplicationRule::read).collect::<Result<_, _>>()? })
    }

    /// The rules that copy a repository to a destination, with their numbers counted from 1.
    pub fn to<'a>(
        &'a self,
        repository: &'a RepositoryName,
        destination: &'a Registry,
    ) -> impl Iterator<Item = (usize, &'a ReplicationRule)> {
        let numbered = self.rules.iter().enumerate().map(|(index, rule)| (index + 1, rule));
        numbered.filter(|(_, rule)| rule.destinations.contains(destination) && rule.covers(repository))
    }

    /// The number of the first rule by which ECR replicates deletions in a repository to a destination.
    #[must_use]
    pub fn native_deletes(&self, repository: &RepositoryName, destination: &Registry) -> Option<usize> {
        self.to(repository, destination).find(|(_, rule)| rule.deletes_natively).map(|(number, _)| number)
    }

    /// The number of the first rule by which ECR replicates deletions in a repository to any destination.
    #[must_use]
    pub fn carries_deletions_on(&self, repository: &RepositoryName) -> Option<usize> {
        let carries =
            |rule: &ReplicationRule| rule.deletes_natively && rule.covers(repository) && !rule.destinations.is_empty();
        self.rules.iter().position(carries).map(|index| index + 1)
    }
}

impl ReplicationRule {
    /// Whether the rule copies a repository. A filter is a plain prefix of the name: `prod` covers `production` as
    /// well.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-settings-examples.html>
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| repository.as_str().starts_with(prefix))
    }
}

/// The replication rules of a registry as last read, flattened, with the time since when each is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationSettings {
    /// One entry per destination and filter.
    pub routes: BTreeSet<Route>,
    /// When the rules were last read.
    pub read_at: Timestamp,
}

/// One destination of one filter of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// The destination registry.
    pub destination: Registry,
    /// The prefix of the repository names that the filter matches; empty if it matches all.
    pub prefix: String,
    /// Whether ECR itself replicates deletions along this route (`deleteReplication`).
    pub deletes_natively: bool,
    /// Since when the route is known. ECR may not have copied images that were pushed before.
    pub since: Timestamp,
}

impl ReplicationSettings {
    /// The settings after a read. Routes that the previous settings cover keep their `since`.
    #[must_use]
    pub fn after(previous: Option<&Self>, rules: &ReplicationRules, read_at: Timestamp) -> Self {
        let known_since = |destination: &Registry, prefix: &str| {
            let routes = previous.iter().flat_map(|settings| &settings.routes);
            let same = routes.filter(|route| route.destination == *destination && prefix.starts_with(&route.prefix));
            same.map(|route| route.since).min().unwrap_or(read_at)
        };
        let everything = [String::new()];
        let routes = rules.rules.iter().flat_map(|rule| {
            let prefixes = if rule.prefixes.is_empty() { &everything[..] } else { &rule.prefixes };
            let pairs = prefixes.iter().flat_map(|prefix| rule.destinations.iter().map(move |to| (prefix, to)));
            pairs.map(|(prefix, destination)| Route {
                destination: destination.clone(),
                prefix: prefix.clone(),
                deletes_natively: rule.deletes_natively,
                since: known_since(destination, prefix),
            })
        });
        Self { routes: routes.collect(), read_at }
    }

    /// The registries to which any repository is copied.
    pub fn all_destinations(&self) -> impl Iterator<Item = Registry> {
        self.routes.iter().map(|route| route.destination.clone())
    }

    /// The registries to which a repository is copied, and since when each is known.
    #[must_use]
    pub fn destinations(&self, repository: &RepositoryName) -> BTreeMap<&Registry, Timestamp> {
        let mut destinations = BTreeMap::new();
        for route in self.routes.iter().filter(|route| repository.as_str().starts_with(&route.prefix)) {
            let since = destinations.entry(&route.destination).or_insert(route.since);
            *since = route.since.min(*since);
        }
        destinations
    }

    /// The filter that copies a repository to a destination; the longest prefix if several match.
    #[must_use]
    pub fn route(&self, repository: &RepositoryName, destination: &Registry) -> Option<&Route> {
        let there = self.routes.iter().filter(|route| route.destination == *destination);
        there.filter(|route| repository.as_str().starts_with(&route.prefix)).max_by_key(|route| route.prefix.len())
    }

    /// The destinations and name prefixes for which ECR replicates deletions.
    #[must_use]
    pub fn native_deletes(&self) -> BTreeSet<(&Registry, &str)> {
        let native = self.routes.iter().filter(|route| route.deletes_natively);
        native.map(|route| (&route.destination, route.prefix.as_str())).collect()
    }
}

/// The replication status that ECR reports for one destination of an image.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageReplicationStatus.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyStatus {
    /// `IN_PROGRESS`.
    InProgress,
    /// `COMPLETE`.
    Complete,
    /// `FAILED`, with a failure code. AWS does not document the codes.
    Failed(Option<String>),
}

/// The response as ECR writes it.
mod wire {
    use super::{Deserialize, Registry as Name, ReplicationRulesError};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Registry {
        pub(super) replication_configuration: Option<Configuration>,
    }

    #[derive(Deserialize)]
    pub(super) struct Configuration {
        #[serde(default)]
        pub(super) rules: Vec<ReplicationRule>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ReplicationRule {
        destinations: Vec<Destination>,
        repository_filters: Option<Vec<Filter>>,
        delete_replication: Option<Switch>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Destination {
        region: String,
        registry_id: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Filter {
        filter: String,
        filter_type: String,
    }

    #[derive(Deserialize)]
    struct Switch {
        enabled: bool,
    }

    impl ReplicationRule {
        pub(super) fn read(self) -> Result<super::ReplicationRule, ReplicationRulesError> {
            let destinations = self.destinations.iter().map(|to| Name::new(&to.registry_id, &to.region));
            let filters = self.repository_filters.unwrap_or_default();
            if let Some(unknown) = filters.iter().find(|filter| filter.filter_type != "PREFIX_MATCH") {
                return Err(ReplicationRulesError::FilterType(unknown.filter_type.clone()));
            }
            Ok(super::ReplicationRule {
                destinations: destinations.collect::<Result<_, _>>()?,
                prefixes: filters.into_iter().map(|filter| filter.filter).collect(),
                deletes_natively: self.delete_replication.is_some_and(|switch| switch.enabled),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As botocore 1.44.5 encodes it (`tests/conformance` sends the simulator the same request).
    const ANSWER: &str = r#"{"registryId": "111122223333", "replicationConfiguration": {"rules": [
        {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}],
         "repositoryFilters": [{"filter": "prod", "filterType": "PREFIX_MATCH"}],
         "deleteReplication": {"enabled": true}},
        {"destinations": [{"region": "us-east-1", "registryId": "111122223333"},
                          {"region": "ap-northeast-1", "registryId": "444455556666"}]}]}}"#;

    #[test]
    fn native_deletion_replication_is_read_for_each_rule() {
        let rules = ReplicationRules::read(ANSWER.as_bytes()).unwrap();
        let virginia: Registry = "111122223333/us-east-1".parse().unwrap();
        let tokyo: Registry = "444455556666/ap-northeast-1".parse().unwrap();
        let native = |repository: &str, to| rules.native_deletes(&repository.parse().unwrap(), to);
        assert_eq!(native("prod/app", &virginia), Some(1));
        assert_eq!(native("production/app", &virginia), Some(1));
        assert_eq!(native("prod/app", &tokyo), None);
        assert_eq!(native("dev/app", &virginia), None);
        let both = rules.to(&"prod/app".parse().unwrap(), &virginia).map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(both, [1, 2]);
    }

    #[test]
    fn a_configuration_that_is_not_understood_is_an_error() {
        for bad in [
            "",
            "[]",
            r#"{"replicationConfiguration": {"rules": [{}]}}"#,
            r#"{"replicationConfiguration": {"rules": [{"destinations": [{"region": "?", "registryId": "1"}]}]}}"#,
            r#"{"replicationConfiguration": {"rules": [{"destinations": [], "deleteReplication": {}}]}}"#,
            r#"{"replicationConfiguration": {"rules": [{"destinations": [], "repositoryFilters": [{"filter": "a", "filterType": "REGEX"}]}]}}"#,
        ] {
            assert!(ReplicationRules::read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(ReplicationRules::read(br#"{"registryId": "111122223333"}"#).unwrap(), ReplicationRules::default());
    }
}
