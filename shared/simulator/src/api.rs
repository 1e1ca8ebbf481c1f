//! ECR's API: operations, requests and responses.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>

pub(crate) mod authorization;
mod backfills;
mod creation_templates;
mod images;
pub(crate) mod layers;
mod lifecycle_previews;
mod pull_through_rules;
mod registries;
pub(crate) mod registry_settings;
mod repositories;
pub(crate) mod resource_tags;
pub(crate) mod scanning;
mod storage_classes;

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::image::{Registry, RepositoryName};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    creation_template::CreationReason,
    model::CheckedRequest,
    repository::{ImageId, Refusal, Repository},
    world::{RepositoryId, World},
};

/// The caller of an operation, and the region that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiCaller {
    /// The 12-digit account of the credentials.
    pub account: String,
    /// The region of the signature.
    pub region: String,
    /// The caller's ARN, as `GetCallerIdentity` returns it.
    pub arn: String,
}

/// An error response of ECR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The error code, such as `RepositoryNotFoundException`.
    pub code: &'static str,
    /// The error message.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

pub(crate) type ApiResult = Result<Value, ApiError>;

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

/// The error of a parameter that breaks a constraint, in ECR's words.
fn unsatisfied(parameter: &str, constraint: &dyn fmt::Display) -> ApiError {
    invalid(format!("Invalid parameter at '{parameter}' failed to satisfy constraint: '{constraint}'"))
}

/// An operation: its name, whether its CloudTrail record is emitted, and its implementation. Reads have CloudTrail
/// records too, but the simulator does not emit them: none of the product's rules matches them.
type Operation = (&'static str, bool, fn(&mut World, &ApiCaller, &[u8]) -> ApiResult);

const OPERATIONS: [Operation; 56] = [
    ("BatchCheckLayerAvailability", false, layers::batch_check_layer_availability),
    ("BatchDeleteImage", true, images::batch_delete_image),
    ("BatchGetImage", false, images::batch_get_image),
    ("BatchGetRepositoryScanningConfiguration", false, scanning::batch_get_repository_scanning_configuration),
    ("CreatePullThroughCacheRule", true, pull_through_rules::create_pull_through_cache_rule),
    ("CreateRepository", true, repositories::create_repository),
    ("CreateRepositoryCreationTemplate", true, creation_templates::create_repository_creation_template),
    ("DeleteLifecyclePolicy", true, repositories::delete_lifecycle_policy),
    ("DeletePullThroughCacheRule", true, pull_through_rules::delete_pull_through_cache_rule),
    ("DeleteRegistryPolicy", true, registries::delete_registry_policy),
    ("DeleteRepository", true, repositories::delete_repository),
    ("DeleteRepositoryCreationTemplate", true, creation_templates::delete_repository_creation_template),
    ("DeleteRepositoryPolicy", true, repositories::delete_repository_policy),
    ("DeleteSigningConfiguration", true, registry_settings::delete_signing_configuration),
    ("DeregisterPullTimeUpdateExclusion", true, registry_settings::deregister_pull_time_update_exclusion),
    ("DescribeImageReplicationStatus", false, images::describe_image_replication_status),
    ("DescribeImages", false, images::describe_images),
    ("DescribePullThroughCacheRules", false, pull_through_rules::describe_pull_through_cache_rules),
    ("DescribeRegistry", false, registries::describe_registry),
    ("DescribeReplicationBackfillResults", false, backfills::describe_replication_backfill_results),
    ("DescribeRepositories", false, repositories::describe_repositories),
    ("DescribeRepositoryCreationTemplates", false, creation_templates::describe_repository_creation_templates),
    ("GetAccountSetting", false, registry_settings::get_account_setting),
    ("GetAuthorizationToken", false, authorization::get_authorization_token),
    ("GetDownloadUrlForLayer", false, layers::get_download_url_for_layer),
    ("GetLifecyclePolicy", false, repositories::get_lifecycle_policy),
    ("GetLifecyclePolicyPreview", false, lifecycle_previews::get_lifecycle_policy_preview),
    ("GetRegistryPolicy", false, registries::get_registry_policy),
    ("GetRegistryScanningConfiguration", false, scanning::get_registry_scanning_configuration),
    ("GetRepositoryPolicy", false, repositories::get_repository_policy),
    ("GetSigningConfiguration", false, registry_settings::get_signing_configuration),
    ("ListImageReferrers", false, images::list_image_referrers),
    ("ListImages", false, images::list_images),
    ("ListPullTimeUpdateExclusions", false, registry_settings::list_pull_time_update_exclusions),
    ("ListReplicationBackfills", false, backfills::list_replication_backfills),
    ("ListTagsForResource", false, resource_tags::list_tags_for_resource),
    ("PutAccountSetting", true, registry_settings::put_account_setting),
    ("PutImage", true, images::put_image),
    ("PutImageScanningConfiguration", true, scanning::put_image_scanning_configuration),
    ("PutImageTagMutability", true, repositories::put_image_tag_mutability),
    ("PutLifecyclePolicy", true, repositories::put_lifecycle_policy),
    ("PutRegistryPolicy", true, registries::put_registry_policy),
    ("PutRegistryScanningConfiguration", true, scanning::put_registry_scanning_configuration),
    ("PutReplicationConfiguration", true, registries::put_replication_configuration),
    ("PutSigningConfiguration", true, registry_settings::put_signing_configuration),
    ("RegisterPullTimeUpdateExclusion", true, registry_settings::register_pull_time_update_exclusion),
    ("SetRepositoryPolicy", true, repositories::set_repository_policy),
    ("StartLifecyclePolicyPreview", true, lifecycle_previews::start_lifecycle_policy_preview),
    ("StartReplicationBackfill", true, backfills::start_replication_backfill),
    ("StopReplicationBackfill", true, backfills::stop_replication_backfill),
    ("TagResource", true, resource_tags::tag_resource),
    ("UntagResource", true, resource_tags::untag_resource),
    ("UpdateImageStorageClass", true, storage_classes::update_image_storage_class),
    ("UpdatePullThroughCacheRule", true, pull_through_rules::update_pull_through_cache_rule),
    ("UpdateRepositoryCreationTemplate", true, creation_templates::update_repository_creation_template),
    ("ValidatePullThroughCacheRule", false, pull_through_rules::validate_pull_through_cache_rule),
];

/// Performs one operation.
pub(crate) fn call(world: &mut World, caller: &ApiCaller, name: &str, request: CheckedRequest) -> ApiResult {
    let Some((_, changes, perform)) = OPERATIONS.iter().find(|(operation, ..)| *operation == name) else {
        return Err(ApiError::new("UnknownOperationException", format!("the simulator has no operation {name}")));
    };
    if *changes {
        world.begin();
    }
    let CheckedRequest { parameters, body } = request;
    let answer = body.and_then(|body| perform(world, caller, &body));
    if *changes {
        let account = parameters.get("registryId").and_then(Value::as_str).unwrap_or(&caller.account);
        let registry =
            Registry::new(account, &caller.region).or_else(|_| Registry::new(&caller.account, &caller.region));
        if let Ok(registry) = registry {
            world.emit_call(caller, &registry, name, parameters, answer.as_ref());
        }
    }
    answer
}

/// Parses a request, which the model has checked (A1).
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| invalid(format!("Invalid parameter: {error}")))
}

