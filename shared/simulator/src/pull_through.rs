//! The pull through cache: images of an upstream registry, stored when they are pulled (K1).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html>. The simulator reaches other
//! registries of its own process, which are upstreams of the kind `ecr`; rules for all others are only stored.

use std::{collections::BTreeMap, sync::Arc};

use domain::image::{Registry, Tag};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    clock::later,
    creation_template::{CreationReason, ROOT},
    manifest::Manifest,
    repository::{ImageId, ImageStatus},
    world::{RepositoryId, World},
};

/// A rule of the pull through cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PullThroughRule {
    /// The prefix as it was given.
    pub(crate) prefix: String,
    pub(crate) upstream_url: String,
    pub(crate) upstream_registry: String,
    pub(crate) upstream_prefix: Option<String>,
    pub(crate) credential_arn: Option<String>,
    pub(crate) custom_role_arn: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// The rules of a registry, and when each cached tag was compared with its upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PullThroughCache {
    /// The rules by prefix, which ends with no `/`.
    pub(crate) rules: BTreeMap<String, PullThroughRule>,
    checked: BTreeMap<String, Timestamp>,
}

/// How often ECR asks an upstream whether a cached tag means another image there.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html>
const CHECKED_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// The private registry of a host name such as `111122223333.dkr.ecr.eu-west-1.amazonaws.com`.
pub(crate) fn registry_of_host(host: &str) -> Option<Registry> {
    let mut parts = host.split('.');
    let (account, _dkr, _ecr, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Registry::new(account, region).ok().filter(|registry| registry.host() == host)
}

/// The prefixes of a name that end before a `/`, longest first, and `ROOT`.
pub(crate) fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('/').filter_map(|(end, _)| name.get(..end)).chain([ROOT])
}

impl World {
    /// The rule that covers a repository, and the repository of the upstream, if that is a registry of this process.
    fn upstream(&self, place: &RepositoryId) -> Option<(&PullThroughRule, RepositoryId)> {
        let name = place.repository.as_str();
        let rules = &self.registry(&place.registry)?.pull_through.rules;
        let (prefix, rule) = prefixes(name).find_map(|prefix| rules.get_key_value(prefix))?;
        let registry = registry_of_host(&rule.upstream_url)?;
        let rest = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        let repository = match rule.upstream_prefix.as_deref().map(|prefix| prefix.trim_end_matches('/')) {
            None | Some(ROOT) => rest.to_owned(),
            Some(prefix) => format!("{prefix}/{rest}"),
        };
        Some((rule, RepositoryId { registry, repository: repository.parse().ok()? }))
    }

    /// Whether an upstream lets the cache of another registry read it. Another account's registry policy must allow it
    /// (inferred: AWS asks for `ecr:BatchGetImage` and two more).
    fn may_cache(&self, from: &RepositoryId, to: &Registry) -> bool {
        let account = to.account();
        let caller = from.registry.partition().iam_arn(account, "root");
        from.registry.account() == account
            || self.policy_allows(&from.registry, &caller, account, "ecr:BatchGetImage", &from.arn())
    }

    /// Brings an image that is pulled from its upstream, unless the cache has it. A tag is compared with its upstream
    /// once in 24 hours.
    pub(crate) fn pull_through(&mut self, place: &RepositoryId, id: &ImageId) {
        let Some((rule, from)) = self.upstream(place) else { return };
        let (prefix, url) = (rule.prefix.clone(), rule.upstream_url.clone());
        let key = format!("{}:{}", place.repository, id.image_tag.as_deref().unwrap_or_default());
        let state = self.registry(&place.registry).map(|state| &state.pull_through);
        let checked = state.and_then(|cache| cache.checked.get(&key)).copied();
        let held = self.repository(place).and_then(|repository| repository.resolve(id).ok());
        let fresh = id.image_tag.is_none() || checked.is_some_and(|at| self.now() < later(at, CHECKED_EVERY));
        if held.is_some() && fresh || !self.may_cache(&from, &place.registry) {
            return;
        }
        let upstream = self.repository(&from).and_then(|repository| {
            let (digest, tag) = repository.resolve(id).ok()?;
            let image = repository.image(&digest)?;
            (image.state.status == ImageStatus::Active).then(|| (image.manifest.clone(), tag))
        });
        let Some((manifest, tag)) = upstream else { return };
        self.begin();
        let now = self.now();
        if id.image_tag.is_some() {
            self.registry_mut(&place.registry).pull_through.checked.insert(key, now);
        }
        if held.is_some_and(|(digest, _)| digest == manifest.digest) {
            return;
        }
        if self.repository(place).is_none() {
            self.create_repository_for(place, CreationReason::PullThroughCache);
        }
        self.cache(place, &manifest);
        let taken = |tag: &Tag| {
            self.repository(place).is_some_and(|here| here.tagged(tag).is_some() && here.mutability.is_immutable(tag))
        };
        let tag = tag.filter(|tag| !taken(tag));
        if let Some(tag) = &tag {
            self.set_tag(place, tag, &manifest.digest);
        }
        self.emit_pull_through(place, &prefix, &url, &manifest.digest, tag.as_ref());
    }

    /// Stores a manifest with its children and layers.
    fn cache(&mut self, place: &RepositoryId, manifest: &Arc<Manifest>) {
        for child in &manifest.children {
            if let Some(child) = self.manifest(child) {
                self.cache(place, &child);
            }
        }
        self.store_replica(place, manifest);
    }
}
