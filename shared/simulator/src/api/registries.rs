//! Operations on a registry's settings: its replication configuration and its registry policy.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;

use super::{ApiCaller, ApiError, ApiResult, between, invalid, read, unsatisfied};
use crate::{policy::Policy, replication::ReplicationConfiguration, world::World};

/// The limits of a replication configuration (R1).
const MAX_RULES: usize = 25;
const MAX_DESTINATIONS: usize = 25;
const MAX_FILTERS: usize = 100;

pub(super) fn describe_registry(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "DescribeRegistry")?;
    let configuration = world.registry(&registry).map(|state| state.replication.clone()).unwrap_or_default();
    Ok(json!({"registryId": registry.account(), "replicationConfiguration": configuration}))
}

pub(super) fn put_replication_configuration(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        replication_configuration: ReplicationConfiguration,
    }
    let Request { replication_configuration: configuration } = read(body)?;
    let registry = world.own_registry(caller, None, "PutReplicationConfiguration")?;
    let validation = |message: String| ApiError::new("ValidationException", message);
    if configuration.rules.len() > MAX_RULES {
        return Err(invalid(format!(
            "Invalid parameter at 'rules' failed to satisfy constraint: 'Member must have length less than or equal to {MAX_RULES}'"
        )));
    }
    let mut destinations = BTreeSet::new();
    for rule in &configuration.rules {
        if let Some(filters) = &rule.repository_filters {
            between("repositoryFilters", filters, MAX_FILTERS)?;
            for filter in filters {
                if filter.filter_type != "PREFIX_MATCH" || !is_prefix(&filter.filter) {
                    return Err(invalid(format!("Invalid repository filter '{}'", filter.filter)));
                }
            }
        }
        for destination in &rule.destinations {
            let Some(to) = destination.registry() else {
                let message =
                    format!("Invalid replication destination {} in {}", destination.registry_id, destination.region);
                return Err(invalid(message));
            };
            if to == registry {
                let wrong = "Replication destination cannot be the same as the source registry";
                return Err(unsatisfied("replicationConfiguration", &wrong));
            }
            if to.partition() != registry.partition() {
                return Err(validation(format!("The destination {to} is in another partition")));
            }
            destinations.insert(to);
        }
    }
    if destinations.len() > MAX_DESTINATIONS {
        return Err(validation(format!(
            "{} unique destinations, of at most {MAX_DESTINATIONS} over all rules",
            destinations.len()
        )));
    }
    world.registry_mut(&registry).replication = configuration.clone();
    Ok(json!({"replicationConfiguration": configuration}))
}

/// Whether a text is a valid prefix filter for repository names: 2 to 256 characters,
/// `(?:[a-z0-9]+(?:[._-][a-z0-9]*)*/)*[a-z0-9]*(?:[._-][a-z0-9]*)*`.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RepositoryFilter.html>
fn is_prefix(text: &str) -> bool {
    let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    let (folders, _last) = text.rsplit_once('/').unwrap_or_default();
    let folders_begin = folders.is_empty() && !text.starts_with('/') || folders.split('/').all(begins);
    (2..=256).contains(&text.len()) && text.bytes().all(valid) && folders_begin
}

pub(super) fn put_registry_policy(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        policy_text: String,
    }
    let Request { policy_text: text } = read(body)?;
    let registry = world.own_registry(caller, None, "PutRegistryPolicy")?;
    Policy::of_registry(&text).map_err(|wrong| unsatisfied("PolicyText", &wrong))?;
    world.registry_mut(&registry).policy = Some(text.clone());
    Ok(json!({"registryId": registry.account(), "policyText": text}))
}

pub(super) fn get_registry_policy(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "GetRegistryPolicy")?;
    let policy = world.registry(&registry).and_then(|state| state.policy.clone());
    let text = policy.ok_or_else(|| no_policy(registry.account()))?;
    Ok(json!({"registryId": registry.account(), "policyText": text}))
}

pub(super) fn delete_registry_policy(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "DeleteRegistryPolicy")?;
    let policy = world.registry_mut(&registry).policy.take();
    let text = policy.ok_or_else(|| no_policy(registry.account()))?;
    Ok(json!({"registryId": registry.account(), "policyText": text}))
}

fn no_policy(account: &str) -> ApiError {
    let message = format!("Registry policy does not exist in the registry with id '{account}'");
    ApiError::new("RegistryPolicyNotFoundException", message)
}
