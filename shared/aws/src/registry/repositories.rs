//! The repositories of registries, and their settings.

use std::{collections::BTreeSet, fmt};

use aws_sdk_ecr::{
    operation::{
        describe_repositories::DescribeRepositoriesError as NoRepository,
        get_lifecycle_policy::GetLifecyclePolicyError as NoLifecycle,
        get_repository_policy::GetRepositoryPolicyError as NoPolicy,
    },
    types::{ImageScanningConfiguration as Scanning, Repository},
};
use domain::image::{Registry, RepositoryName};

use super::{Registries, parsed};
use retry::CallError;

/// The maximum number of repositories in one page of a list.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html>
const REPOSITORIES_PER_PAGE: i32 = 1_000;

/// A setting that a repository may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositorySetting {
    /// A repository policy, which grants access.
    Policy,
    /// A lifecycle policy.
    Lifecycle,
    /// Scan on push.
    Scanning,
}

impl fmt::Display for RepositorySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "repository policy",
            Self::Lifecycle => "lifecycle policy",
            Self::Scanning => "scan on push",
        })
    }
}

impl Registries {
    /// The names of all repositories of a registry.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn repositories(&self, registry: &Registry) -> Result<BTreeSet<RepositoryName>, CallError> {
        let (mut names, mut next) = (BTreeSet::new(), None);
        loop {
            let call = self.read_client(registry).await.describe_repositories().registry_id(registry.account());
            let page = call.max_results(REPOSITORIES_PER_PAGE).set_next_token(next).send().await?;
            for repository in page.repositories() {
                names.insert(repository.repository_name().unwrap_or_default().parse().map_err(parsed)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    /// The settings of a repository; `None` if the repository does not exist.
    ///
    /// # Errors
    /// When a setting cannot be read.
    pub async fn repository_settings(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<Option<BTreeSet<RepositorySetting>>, CallError> {
        let Some(scans) = self.scans_on_push(registry, repository).await? else { return Ok(None) };
        let settings = [
            (RepositorySetting::Scanning, scans),
            (RepositorySetting::Policy, self.has_repository_policy(registry, repository).await?),
            (RepositorySetting::Lifecycle, self.has_lifecycle_policy(registry, repository).await?),
        ];
        Ok(Some(settings.into_iter().filter_map(|(setting, is_set)| is_set.then_some(setting)).collect()))
    }

    /// Whether ECR scans each image that is pushed to a repository; `None` if the repository does not exist.
    async fn scans_on_push(&self, registry: &Registry, repository: &RepositoryName) -> Result<Option<bool>, CallError> {
        let call = self.read_client(registry).await.describe_repositories();
        match call.registry_id(registry.account()).repository_names(repository.as_str()).send().await {
            Ok(answer) => {
                let scans = |one: &Repository| one.image_scanning_configuration().is_some_and(Scanning::scan_on_push);
                Ok(Some(answer.repositories().iter().any(scans)))
            }
            Err(error) if error.as_service_error().is_some_and(NoRepository::is_repository_not_found_exception) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an existing repository has a repository policy.
    async fn has_repository_policy(&self, registry: &Registry, repository: &RepositoryName) -> Result<bool, CallError> {
        let call = self.read_client(registry).await.get_repository_policy();
        match call.registry_id(registry.account()).repository_name(repository.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(NoPolicy::is_repository_policy_not_found_exception) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an existing repository has a lifecycle policy.
    ///
    /// # Errors
    /// When the call to ECR fails.
    pub async fn has_lifecycle_policy(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<bool, CallError> {
        let call = self.read_client(registry).await.get_lifecycle_policy();
        match call.registry_id(registry.account()).repository_name(repository.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(NoLifecycle::is_lifecycle_policy_not_found_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
