//! Operations on repositories and their settings.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiCaller, ApiError, ApiResult, Paging, Where, between, compact, invalid, page, read,
    resource_tags::{self, ResourceTag},
    time, unsatisfied,
};
use domain::image::Registry;

use crate::{
    event::Action,
    lifecycle::Policy as LifecycleRules,
    policy::Policy,
    repository::{LifecyclePolicy, Mutability, MutabilitySetting, Repository, encryption_of},
    world::{RepositoryId, World},
};

/// A repository as the API describes it.
fn description(place: &RepositoryId, repository: &Repository) -> Value {
    let account = place.registry.account();
    let uri = format!("{}/{}", place.registry.host(), place.repository);
    let mut description = json!({
        "repositoryArn": place.arn(), "registryId": account, "repositoryName": place.repository, "repositoryUri": uri,
        "createdAt": time(repository.created_at), "imageScanningConfiguration": repository.scanning,
        "encryptionConfiguration": repository.encryption,
    });
    merge(&mut description, &json!(repository.mutability));
    description
}

fn merge(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}

pub(super) fn create_repository(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        image_scanning_configuration: Option<Value>,
        encryption_configuration: Option<Value>,
        #[serde(default)]
        tags: Vec<ResourceTag>,
        #[serde(flatten)]
        mutability: Mutability,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    check(&request.mutability)?;
    let place = world.place(caller, &request.at, "CreateRepository")?;
    if world.repository(&place).is_some() {
        let (name, account) = (&place.repository, place.registry.account());
        let message = format!("The repository with name '{name}' already exists in the registry with id '{account}'");
        return Err(ApiError::new("RepositoryAlreadyExistsException", message));
    }
    let mut repository = Repository::new(world.moment());
    repository.mutability = request.mutability;
    repository.resource_tags = resource_tags::with(&repository.resource_tags, request.tags)?;
    repository.scanning = request.image_scanning_configuration.unwrap_or(repository.scanning);
    if let Some(encryption) = request.encryption_configuration {
        repository.encryption = encryption_of(&place.registry, &encryption);
    }
    let answer = json!({"repository": description(&place, &repository)});
    world.put_repository(&place, repository);
    Ok(answer)
}

pub(super) fn delete_repository(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        #[serde(default)]
        force: bool,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    let place = world.found(caller, &request.at, "DeleteRepository")?;
    let repository = world.existing(&place)?;
    if !request.force && !repository.images().is_empty() {
        let (name, account) = (&place.repository, place.registry.account());
        let message = format!(
            "The repository with name '{name}' in registry with id '{account}' cannot be deleted because it still contains images"
        );
        return Err(ApiError::new("RepositoryNotEmptyException", message));
    }
    let answer = json!({"repository": description(&place, repository)});
    let Some(repository) = world.remove_repository(&place) else { return Ok(answer) };
    if world.settings.unconfirmed.repository_deletion_emits_delete {
        for image in repository.images().values() {
            let untagged = image.state.tags.is_empty().then_some(None);
            for tag in image.state.tags.iter().map(Some).chain(untagged) {
                world.emit_image_action(&place, &image.manifest, tag, Action::Delete);
            }
        }
    }
    Ok(answer)
}

pub(super) fn describe_repositories(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        registry_id: Option<String>,
        repository_names: Option<Vec<String>>,
        #[serde(flatten)]
        paging: Paging,
    }
    let request: Request = read(body)?;
    if let Some(names) = &request.repository_names {
        between("repositoryNames", names, 100)?;
        let mut repositories = Vec::new();
        for text in names {
            let at = Where { registry_id: request.registry_id.clone(), repository_name: text.clone() };
            let place = world.found(caller, &at, "DescribeRepositories")?;
            repositories.push(description(&place, world.existing(&place)?));
        }
        return Ok(json!({"repositories": repositories}));
    }
    let registry = world.registry_of(caller, request.registry_id.as_deref())?;
    world.authorize(caller, &registry, &all_repositories(&registry), "DescribeRepositories")?;
    let here = world.repositories().iter().filter(|(place, _)| place.registry == registry);
    let entries = here.map(|(place, repository)| (place.repository.to_string(), description(place, repository)));
    let (repositories, next) = page(entries, &request.paging, 100, 1000)?;
    Ok(compact(json!({"repositories": repositories, "nextToken": next})))
}

/// The ARN of an operation that names no repository.
fn all_repositories(registry: &Registry) -> String {
    registry.arn("ecr", "repository/*")
}

pub(super) fn put_image_tag_mutability(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        #[serde(flatten)]
        mutability: Mutability,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    check(&request.mutability)?;
    let place = world.found(caller, &request.at, "PutImageTagMutability")?;
    let mut answer = json!({"registryId": place.registry.account(), "repositoryName": place.repository});
    merge(&mut answer, &json!(request.mutability));
    if let Some(repository) = world.repository_mut(&place) {
        repository.mutability = request.mutability;
    }
    Ok(answer)
}

