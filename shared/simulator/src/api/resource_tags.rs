//! The tags of repositories: keys and values that describe a resource, not tags of images (T1).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html>

use std::collections::BTreeMap;

use domain::image::Registry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiCaller, ApiError, ApiResult, Where, invalid, read};
use crate::world::{RepositoryId, World};

/// Tags by their keys.
pub(crate) type ResourceTags = BTreeMap<String, String>;

/// The limits of a repository's tags (T1).
const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// A tag of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResourceTag {
    key: String,
    value: String,
}

/// Tags as responses list them.
pub(super) fn list(tags: &ResourceTags) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// The tags of a request in addition to those that are there.
pub(super) fn with(before: &ResourceTags, added: Vec<ResourceTag>) -> Result<ResourceTags, ApiError> {
    let invalid = |message: String| Err(ApiError::new("InvalidTagParameterException", message));
    let mut given = ResourceTags::new();
    for ResourceTag { key, value } in added {
        check_key(&key)?;
        let length = value.chars().count();
        if length > MAX_VALUE || !value.chars().all(is_allowed) {
            return invalid(format!(
                "The value of tag '{key}' must have at most {MAX_VALUE} letters, numbers, spaces and _ . : / = + - @"
            ));
        }
        if given.insert(key.clone(), value).is_some() {
            return invalid(format!("Tag key '{key}' is given twice"));
        }
    }
    let mut tags = before.clone();
    tags.extend(given);
    if tags.len() > MAX_TAGS {
        let message = format!("A repository has at most {MAX_TAGS} tags, got {}", tags.len());
        return Err(ApiError::new("TooManyTagsException", message));
    }
    Ok(tags)
}

fn check_key(key: &str) -> Result<(), ApiError> {
    let wrong = if !(1..=MAX_KEY).contains(&key.chars().count()) || !key.chars().all(is_allowed) {
        format!("A tag key must have 1 to {MAX_KEY} letters, numbers, spaces and _ . : / = + - @, got '{key}'")
    } else if key.to_lowercase().starts_with("aws:") {
        format!("Tag keys that begin with 'aws:' are reserved, got '{key}'")
    } else {
        return Ok(());
    };
    Err(ApiError::new("InvalidTagParameterException", wrong))
}

fn is_allowed(character: char) -> bool {
    character.is_alphanumeric() || " _.:/=+-@".contains(character)
}

/// The repository that an ARN names, if the caller may perform an action on it and it exists.
fn tagged(world: &World, caller: &ApiCaller, arn: &str, action: &str) -> Result<RepositoryId, ApiError> {
    let wrong = || invalid("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'");
    let mut parts = arn.splitn(6, ':');
    let (region, account) = (parts.nth(3).ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let repository = parts.next().and_then(|resource| resource.strip_prefix("repository/")).ok_or_else(wrong)?;
    let registry = Registry::new(account, region).map_err(|_| wrong())?;
    if registry.arn("ecr", &format!("repository/{repository}")) != arn || registry.region() != caller.region {
        return Err(wrong());
    }
    let at = Where { registry_id: Some(account.to_owned()), repository_name: repository.to_owned() };
    world.found(caller, &at, action)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagRequest {
    resource_arn: String,
    tags: Vec<ResourceTag>,
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_TagResource.html>
pub(super) fn tag_resource(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: TagRequest = read(body)?;
    let place = tagged(world, caller, &request.resource_arn, "TagResource")?;
    let tags = with(&world.existing(&place)?.resource_tags, request.tags)?;
    if let Some(repository) = world.repository_mut(&place) {
        repository.resource_tags = tags;
    }
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagRequest {
    resource_arn: String,
    tag_keys: Vec<String>,
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UntagResource.html>
pub(super) fn untag_resource(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: UntagRequest = read(body)?;
    let place = tagged(world, caller, &request.resource_arn, "UntagResource")?;
    request.tag_keys.iter().try_for_each(|key| check_key(key))?;
    if let Some(repository) = world.repository_mut(&place) {
        repository.resource_tags.retain(|key, _| !request.tag_keys.contains(key));
    }
    Ok(json!({}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListTagsForResource.html>
pub(super) fn list_tags_for_resource(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        resource_arn: String,
    }
    let Request { resource_arn: arn } = read(body)?;
    let place = tagged(world, caller, &arn, "ListTagsForResource")?;
    Ok(json!({"tags": list(&world.existing(&place)?.resource_tags)}))
}
