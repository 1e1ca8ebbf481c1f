//! Operations on rules of the pull through cache (K1).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html>

use domain::image::Registry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiCaller, ApiError, ApiResult, Paging, between, compact, creation_templates::key_of, invalid, page, read, time,
};
use crate::{
    pull_through::{PullThroughRule, registry_of_host},
    world::World,
};

/// The upstreams with a host of their own, and whether they need credentials.
const UPSTREAMS: [(&str, &str, bool); 8] = [
    ("ecr-public", "public.ecr.aws", false),
    ("quay", "quay.io", false),
    ("k8s", "registry.k8s.io", false),
    ("docker-hub", "registry-1.docker.io", true),
    ("github-container-registry", "ghcr.io", true),
    ("gitlab-container-registry", "registry.gitlab.com", true),
    ("chainguard", "cgr.dev", true),
    ("azure-container-registry", ".azurecr.io", true),
];

/// The most rules of a registry. <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>
const MAX_RULES: usize = 50;

/// The name of an upstream by its URL, and whether it needs credentials.
fn upstream(url: &str) -> Option<(&'static str, bool)> {
    if registry_of_host(url).is_some() {
        return Some(("ecr", false));
    }
    let is_for =
        |host: &str| if host.starts_with('.') { url.len() > host.len() && url.ends_with(host) } else { url == host };
    UPSTREAMS.iter().find(|(_, host, _)| is_for(host)).map(|(name, _, secret)| (*name, *secret))
}

fn description(registry: &Registry, rule: &PullThroughRule) -> Value {
    compact(json!({
        "ecrRepositoryPrefix": rule.prefix, "upstreamRegistryUrl": rule.upstream_url,
        "createdAt": time(rule.created_at), "registryId": registry.account(), "credentialArn": rule.credential_arn,
        "customRoleArn": rule.custom_role_arn, "upstreamRepositoryPrefix": rule.upstream_prefix,
        "upstreamRegistry": rule.upstream_registry, "updatedAt": time(rule.updated_at),
    }))
}

/// Of a description, the members of an operation's response.
fn only(mut description: Value, members: &[&str]) -> Value {
    if let Some(object) = description.as_object_mut() {
        object.retain(|name, _| members.contains(&name.as_str()));
    }
    description
}

fn not_found(prefix: &str, registry: &Registry) -> ApiError {
    let account = registry.account();
    let message = format!(
        "The pull through cache rule with prefix '{prefix}' does not exist in the registry with id '{account}'"
    );
    ApiError::new("PullThroughCacheRuleNotFoundException", message)
}

