//! Operations on repository creation templates (R4).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepositoryCreationTemplate.html>

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiCaller, ApiError, ApiResult, Paging, between, compact, invalid, name, page, read,
    repositories::{check, read_lifecycle_policy},
    resource_tags::{self, ResourceTag, ResourceTags},
    time, unsatisfied,
};
use crate::{
    creation_template::{CreationReason, CreationTemplate, ROOT},
    policy::Policy,
    repository::{Mutability, MutabilitySetting},
    world::World,
};

/// The settings of a request; an update keeps those that it does not name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateRequest {
    prefix: String,
    description: Option<String>,
    encryption_configuration: Option<Encryption>,
    resource_tags: Option<Vec<ResourceTag>>,
    image_tag_mutability: Option<MutabilitySetting>,
    #[serde(rename = "imageTagMutabilityExclusionFilters", default)]
    exclusions: Vec<crate::repository::ExclusionFilter>,
    repository_policy: Option<String>,
    lifecycle_policy: Option<String>,
    applied_for: Option<Vec<CreationReason>>,
    custom_role_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Encryption {
    encryption_type: EncryptionType,
    #[serde(default)]
    kms_key: String,
}

#[derive(Clone, Copy, PartialEq, Deserialize, serde::Serialize)]
enum EncryptionType {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "KMS")]
    Kms,
    #[serde(rename = "KMS_DSSE")]
    KmsDsse,
}

impl Encryption {
    fn into_value(self) -> Result<Value, ApiError> {
        let Self { encryption_type, kms_key } = self;
        if kms_key.is_empty() {
            return Ok(json!({"encryptionType": encryption_type}));
        }
        let is_key = kms_key.len() <= 2048 && kms_key.starts_with("arn:aws") && kms_key.contains(":kms:");
        if encryption_type == EncryptionType::Aes256 || !is_key {
            return Err(invalid(format!("Invalid KMS key '{kms_key}'")));
        }
        Ok(json!({"encryptionType": encryption_type, "kmsKey": kms_key}))
    }
}

/// The key of a prefix: "There is always an assumed `/` applied to the end of the prefix".
pub(super) fn key_of(prefix: &str) -> Result<String, ApiError> {
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    // One character is enough here, while a repository's name has two.
    let padded = if trimmed.len() == 1 { format!("{trimmed}{trimmed}") } else { trimmed.to_owned() };
    if prefix != ROOT && name(&padded).is_err() {
        return Err(invalid(format!(
            "Invalid parameter at 'prefix' failed to satisfy constraint: 'must be a repository namespace or {ROOT}', got '{prefix}'"
        )));
    }
    Ok(trimmed.to_owned())
}

impl TemplateRequest {
    /// Writes the settings of the request into a template.
    fn apply(self, template: &mut CreationTemplate) -> Result<(), ApiError> {
        let long = |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
        for (member, text, most) in [
            ("description", &self.description, 256),
            ("customRoleArn", &self.custom_role_arn, 2048),
            ("repositoryPolicy", &self.repository_policy, 10240),
        ] {
            if long(text, most) {
                return Err(invalid(format!(
                    "Invalid parameter at '{member}' failed to satisfy constraint: 'Member must have length less than or equal to {most}'"
                )));
            }
        }
        if let Some(reasons) = self.applied_for {
            between("appliedFor", &reasons, 3)?;
            template.applied_for = reasons;
        }
        if let Some(setting) = self.image_tag_mutability {
            template.mutability = Mutability { setting, exclusions: self.exclusions };
            check(&template.mutability)?;
        }
        if let Some(text) = self.lifecycle_policy {
            // An empty policy removes it.
            template.lifecycle_policy = (!text.is_empty()).then_some(text);
            template.lifecycle_policy.as_deref().map(read_lifecycle_policy).transpose()?;
        }
        if let Some(text) = self.repository_policy {
            if !text.is_empty() {
                Policy::check_of_repository(&text).map_err(|wrong| unsatisfied("PolicyText", &wrong))?;
            }
            template.repository_policy = (!text.is_empty()).then_some(text);
        }
        if let Some(tags) = self.resource_tags {
            // This operation documents no error of tags.
            let tags = resource_tags::with(&ResourceTags::new(), tags);
            template.resource_tags = tags.map_err(|error| invalid(error.message))?;
        }
        if let Some(encryption) = self.encryption_configuration {
            template.encryption = Some(encryption.into_value()?);
        }
        template.description = self.description.or(template.description.take());
        template.custom_role_arn = self.custom_role_arn.or(template.custom_role_arn.take());
        Ok(())
    }
}