/// The members that most requests have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Where {
    pub(crate) registry_id: Option<String>,
    pub(crate) repository_name: String,
}

impl World {
    /// The registry of a request (R5).
    fn registry_of(&self, caller: &ApiCaller, account: Option<&str>) -> Result<Registry, ApiError> {
        let account = account.unwrap_or(&caller.account);
        Registry::new(account, &caller.region).map_err(|_| {
            invalid(format!("Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression '[0-9]{{12}}'', got '{account}'"))
        })
    }

    /// The registry of a request that only its own account may make.
    fn own_registry(&self, caller: &ApiCaller, account: Option<&str>, action: &str) -> Result<Registry, ApiError> {
        let registry = self.registry_of(caller, account)?;
        if registry.account() == caller.account {
            return Ok(registry);
        }
        Err(denied(caller, action, &format!("registry {registry}")))
    }

    /// The repository id of a request, after authorization; the repository may not exist.
    fn place(&self, caller: &ApiCaller, at: &Where, action: &str) -> Result<RepositoryId, ApiError> {
        let registry = self.registry_of(caller, at.registry_id.as_deref())?;
        let place = RepositoryId { registry, repository: name(&at.repository_name)? };
        self.authorize(caller, &place.registry, &place.arn(), action)?;
        Ok(place)
    }

    /// Authorizes a caller: everything in a registry of its own account, and what the registry policy allows in another
    /// account's (R5).
    pub(crate) fn authorize(
        &self,
        caller: &ApiCaller,
        registry: &Registry,
        arn: &str,
        action: &str,
    ) -> Result<(), ApiError> {
        let allowed = || self.policy_allows(registry, &caller.arn, &caller.account, &format!("ecr:{action}"), arn);
        if registry.account() == caller.account || allowed() {
            return Ok(());
        }
        Err(denied(caller, action, &format!("resource: {arn}")))
    }

    /// The repository, or the error that it does not exist.
    pub(crate) fn existing(&self, place: &RepositoryId) -> Result<&Repository, ApiError> {
        let (name, registry) = (&place.repository, place.registry.account());
        self.repository(place).ok_or_else(|| {
            let message =
                format!("The repository with name '{name}' does not exist in the registry with id '{registry}'");
            ApiError::new("RepositoryNotFoundException", message)
        })
    }

    /// The repository id of a push. ECR creates the repository if a creation template is for it (R12).
    pub(crate) fn pushed_to(&mut self, caller: &ApiCaller, at: &Where, action: &str) -> Result<RepositoryId, ApiError> {
        let place = self.place(caller, at, action)?;
        let reason = CreationReason::CreateOnPush;
        if self.repository(&place).is_none() && self.template(&place, reason).is_some() {
            self.authorize(caller, &place.registry, &place.arn(), "CreateRepository")?;
            self.begin();
            self.create_repository_for(&place, reason);
        }
        self.existing(&place)?;
        Ok(place)
    }

