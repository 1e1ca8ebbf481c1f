//! Settings of a registry that one operation writes and another reads: account settings, signing and pull times.

use std::collections::BTreeMap;

use domain::image::Registry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiCaller, ApiError, ApiResult, Paging, between, compact, invalid, page, read, time};
use crate::world::World;

/// The account settings: name, default, and the values that can be set (C2).
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutAccountSetting.html>
const ACCOUNT_SETTINGS: [(&str, &str, &[&str]); 3] = [
    ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE", &["AWS_NATIVE"]),
    ("BLOB_MOUNTING", "DISABLED", &["ENABLED", "DISABLED"]),
    ("REGISTRY_POLICY_SCOPE", "V2", &["V2"]),
];

fn setting(name: &str) -> Result<(&'static str, &'static [&'static str]), ApiError> {
    let known = ACCOUNT_SETTINGS.iter().find(|(known, ..)| *known == name);
    known.map(|(_, default, values)| (*default, *values)).ok_or_else(|| {
        let names = ACCOUNT_SETTINGS.map(|(name, ..)| name).join(", ");
        invalid(format!(
            "Invalid parameter at 'name' failed to satisfy constraint: 'must be one of {names}', got '{name}'"
        ))
    })
}

pub(super) fn put_account_setting(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        name: String,
        value: String,
    }
    let Request { name, value } = read(body)?;
    let (_, values) = setting(&name)?;
    if !values.contains(&value.as_str()) {
        let values = values.join(", ");
        return Err(invalid(format!(
            "Invalid parameter at 'value' failed to satisfy constraint: 'must be one of {values}', got '{value}'"
        )));
    }
    let registry = world.own_registry(caller, None, "PutAccountSetting")?;
    world.registry_mut(&registry).account_settings.insert(name.clone(), value.clone());
    Ok(json!({"name": name, "value": value}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAccountSetting.html>
pub(super) fn get_account_setting(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        name: String,
    }
    let Request { name } = read(body)?;
    setting(&name)?;
    let registry = world.own_registry(caller, None, "GetAccountSetting")?;
    Ok(json!({"name": name, "value": world.account_setting(&registry, &name)}))
}

impl World {
    /// The value of an account setting.
    pub(crate) fn account_setting(&self, registry: &Registry, name: &str) -> String {
        let set = self.registry(registry).and_then(|state| state.account_settings.get(name)).cloned();
        set.unwrap_or_else(|| setting(name).map(|(default, _)| default).unwrap_or_default().to_owned())
    }
}

/// The signing configuration: it is stored, and nothing is signed (C3).
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/managed-signing.html>
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SigningConfiguration {
    rules: Vec<SigningRule>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningRule {
    signing_profile_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository_filters: Option<Vec<SigningFilter>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningFilter {
    filter: String,
    filter_type: String,
}

impl SigningFilter {
    /// `^(?:[a-z0-9*]+(?:[._-][a-z0-9*]+)*/)*[a-z0-9*]+(?:[._-][a-z0-9*]+)*$`
    fn is_valid(&self) -> bool {
        let valid = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '*';
        let mut parts = self.filter.split(|character: char| "._-/".contains(character));
        self.filter_type == "WILDCARD_MATCH" && self.filter.len() <= 256 && { parts }
            .all(|part| !part.is_empty() && part.chars().all(valid))
    }
}

/// Whether a text is an ARN of a service with a resource that a function accepts.
fn is_arn(text: &str, service: &str, resource: impl Fn(&str) -> bool) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let [arn, partition, of, _region, account, rest] = parts[..] else { return false };
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 200 && arn == "arn" && partition.starts_with("aws") && of == service && digits && resource(rest)
}

fn no_signing_configuration(account: &str) -> ApiError {
    let message = format!("Signing configuration does not exist in the registry with id '{account}'");
    ApiError::new("SigningConfigurationNotFoundException", message)
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutSigningConfiguration.html>
pub(super) fn put_signing_configuration(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        signing_configuration: SigningConfiguration,
    }
    let Request { signing_configuration: configuration } = read(body)?;
    if !configuration.rules.is_empty() {
        between("rules", &configuration.rules, 10)?;
    }
    for rule in &configuration.rules {
        let name =
            |text: &str| text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_profile = |resource: &str| resource.strip_prefix("/signing-profiles/").is_some_and(name);
        if !is_arn(&rule.signing_profile_arn, "signer", is_profile) {
            return Err(invalid(format!("Invalid signing profile '{}'", rule.signing_profile_arn)));
        }
        if let Some(filters) = &rule.repository_filters {
            between("repositoryFilters", filters, 100)?;
            if let Some(wrong) = filters.iter().find(|filter| !filter.is_valid()) {
                return Err(invalid(format!("Invalid repository filter '{}'", wrong.filter)));
            }
        }
    }
    let registry = world.own_registry(caller, None, "PutSigningConfiguration")?;
    world.registry_mut(&registry).signing = Some(configuration.clone());
    Ok(json!({"signingConfiguration": configuration}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetSigningConfiguration.html>
pub(super) fn get_signing_configuration(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "GetSigningConfiguration")?;
    let configuration = world.registry(&registry).and_then(|state| state.signing.clone());
    let configuration = configuration.ok_or_else(|| no_signing_configuration(registry.account()))?;
    Ok(json!({"registryId": registry.account(), "signingConfiguration": configuration}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteSigningConfiguration.html>
pub(super) fn delete_signing_configuration(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "DeleteSigningConfiguration")?;
    let configuration = world.registry_mut(&registry).signing.take();
    let configuration = configuration.ok_or_else(|| no_signing_configuration(registry.account()))?;
    Ok(json!({"registryId": registry.account(), "signingConfiguration": configuration}))
}

/// The principals whose pulls are not recorded, with the time since when (I6).
pub(crate) type PullTimeExclusions = BTreeMap<String, Timestamp>;

/// The most exclusions of a registry.
const MAX_EXCLUSIONS: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExclusionRequest {
    principal_arn: String,
}

fn principal(body: &[u8]) -> Result<String, ApiError> {
    let ExclusionRequest { principal_arn: arn } = read(body)?;
    let character = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
    let path = |path: &str| path.split('/').all(|part| !part.is_empty() && part.chars().all(character));
    let named =
        |resource: &str| resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/")).is_some_and(path);
    if is_arn(&arn, "iam", named) {
        return Ok(arn);
    }
    Err(invalid(format!(
        "Invalid parameter at 'principalArn' failed to satisfy constraint: 'must be the ARN of an IAM role or user', got '{arn}'"
    )))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RegisterPullTimeUpdateExclusion.html>
pub(super) fn register_pull_time_update_exclusion(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let arn = principal(body)?;
    let registry = world.own_registry(caller, None, "RegisterPullTimeUpdateExclusion")?;
    let known = world.registry(&registry).map(|state| state.pull_time_exclusions.clone()).unwrap_or_default();
    if known.contains_key(&arn) {
        let message = format!("The pull time update exclusion for '{arn}' already exists");
        return Err(ApiError::new("ExclusionAlreadyExistsException", message));
    }
    if known.len() >= MAX_EXCLUSIONS {
        let message = format!("A registry has at most {MAX_EXCLUSIONS} pull time update exclusions");
        return Err(ApiError::new("LimitExceededException", message));
    }
    let created = world.moment();
    world.registry_mut(&registry).pull_time_exclusions.insert(arn.clone(), created);
    Ok(json!({"principalArn": arn, "createdAt": time(created)}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeregisterPullTimeUpdateExclusion.html>
pub(super) fn deregister_pull_time_update_exclusion(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let arn = principal(body)?;
    let registry = world.own_registry(caller, None, "DeregisterPullTimeUpdateExclusion")?;
    if world.registry_mut(&registry).pull_time_exclusions.remove(&arn).is_none() {
        let message = format!("The pull time update exclusion for '{arn}' does not exist");
        return Err(ApiError::new("ExclusionNotFoundException", message));
    }
    Ok(json!({"principalArn": arn}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListPullTimeUpdateExclusions.html>
pub(super) fn list_pull_time_update_exclusions(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let paging: Paging = read(body)?;
    let registry = world.own_registry(caller, None, "ListPullTimeUpdateExclusions")?;
    let exclusions = world.registry(&registry).map(|state| state.pull_time_exclusions.clone()).unwrap_or_default();
    let entries = exclusions.into_keys().map(|arn| (arn.clone(), Value::from(arn)));
    let (listed, next) = page(entries, &paging, 100, 1000)?;
    Ok(compact(json!({"pullTimeUpdateExclusions": listed, "nextToken": next})))
}

/// Whether the pulls of a caller are recorded. The ARN of an assumed role has no path, so only its name is compared.
pub(super) fn records_pulls(exclusions: &PullTimeExclusions, caller: &str) -> bool {
    let role = caller.split_once(":assumed-role/").and_then(|(_, session)| session.split('/').next());
    let is_role = |arn: &String| arn.contains(":role/") && arn.rsplit('/').next() == role;
    !exclusions.contains_key(caller) && !exclusions.keys().any(is_role)
}