/// Exclusion filters are required with the settings that use them, and invalid with all others (I2).
pub(super) fn check(mutability: &Mutability) -> Result<(), ApiError> {
    let with = matches!(
        mutability.setting,
        MutabilitySetting::ImmutableWithExclusion | MutabilitySetting::MutableWithExclusion
    );
    if with {
        between("imageTagMutabilityExclusionFilters", &mutability.exclusions, 5)?;
    } else if !mutability.exclusions.is_empty() {
        return Err(invalid(
            "imageTagMutabilityExclusionFilters go only with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION",
        ));
    }
    let wrong = mutability.exclusions.iter().find(|exclusion| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte);
        exclusion.filter_type != "WILDCARD"
            || !(1..=128).contains(&exclusion.filter.len())
            || !exclusion.filter.bytes().all(valid)
    });
    wrong.map_or(Ok(()), |wrong| Err(invalid(format!("Invalid exclusion filter '{}'", wrong.filter))))
}

/// Parses a lifecycle policy of a request.
pub(super) fn read_lifecycle_policy(text: &str) -> Result<LifecycleRules, ApiError> {
    LifecycleRules::read(text).map_err(|wrong| {
        let constraint = format!("Lifecycle policy validation failure: {wrong}");
        invalid(format!("Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: '{constraint}'"))
    })
}

/// The error of a repository without a lifecycle policy.
pub(super) fn no_lifecycle_policy(place: &RepositoryId) -> ApiError {
    let (name, account) = (&place.repository, place.registry.account());
    let message = format!(
        "Lifecycle policy does not exist for the repository with name '{name}' in the registry with id '{account}'"
    );
    ApiError::new("LifecyclePolicyNotFoundException", message)
}

pub(super) fn put_lifecycle_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        lifecycle_policy_text: String,
        #[serde(flatten)]
        at: Where,
    }
    let Request { lifecycle_policy_text: text, at } = read(body)?;
    let place = world.found(caller, &at, "PutLifecyclePolicy")?;
    read_lifecycle_policy(&text)?;
    let (id, last_evaluated_at) = (world.new_id(), world.moment());
    if let Some(repository) = world.repository_mut(&place) {
        repository.lifecycle = Some(LifecyclePolicy { text: text.clone(), id, last_evaluated_at });
    }
    world.plan_lifecycle(&place);
    Ok(json!({"registryId": place.registry.account(), "repositoryName": place.repository, "lifecyclePolicyText": text}))
}

pub(super) fn get_lifecycle_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let at: Where = read(body)?;
    let place = world.found(caller, &at, "GetLifecyclePolicy")?;
    let policy = world.existing(&place)?.lifecycle.as_ref().ok_or_else(|| no_lifecycle_policy(&place))?;
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "lifecyclePolicyText": policy.text,
        "lastEvaluatedAt": time(policy.last_evaluated_at),
    }))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteLifecyclePolicy.html>
pub(super) fn delete_lifecycle_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let at: Where = read(body)?;
    let place = world.found(caller, &at, "DeleteLifecyclePolicy")?;
    let policy = world.repository_mut(&place).and_then(|repository| repository.lifecycle.take());
    let policy = policy.ok_or_else(|| no_lifecycle_policy(&place))?;
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "lifecyclePolicyText": policy.text,
        "lastEvaluatedAt": time(policy.last_evaluated_at),
    }))
}

pub(super) fn set_repository_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        policy_text: String,
        #[serde(flatten)]
        at: Where,
    }
    let Request { policy_text: text, at } = read(body)?;
    let place = world.found(caller, &at, "SetRepositoryPolicy")?;
    Policy::check_of_repository(&text).map_err(|wrong| unsatisfied("PolicyText", &wrong))?;
    if let Some(repository) = world.repository_mut(&place) {
        repository.policy = Some(text.clone());
    }
    Ok(json!({"registryId": place.registry.account(), "repositoryName": place.repository, "policyText": text}))
}

pub(super) fn get_repository_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let at: Where = read(body)?;
    let place = world.found(caller, &at, "GetRepositoryPolicy")?;
    repository_policy(&place, world.existing(&place)?.policy.clone())
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepositoryPolicy.html>
pub(super) fn delete_repository_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let at: Where = read(body)?;
    let place = world.found(caller, &at, "DeleteRepositoryPolicy")?;
    let policy = world.repository_mut(&place).and_then(|repository| repository.policy.take());
    repository_policy(&place, policy)
}

/// The response with a repository's policy.
fn repository_policy(place: &RepositoryId, policy: Option<String>) -> ApiResult {
    let (name, account) = (&place.repository, place.registry.account());
    let text = policy.ok_or_else(|| {
        let message = format!(
            "Repository policy does not exist for the repository with name '{name}' in the registry with id '{account}'"
        );
        ApiError::new("RepositoryPolicyNotFoundException", message)
    })?;
    Ok(json!({"registryId": account, "repositoryName": name, "policyText": text}))
}