    /// The repository id of a request, after authorization, if the repository exists.
    pub(crate) fn found(&self, caller: &ApiCaller, at: &Where, action: &str) -> Result<RepositoryId, ApiError> {
        let place = self.place(caller, at, action)?;
        self.existing(&place)?;
        Ok(place)
    }
}

fn denied(caller: &ApiCaller, action: &str, resource: &str) -> ApiError {
    let why = format!("because no resource-based policy allows the ecr:{action} action");
    let message = format!("User: {} is not authorized to perform: ecr:{action} on {resource} {why}", caller.arn);
    ApiError::new("AccessDeniedException", message)
}

/// Parses a repository name by ECR's full grammar, which is stricter than the product's.
fn name(text: &str) -> Result<RepositoryName, ApiError> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // `[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*`: the allowed separators; a part neither begins nor ends with one.
    let separates = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let part = |part: &str| {
        part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && part.split(alphanumeric).all(separates)
    };
    let valid = text.split('/').all(part);
    text.parse().ok().filter(|_| valid).ok_or_else(|| {
        let rule = "must satisfy regular expression '(?:[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'";
        invalid(format!("Invalid parameter at 'repositoryName' failed to satisfy constraint: '{rule}', got '{text}'"))
    })
}

/// The error of a call about a single image.
fn refused(place: &RepositoryId, id: &ImageId, (code, reason): Refusal) -> ApiError {
    if code != "ImageNotFound" {
        return invalid(reason);
    }
    let digest = id.image_digest.as_deref().unwrap_or("null");
    let tag = id.image_tag.as_deref().unwrap_or("null");
    let (name, account) = (&place.repository, place.registry.account());
    let message = format!(
        "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository with name '{name}' in the registry with id '{account}'"
    );
    ApiError::new("ImageNotFoundException", message)
}

/// Checks that a list has at least one and at most `most` items.
fn between<T>(what: &str, items: &[T], most: usize) -> Result<(), ApiError> {
    let rule = match items.len() {
        0 => "greater than or equal to 1".to_owned(),
        count if count > most => format!("less than or equal to {most}"),
        _ => return Ok(()),
    };
    Err(invalid(format!(
        "Invalid parameter at '{what}' failed to satisfy constraint: 'Member must have length {rule}'"
    )))
}

/// The paging parameters of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Paging {
    next_token: Option<String>,
    max_results: Option<usize>,
}

/// One page of a list, in the order of its keys, and the token for the next page.
fn page<T>(
    entries: impl Iterator<Item = (String, T)>,
    paging: &Paging,
    default: usize,
    most: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = paging.max_results.unwrap_or(default);
    if !(1..=most).contains(&size) {
        let rule = format!("Member must be between 1 and {most}");
        return Err(invalid(format!(
            "Invalid parameter at 'maxResults' failed to satisfy constraint: '{rule}', got '{size}'"
        )));
    }
    let after = match &paging.next_token {
        None => None,
        Some(token) => {
            let bytes = BASE64_STANDARD.decode(token).ok();
            let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Some(key.ok_or_else(|| invalid("Invalid parameter at 'nextToken' failed to satisfy constraint: 'must be a token of an earlier answer'"))?)
        }
    };
    let mut entries = entries.skip_while(|(key, _)| after.as_ref().is_some_and(|after| key <= after)).peekable();
    let mut page = Vec::new();
    let mut last = None;
    while page.len() < size {
        let Some((key, entry)) = entries.next() else { break };
        page.push(entry);
        last = Some(key);
    }
    let next = last.filter(|_| entries.peek().is_some()).map(|key| BASE64_STANDARD.encode(key));
    Ok((page, next))
}

/// A time in the format of JSON 1.1: seconds since 1970, with milliseconds.
fn time(time: Timestamp) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970, exact up to 2^53")]
    let seconds = time.as_millisecond() as f64 / 1000.0;
    json!(seconds)
}

/// Removes members that are null.
fn compact(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_a_list_contain_each_entry_once() {
        let entries = || (0..25).map(|number| (format!("{number:02}"), number));
        let mut paging = Paging { next_token: None, max_results: Some(10) };
        let mut all = Vec::new();
        loop {
            let (page, next) = page(entries(), &paging, 100, 1000).unwrap();
            all.extend(page);
            paging.next_token = next;
            if paging.next_token.is_none() {
                break;
            }
        }
        assert_eq!(all, (0..25).collect::<Vec<_>>());
        assert!(page(entries(), &Paging { next_token: Some("?".into()), max_results: None }, 100, 1000).is_err());
        assert!(page(entries(), &Paging { next_token: None, max_results: Some(1001) }, 100, 1000).is_err());
    }

    #[test]
    fn a_repository_name_follows_ecrs_grammar() {
        for good in ["app", "team/app", "a1.b_c-d/e", "a__b", "a---b"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["a", "App", "team//app", "/app", "app/", "app-", "app..x", "-app", "a___b", "a._b"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
