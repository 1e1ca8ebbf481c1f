//! Repository creation templates: the settings of repositories that ECR creates itself (R4).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html>

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    api::resource_tags::ResourceTags,
    pull_through::prefixes,
    repository::{LifecyclePolicy, Mutability, Repository, encryption_of},
    world::{RepositoryId, World},
};

/// The prefix of the template for every repository that no other template is for.
pub(crate) const ROOT: &str = "ROOT";

/// Why ECR creates a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum CreationReason {
    Replication,
    PullThroughCache,
    CreateOnPush,
}

/// A creation template, as responses show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreationTemplate {
    /// The prefix as it was given.
    pub(crate) prefix: String,
    pub(crate) description: Option<String>,
    pub(crate) encryption: Option<Value>,
    pub(crate) resource_tags: ResourceTags,
    pub(crate) mutability: Mutability,
    pub(crate) repository_policy: Option<String>,
    pub(crate) lifecycle_policy: Option<String>,
    pub(crate) applied_for: Vec<CreationReason>,
    pub(crate) custom_role_arn: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl World {
    /// The template for a repository: the one with the longest prefix of whole path parts, else that of `ROOT`.
    pub(crate) fn template(&self, place: &RepositoryId, reason: CreationReason) -> Option<&CreationTemplate> {
        let templates = &self.registry(&place.registry)?.templates;
        let applies = |template: &&CreationTemplate| template.applied_for.contains(&reason);
        prefixes(place.repository.as_str()).filter_map(|prefix| templates.get(prefix)).find(applies)
    }

    /// Creates a repository as ECR itself does: with the settings of its template, or with default settings.
    pub(crate) fn create_repository_for(&mut self, place: &RepositoryId, reason: CreationReason) {
        let mut repository = Repository::new(self.moment());
        if let Some(template) = self.template(place, reason).cloned() {
            repository.mutability = template.mutability;
            if let Some(encryption) = &template.encryption {
                repository.encryption = encryption_of(&place.registry, encryption);
            }
            repository.policy = template.repository_policy;
            repository.resource_tags = template.resource_tags;
            repository.lifecycle = template.lifecycle_policy.map(|text| LifecyclePolicy {
                text,
                id: self.new_id(),
                last_evaluated_at: self.moment(),
            });
        }
        let expires = repository.lifecycle.is_some();
        self.put_repository(place, repository);
        if expires {
            self.plan_lifecycle(place);
        }
    }
}