fn description(template: &CreationTemplate) -> Value {
    let default = json!({"encryptionType": "AES256"});
    let exclusions = &template.mutability.exclusions;
    compact(json!({
        "prefix": template.prefix, "description": template.description,
        "encryptionConfiguration": template.encryption.as_ref().unwrap_or(&default),
        "resourceTags": resource_tags::list(&template.resource_tags),
        "imageTagMutability": template.mutability.setting,
        "imageTagMutabilityExclusionFilters": (!exclusions.is_empty()).then_some(exclusions),
        "repositoryPolicy": template.repository_policy, "lifecyclePolicy": template.lifecycle_policy,
        "appliedFor": template.applied_for, "customRoleArn": template.custom_role_arn,
        "createdAt": time(template.created_at), "updatedAt": time(template.updated_at),
    }))
}

pub(super) fn create_repository_creation_template(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: TemplateRequest = read(body)?;
    let registry = world.own_registry(caller, None, "CreateRepositoryCreationTemplate")?;
    let key = key_of(&request.prefix)?;
    if world.registry(&registry).is_some_and(|state| state.templates.contains_key(&key)) {
        let message = format!(
            "A repository creation template with prefix '{}' already exists in the registry with id '{}'",
            request.prefix,
            registry.account()
        );
        return Err(ApiError::new("TemplateAlreadyExistsException", message));
    }
    if request.applied_for.is_none() {
        return Err(invalid("Invalid parameter at 'appliedFor' failed to satisfy constraint: 'must not be null'"));
    }
    let now = world.moment();
    let mut template = CreationTemplate {
        prefix: request.prefix.clone(),
        description: None,
        encryption: None,
        resource_tags: ResourceTags::new(),
        mutability: Mutability { setting: MutabilitySetting::default(), exclusions: Vec::new() },
        repository_policy: None,
        lifecycle_policy: None,
        applied_for: Vec::new(),
        custom_role_arn: None,
        created_at: now,
        updated_at: now,
    };
    request.apply(&mut template)?;
    let answer = json!({"registryId": registry.account(), "repositoryCreationTemplate": description(&template)});
    world.registry_mut(&registry).templates.insert(key, template);
    Ok(answer)
}

fn not_found(prefix: &str, account: &str) -> ApiError {
    let message = format!(
        "The repository creation template with prefix '{prefix}' does not exist in the registry with id '{account}'"
    );
    ApiError::new("TemplateNotFoundException", message)
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UpdateRepositoryCreationTemplate.html>
pub(super) fn update_repository_creation_template(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: TemplateRequest = read(body)?;
    let registry = world.own_registry(caller, None, "UpdateRepositoryCreationTemplate")?;
    let key = key_of(&request.prefix)?;
    let known = world.registry(&registry).and_then(|state| state.templates.get(&key)).cloned();
    let mut template = known.ok_or_else(|| not_found(&request.prefix, registry.account()))?;
    request.apply(&mut template)?;
    template.updated_at = world.moment();
    let answer = json!({"registryId": registry.account(), "repositoryCreationTemplate": description(&template)});
    world.registry_mut(&registry).templates.insert(key, template);
    Ok(answer)
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepositoryCreationTemplate.html>
pub(super) fn delete_repository_creation_template(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        prefix: String,
    }
    let Request { prefix } = read(body)?;
    let registry = world.own_registry(caller, None, "DeleteRepositoryCreationTemplate")?;
    let removed = world.registry_mut(&registry).templates.remove(&key_of(&prefix)?);
    let template = removed.ok_or_else(|| not_found(&prefix, registry.account()))?;
    Ok(json!({"registryId": registry.account(), "repositoryCreationTemplate": description(&template)}))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositoryCreationTemplates.html>
pub(super) fn describe_repository_creation_templates(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    struct Request {
        prefixes: Option<Vec<String>>,
        #[serde(flatten)]
        paging: Paging,
    }
    let Request { prefixes, paging } = read(body)?;
    let registry = world.own_registry(caller, None, "DescribeRepositoryCreationTemplates")?;
    let keys = prefixes.map(|prefixes| prefixes.iter().map(|prefix| key_of(prefix)).collect::<Result<Vec<_>, _>>());
    let keys = keys.transpose()?;
    let state = world.registry(&registry);
    let templates = state.into_iter().flat_map(|state| &state.templates);
    // Prefixes that no template has are left out (inferred: the operation has no error for them).
    let asked = templates.filter(|(key, _)| keys.as_ref().is_none_or(|keys| keys.contains(key)));
    let entries = asked.map(|(key, template)| (key.clone(), description(template)));
    let (listed, next) = page(entries, &paging, 100, 1000)?;
    Ok(compact(json!({"registryId": registry.account(), "repositoryCreationTemplates": listed, "nextToken": next})))
}
