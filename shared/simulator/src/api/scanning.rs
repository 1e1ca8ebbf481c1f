//! When images are scanned: settings that are stored, while nothing is scanned.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html>

use domain::controls::wildcard;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiCaller, ApiResult, Where, between, invalid, name, read};
use crate::world::{RepositoryId, World};

/// The limits of a registry's scanning configuration (C1).
const MAX_RULES: usize = 2;
const MAX_FILTERS: usize = 100;
const MAX_NAMES: usize = 25;

/// The scanning configuration of a registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ScanningConfiguration {
    scan_type: ScanType,
    rules: Vec<ScanningRule>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ScanType {
    #[default]
    Basic,
    Enhanced,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanningRule {
    scan_frequency: ScanFrequency,
    repository_filters: Vec<ScanningFilter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ScanFrequency {
    ScanOnPush,
    ContinuousScan,
    Manual,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanningFilter {
    filter: String,
    filter_type: String,
}

impl ScanningFilter {
    /// `^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`: no two separators follow each other, and none is at an end.
    fn is_valid(&self) -> bool {
        let separates = |character: char| "._-/".contains(character);
        let valid = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '*';
        (1..=255).contains(&self.filter.len())
            && self.filter_type == "WILDCARD"
            && self.filter.split(separates).all(|part| !part.is_empty() && part.chars().all(valid))
    }

    /// Whether the filter covers a repository. Without `*` it covers every name that contains it:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html>.
    fn covers(&self, repository: &str) -> bool {
        if self.filter.contains('*') { wildcard(&self.filter, repository) } else { repository.contains(&self.filter) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanOnPush {
    #[serde(default)]
    scan_on_push: bool,
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageScanningConfiguration.html>
pub(super) fn put_image_scanning_configuration(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        image_scanning_configuration: ScanOnPush,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    let place = world.found(caller, &request.at, "PutImageScanningConfiguration")?;
    let scanning = json!({"scanOnPush": request.image_scanning_configuration.scan_on_push});
    if let Some(repository) = world.repository_mut(&place) {
        repository.scanning = scanning.clone();
    }
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository,
        "imageScanningConfiguration": scanning,
    }))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutRegistryScanningConfiguration.html>
pub(super) fn put_registry_scanning_configuration(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let configuration: ScanningConfiguration = read(body)?;
    let registry = world.own_registry(caller, None, "PutRegistryScanningConfiguration")?;
    if configuration.rules.len() > MAX_RULES {
        return Err(invalid(format!(
            "Invalid parameter at 'rules' failed to satisfy constraint: 'Member must have length less than or equal to {MAX_RULES}'"
        )));
    }
    for rule in &configuration.rules {
        if !rule.repository_filters.is_empty() {
            between("repositoryFilters", &rule.repository_filters, MAX_FILTERS)?;
        }
        if let Some(wrong) = rule.repository_filters.iter().find(|filter| !filter.is_valid()) {
            return Err(invalid(format!("Invalid repository filter '{}'", wrong.filter)));
        }
        let supported = match configuration.scan_type {
            ScanType::Basic => rule.scan_frequency != ScanFrequency::ContinuousScan,
            ScanType::Enhanced => rule.scan_frequency != ScanFrequency::Manual,
        };
        if !supported {
            let (frequency, kind) = (json!(rule.scan_frequency), json!(configuration.scan_type));
            return Err(invalid(format!("scanFrequency {frequency} is not supported by scanType {kind}")));
        }
    }
    let frequencies = configuration.rules.iter().map(|rule| rule.scan_frequency);
    if let [first, second] = *frequencies.collect::<Vec<_>>()
        && first == second
    {
        return Err(invalid(format!("Two rules have scanFrequency {}", json!(first))));
    }
    world.registry_mut(&registry).scanning = configuration.clone();
    Ok(json!({"registryScanningConfiguration": configuration}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetRegistryScanningConfiguration.html>
pub(super) fn get_registry_scanning_configuration(world: &mut World, caller: &ApiCaller, _: &[u8]) -> ApiResult {
    let registry = world.own_registry(caller, None, "GetRegistryScanningConfiguration")?;
    let configuration = world.registry(&registry).map(|state| state.scanning.clone()).unwrap_or_default();
    Ok(json!({"registryId": registry.account(), "scanningConfiguration": configuration}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetRepositoryScanningConfiguration.html>
pub(super) fn batch_get_repository_scanning_configuration(
    world: &mut World,
    caller: &ApiCaller,
    body: &[u8],
) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        repository_names: Vec<String>,
    }
    let Request { repository_names: names } = read(body)?;
    between("repositoryNames", &names, MAX_NAMES)?;
    let registry = world.own_registry(caller, None, "BatchGetRepositoryScanningConfiguration")?;
    let rules = world.registry(&registry).map(|state| state.scanning.rules.clone()).unwrap_or_default();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in names {
        let place = RepositoryId { registry: registry.clone(), repository: name(&text)? };
        let Some(repository) = world.repository(&place) else {
            let code = "REPOSITORY_NOT_FOUND";
            failures.push(json!({"repositoryName": text, "failureCode": code, "failureReason": code}));
            continue;
        };
        let on_push = repository.scanning.get("scanOnPush").and_then(Value::as_bool).unwrap_or_default();
        found.push(scanning_of(&place, on_push, &rules));
    }
    Ok(json!({"scanningConfigurations": found, "failures": failures}))
}

/// When the images of a repository are scanned: continuously if a rule says so, else on push.
fn scanning_of(place: &RepositoryId, on_push: bool, rules: &[ScanningRule]) -> Value {
    let covers = |filter: &&ScanningFilter| filter.covers(place.repository.as_str());
    let covering = rules.iter().filter(|rule| rule.repository_filters.iter().any(|filter| covers(&filter)));
    let rule = covering.max_by_key(|rule| rule.scan_frequency == ScanFrequency::ContinuousScan);
    let frequency = rule
        .map_or(if on_push { ScanFrequency::ScanOnPush } else { ScanFrequency::Manual }, |rule| rule.scan_frequency);
    let filters: Vec<_> = rule.into_iter().flat_map(|rule| rule.repository_filters.iter().filter(covers)).collect();
    json!({
        "repositoryArn": place.arn(), "repositoryName": place.repository, "scanOnPush": on_push,
        "scanFrequency": frequency, "appliedScanFilters": filters,
    })
}