/// The credentials of a request: the ARN of a secret.
fn check_credential(arn: Option<&String>) -> Result<(), ApiError> {
    let is_secret = |arn: &String| {
        (50..=612).contains(&arn.len())
            && arn.starts_with("arn:aws")
            && arn.contains(":secretsmanager:")
            && arn.contains(":secret:ecr-pullthroughcache/")
    };
    match arn.filter(|arn| !is_secret(arn)) {
        Some(wrong) => Err(invalid(format!(
            "Invalid parameter at 'credentialArn' failed to satisfy constraint: 'must be a secret whose name begins with ecr-pullthroughcache/', got '{wrong}'"
        ))),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleRequest {
    ecr_repository_prefix: String,
    registry_id: Option<String>,
    upstream_registry_url: Option<String>,
    upstream_registry: Option<String>,
    upstream_repository_prefix: Option<String>,
    credential_arn: Option<String>,
    custom_role_arn: Option<String>,
}

impl RuleRequest {
    /// The registry and the key of the rule.
    fn place(&self, world: &World, caller: &ApiCaller, action: &str) -> Result<(Registry, String), ApiError> {
        let registry = world.own_registry(caller, self.registry_id.as_deref(), action)?;
        if !(2..=30).contains(&self.ecr_repository_prefix.len()) {
            return Err(invalid(
                "Invalid parameter at 'ecrRepositoryPrefix' failed to satisfy constraint: 'must have 2 to 30 characters'",
            ));
        }
        Ok((registry, key_of(&self.ecr_repository_prefix)?))
    }
}

pub(super) fn create_pull_through_cache_rule(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: RuleRequest = read(body)?;
    let (registry, key) = request.place(world, caller, "CreatePullThroughCacheRule")?;
    let url = request.upstream_registry_url.unwrap_or_default();
    let Some((name, needs_credentials)) = upstream(&url) else {
        let message = format!("The upstream registry '{url}' is not supported");
        return Err(ApiError::new("UnsupportedUpstreamRegistryException", message));
    };
    if let Some(other) = request.upstream_registry.filter(|other| other != name) {
        return Err(invalid(format!("The upstream registry '{url}' is {name}, not '{other}'")));
    }
    check_credential(request.credential_arn.as_ref())?;
    if needs_credentials && request.credential_arn.is_none() {
        return Err(invalid(format!("The upstream registry '{url}' needs a credentialArn")));
    }
    if let Some(prefix) = &request.upstream_repository_prefix {
        key_of(prefix)?;
    }
    let rules = world.registry(&registry).map(|state| &state.pull_through.rules);
    if rules.is_some_and(|rules| rules.contains_key(&key)) {
        let message = format!(
            "A pull through cache rule with prefix '{}' already exists in the registry with id '{}'",
            request.ecr_repository_prefix,
            registry.account()
        );
        return Err(ApiError::new("PullThroughCacheRuleAlreadyExistsException", message));
    }
    if rules.is_some_and(|rules| rules.len() >= MAX_RULES) {
        let message = format!("A registry has at most {MAX_RULES} pull through cache rules");
        return Err(ApiError::new("LimitExceededException", message));
    }
    let now = world.moment();
    let rule = PullThroughRule {
        prefix: request.ecr_repository_prefix,
        upstream_url: url,
        upstream_registry: name.to_owned(),
        upstream_prefix: request.upstream_repository_prefix,
        credential_arn: request.credential_arn,
        custom_role_arn: request.custom_role_arn,
        created_at: now,
        updated_at: now,
    };
    let answer = description(&registry, &rule);
    world.registry_mut(&registry).pull_through.rules.insert(key, rule);
    let members = [
        "ecrRepositoryPrefix",
        "upstreamRegistryUrl",
        "createdAt",
        "registryId",
        "upstreamRegistry",
        "credentialArn",
        "customRoleArn",
        "upstreamRepositoryPrefix",
    ];
    Ok(only(answer, &members))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UpdatePullThroughCacheRule.html>
pub(super) fn update_pull_through_cache_rule(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: RuleRequest = read(body)?;
    let (registry, key) = request.place(world, caller, "UpdatePullThroughCacheRule")?;
    check_credential(request.credential_arn.as_ref())?;
    let now = world.moment();
    let rule = world.registry_mut(&registry).pull_through.rules.get_mut(&key);
    let rule = rule.ok_or_else(|| not_found(&request.ecr_repository_prefix, &registry))?;
    rule.credential_arn = request.credential_arn.or(rule.credential_arn.take());
    rule.custom_role_arn = request.custom_role_arn.or(rule.custom_role_arn.take());
    rule.updated_at = now;
    let members = [
        "ecrRepositoryPrefix",
        "registryId",
        "updatedAt",
        "credentialArn",
        "customRoleArn",
        "upstreamRepositoryPrefix",
    ];
    Ok(only(description(&registry, rule), &members))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeletePullThroughCacheRule.html>
pub(super) fn delete_pull_through_cache_rule(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: RuleRequest = read(body)?;
    let (registry, key) = request.place(world, caller, "DeletePullThroughCacheRule")?;
    let rule = world.registry_mut(&registry).pull_through.rules.remove(&key);
    let rule = rule.ok_or_else(|| not_found(&request.ecr_repository_prefix, &registry))?;
    let members = [
        "ecrRepositoryPrefix",
        "upstreamRegistryUrl",
        "createdAt",
        "registryId",
        "credentialArn",
        "customRoleArn",
        "upstreamRepositoryPrefix",
    ];
    Ok(only(description(&registry, &rule), &members))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribePullThroughCacheRules.html>
pub(super) fn describe_pull_through_cache_rules(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        registry_id: Option<String>,
        ecr_repository_prefixes: Option<Vec<String>>,
        #[serde(flatten)]
        paging: Paging,
    }
    let request: Request = read(body)?;
    let registry = world.own_registry(caller, request.registry_id.as_deref(), "DescribePullThroughCacheRules")?;
    let rules = world.registry(&registry).map(|state| state.pull_through.rules.clone()).unwrap_or_default();
    if let Some(prefixes) = &request.ecr_repository_prefixes {
        between("ecrRepositoryPrefixes", prefixes, 100)?;
        let rules = prefixes.iter().map(|prefix| {
            let rule = rules.get(&key_of(prefix)?).ok_or_else(|| not_found(prefix, &registry))?;
            Ok(description(&registry, rule))
        });
        return Ok(json!({"pullThroughCacheRules": rules.collect::<Result<Vec<_>, ApiError>>()?}));
    }
    let entries = rules.into_iter().map(|(key, rule)| (key, description(&registry, &rule)));
    let (listed, next) = page(entries, &request.paging, 100, 1000)?;
    Ok(compact(json!({"pullThroughCacheRules": listed, "nextToken": next})))
}

/// Secrets are not simulated: a rule with credentials is not valid.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ValidatePullThroughCacheRule.html>
pub(super) fn validate_pull_through_cache_rule(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: RuleRequest = read(body)?;
    let (registry, key) = request.place(world, caller, "ValidatePullThroughCacheRule")?;
    let rule = world.registry(&registry).and_then(|state| state.pull_through.rules.get(&key));
    let rule = rule.ok_or_else(|| not_found(&request.ecr_repository_prefix, &registry))?;
    let failure = rule.credential_arn.as_ref().map(|_| "The simulator has no secrets");
    let mut answer = only(
        description(&registry, rule),
        &[
            "ecrRepositoryPrefix",
            "registryId",
            "upstreamRegistryUrl",
            "credentialArn",
            "customRoleArn",
            "upstreamRepositoryPrefix",
        ],
    );
    if let Some(members) = answer.as_object_mut() {
        members.insert("isValid".to_owned(), failure.is_none().into());
        members.extend(failure.map(|failure| ("failure".to_owned(), failure.into())));
    }
    Ok(answer)
}
