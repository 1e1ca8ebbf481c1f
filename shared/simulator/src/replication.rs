//! Replication: destinations of images, arrival of copies, and ECR's native deletion replication.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::image::{Digest, Registry, Tag};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    clock::later,
    creation_template::CreationReason,
    event::Action,
    manifest::Manifest,
    repository::{CopyState, CopyStatus, ImageState, ImageStatus, StoredImage},
    settings::Lag,
    trouble::CopyFate,
    world::{PendingTask, RepositoryId, World},
};

/// The replication configuration of a registry, as in requests and responses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReplicationConfiguration {
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) destinations: Vec<Destination>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repository_filters: Option<Vec<RepositoryFilter>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete_replication: Option<DeleteReplication>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Destination {
    pub(crate) region: String,
    pub(crate) registry_id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RepositoryFilter {
    pub(crate) filter: String,
    pub(crate) filter_type: String,
}

/// The setting of native deletion replication (R8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeleteReplication {
    pub(crate) enabled: bool,
}

impl Destination {
    pub(crate) fn registry(&self) -> Option<Registry> {
        Registry::new(&self.registry_id, &self.region).ok()
    }
}

impl Rule {
    /// Whether the rule covers a repository. A filter is a prefix of the name: as text, so that `prod` also matches
    /// `production`, or as a path (R1, U22). A rule without filters covers every repository.
    fn covers(&self, repository: &str, as_text: bool) -> bool {
        let is_prefix = |filter: &RepositoryFilter| {
            let rest = repository.strip_prefix(&filter.filter);
            rest.is_some_and(|rest| as_text || rest.is_empty() || rest.starts_with('/') || filter.filter.ends_with('/'))
        };
        self.repository_filters.as_deref().is_none_or(|filters| filters.iter().any(is_prefix))
    }
}

impl ReplicationConfiguration {
    /// The destinations of all rules, each once.
    pub(crate) fn all_destinations(&self) -> BTreeSet<Registry> {
        self.rules.iter().flat_map(|rule| &rule.destinations).filter_map(Destination::registry).collect()
    }

    /// The destinations of a repository, each once; with `only_deletions`, only those of rules that also replicate
    /// deletions.
    fn destinations(&self, repository: &str, only_deletions: bool, as_text: bool) -> BTreeSet<Registry> {
        let deletes = |rule: &&Rule| rule.delete_replication.as_ref().is_some_and(|switch| switch.enabled);
        let rules = self.rules.iter().filter(|rule| rule.covers(repository, as_text));
        let rules = rules.filter(|rule| !only_deletions || deletes(rule));
        rules.flat_map(|rule| &rule.destinations).filter_map(Destination::registry).collect()
    }
}

/// A copy in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CopyTask {
    pub(crate) from: RepositoryId,
    pub(crate) to: Registry,
    pub(crate) digest: Digest,
    pub(crate) tag: Option<Tag>,
    /// The failure code with which the copy will end. It is decided at the start: "in-progress replications" finish,
    /// even if permissions change (R5).
    pub(crate) failure: Option<String>,
}

/// A deletion in progress that ECR replicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeletionTask {
    place: RepositoryId,
    digest: Digest,
    /// Only this tag is deleted; nothing if the image was deleted at the source.
    tag: Option<Tag>,
}

impl World {
    /// Starts the copies of an image that was pushed or restored, with the tag of the push (R2, R3).
    pub(crate) fn replicate(&mut self, place: &RepositoryId, digest: &Digest, tag: Option<&Tag>) {
        for to in self.destinations(place, false) {
            let fate = self.copy_fate();
            if fate == CopyFate::NeverBegins {
                continue;
            }
            let refused = self.refusal(place, &to);
            let failure = refused.or((fate == CopyFate::Fails).then_some("InternalError")).map(str::to_owned);
            self.set_copy(place, digest, &to, CopyStatus::InProgress, None);
            let extra = match fate {
                CopyFate::Stuck | CopyFate::NeverBegins => continue,
                CopyFate::Fails => SignedDuration::ZERO,
                CopyFate::Arrives(extra) => extra,
            };
            let at = later(later(self.now(), self.lag(&to)), extra);
            let copy = CopyTask { from: place.clone(), to, digest: digest.clone(), tag: tag.cloned(), failure };
            self.plan(at, PendingTask::Copy(copy));
        }
    }

    /// The destinations of a repository; with `only_deletions`, only those that also receive deletions.
    pub(crate) fn destinations(&self, place: &RepositoryId, only_deletions: bool) -> BTreeSet<Registry> {
        let as_text = self.settings.unconfirmed.filters_are_text_prefixes;
        let configured = self.registry(&place.registry).map(|registry| &registry.replication);
        let name = place.repository.as_str();
        configured.map(|rules| rules.destinations(name, only_deletions, as_text)).unwrap_or_default()
    }

    fn lag(&mut self, to: &Registry) -> SignedDuration {
        let Lag { from, to } = self.settings.lags.get(to).copied().unwrap_or(self.settings.lag);
        let width = to.saturating_sub(from).as_millis();
        from.saturating_add(self.chance_of_copy().up_to(u64::try_from(width).unwrap_or(0)))
    }

    /// The failure code if a destination in another account does not permit the copy (R5).
    pub(crate) fn refusal(&self, from: &RepositoryId, to: &Registry) -> Option<&'static str> {
        let place = from.in_registry(to);
        let account = from.registry.account();
        if to.account() == account {
            return None;
        }
        if !self.allowed(&place, account, "ecr:ReplicateImage") {
            return Some("AccessDenied");
        }
        let creates = self.repository(&place).is_none();
        (creates && !self.allowed(&place, account, "ecr:CreateRepository")).then_some("RepositoryNotFound")
    }

    /// Whether a registry's policy allows an action of another account's ECR.
    fn allowed(&self, place: &RepositoryId, account: &str, action: &str) -> bool {
        let caller = place.registry.partition().iam_arn(account, "root");
        self.policy_allows(&place.registry, &caller, account, action, &place.arn())
    }

    /// Draws the fate of the next copy.
    pub(crate) fn copy_fate(&mut self) -> CopyFate {
        let mut chance = self.chance_of_copy();
        self.settings.trouble.of_copy(&mut chance)
    }

    fn set_copy(
        &mut self,
        from: &RepositoryId,
        digest: &Digest,
        to: &Registry,
        status: CopyStatus,
        failure_code: Option<String>,
    ) {
        if let Some(image) = self.image_mut(from, digest) {
            image.copies.insert(to.clone(), CopyState { status, failure_code });
        }
    }

    /// Completes a copy: it arrives or fails.
    pub(crate) fn arrive(&mut self, copy: &CopyTask) {
        let unconfirmed = &self.settings.unconfirmed;
        let source = self.repository(&copy.from).and_then(|repository| repository.image(&copy.digest));
        if source.is_none() && !unconfirmed.replication_survives_deletion {
            return;
        }
        let place = copy.from.in_registry(&copy.to);
        if let Some(code) = &copy.failure {
            let silent = code != "InternalError" && !unconfirmed.denied_replication_emits_failed;
            self.set_copy(&copy.from, &copy.digest, &copy.to, CopyStatus::Failed, Some(code.clone()));
            match code.as_str() {
                "AccessDenied" => self.emit_denied_copy(&place, &copy.from.registry, "ReplicateImage"),
                "RepositoryNotFound" => self.emit_denied_copy(&place, &copy.from.registry, "CreateRepository"),
                _ => {}
            }
            if !silent {
                let failed = Err(code.as_str());
                self.emit_replication(&place, &copy.from.registry, &copy.digest, copy.tag.as_ref(), failed);
            }
            return;
        }
        let moved =
            |tag: &Tag| self.repository(&copy.from).and_then(|repository| repository.tagged(tag)) != Some(&copy.digest);
        let tag = copy.tag.as_ref().filter(|tag| self.settings.unconfirmed.late_replica_takes_tag || !moved(tag));
        self.copy(&copy.from.registry, &place, &copy.digest, tag);
        self.set_copy(&copy.from, &copy.digest, &copy.to, CopyStatus::Complete, None);
    }

    /// Stores a copy in the destination.
    pub(crate) fn copy(&mut self, source: &Registry, place: &RepositoryId, digest: &Digest, tag: Option<&Tag>) {
        let Some(manifest) = self.manifest(digest) else { return };
        if self.repository(place).is_none() {
            // R4: with the settings of a creation template or default settings, regardless of the source's.
            self.create_repository_for(place, CreationReason::Replication);
        }
        self.copy_children(source, place, &manifest);
        self.store_replica(place, &manifest);
        let taken = tag.is_some_and(|tag| {
            self.repository(place).is_some_and(|repository| {
                repository.mutability.is_immutable(tag) && repository.tagged(tag).is_some_and(|other| other != digest)
            })
        });
        // R6: "the image is replicated but won't contain the duplicated tag".
        if let Some(tag) = tag.filter(|_| !taken) {
            self.set_tag(place, tag, digest);
        }
        let description = tag.filter(|_| !taken || self.settings.unconfirmed.untagged_replica_event_has_tag);
        self.emit_replication(place, source, digest, description, Ok(()));
        if self.settings.unconfirmed.replica_emits_push {
            self.emit_image_action(place, &manifest, description, Action::Push);
        }
    }

    /// Copies the children of an index (R7).
    fn copy_children(&mut self, source: &Registry, place: &RepositoryId, index: &Manifest) {
        // Indexes may refer to each other in a long chain: nothing is visited twice, and nothing by recursion.
        let (mut missing, mut found) = (index.children.clone(), BTreeSet::new());
        let mut copied = Vec::new();
        while let Some(child) = missing.pop() {
            let there = self.repository(place).is_some_and(|repository| repository.image(&child).is_some());
            let Some(manifest) = self.manifest(&child).filter(|_| !there && found.insert(child)) else { continue };
            missing.extend(manifest.children.iter().cloned());
            copied.push(manifest);
        }
        // In the order of the list.
        for manifest in copied.into_iter().rev() {
            self.store_replica(place, &manifest);
            if self.settings.unconfirmed.children_emit_replicate {
                self.emit_replication(place, source, &manifest.digest, None, Ok(()));
            }
        }
    }

    pub(crate) fn store_replica(&mut self, place: &RepositoryId, manifest: &Arc<Manifest>) {
        let moment = self.moment();
        match self.image_mut(place, &manifest.digest) {
            None => {
                self.put_image(place, StoredImage { manifest: manifest.clone(), state: ImageState::pushed(moment) });
            }
            // R11: "If the image to be replicated is archived in the destination, then it will be restored".
            Some(image) if image.status != ImageStatus::Active => {
                image.status = ImageStatus::Active;
                image.activated_at = Some(moment);
            }
            Some(_) => {}
        }
        self.copy_layers(place, manifest);
    }

    /// Starts the native replication of a deletion (R8): of a tag, or of an image that was deleted here.
    pub(crate) fn replicate_deletion(&mut self, place: &RepositoryId, digest: &Digest, tag: Option<&Tag>) {
        for to in self.destinations(place, true) {
            let at = later(self.now(), self.lag(&to));
            let deletion = DeletionTask { place: place.in_registry(&to), digest: digest.clone(), tag: tag.cloned() };
            self.plan(at, PendingTask::Deletion(deletion));
        }
    }

    /// Completes a replicated deletion.
    pub(crate) fn delete_replica(&mut self, deletion: &DeletionTask) {
        let DeletionTask { place, digest, tag } = deletion;
        let Some(repository) = self.repository(place) else { return };
        let emits = self.settings.unconfirmed.replicated_delete_emits_delete;
        match tag {
            Some(tag) if repository.tagged(tag) == Some(digest) => self.untag(place, tag, emits),
            None if repository.index_of(digest).is_none() => self.delete_image(place, digest, emits),
            _ => {}
        }
    }

    /// Deletes an image with all its tags, and emits ECR's events of it (U2).
    pub(crate) fn delete_image(&mut self, place: &RepositoryId, digest: &Digest, emits: bool) {
        let Some(image) = self.remove_image(place, digest) else { return };
        if !emits {
            return;
        }
        if image.state.tags.is_empty() || !self.settings.unconfirmed.delete_per_tag {
            self.emit_image_action(place, &image.manifest, None, Action::Delete);
            return;
        }
        for tag in &image.state.tags {
            self.emit_image_action(place, &image.manifest, Some(tag), Action::Delete);
        }
    }

    /// Removes a tag; without any tag left, also the image (D1).
    pub(crate) fn untag(&mut self, place: &RepositoryId, tag: &Tag, emits: bool) {
        let digest = self.repository(place).and_then(|repository| repository.tagged(tag)).cloned();
        let Some(manifest) = digest.and_then(|digest| self.manifest(&digest)) else { return };
        let last = self.remove_tag(place, tag);
        if let Some(digest) = &last {
            self.remove_image(place, digest);
        }
        if emits && (last.is_some() || self.settings.unconfirmed.tag_removal_emits_delete) {
            self.emit_image_action(place, &manifest, Some(tag), Action::Delete);
        }
    }

    /// The copies of an image, by destination.
    pub(crate) fn copies(&self, place: &RepositoryId, digest: &Digest) -> BTreeMap<Registry, CopyState> {
        let image = self.repository(place).and_then(|repository| repository.image(digest));
        image.map(|image| image.state.copies.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(json: &str) -> ReplicationConfiguration {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_filter_is_a_prefix_of_the_text_and_no_filter_means_everything() {
        let rules = configuration(
            r#"{"rules": [{"destinations": [{"region": "us-east-1", "registryId": "111122223333"}],
            "repositoryFilters": [{"filter": "prod", "filterType": "PREFIX_MATCH"}, {"filter": "base/", "filterType": "PREFIX_MATCH"}]}]}"#,
        );
        for name in ["prod", "prod/app", "production/app", "base/os"] {
            assert_eq!(rules.destinations(name, false, true).len(), 1, "{name}");
        }
        for name in ["dev/prod", "base"] {
            assert!(rules.destinations(name, false, true).is_empty(), "{name}");
        }
        for (name, covered) in [("prod", 1), ("prod/app", 1), ("production/app", 0), ("base/os", 1), ("base", 0)] {
            assert_eq!(rules.destinations(name, false, false).len(), covered, "{name}");
        }
        let all =
            configuration(r#"{"rules": [{"destinations": [{"region": "us-east-1", "registryId": "111122223333"}]}]}"#);
        assert_eq!(all.destinations("anything", false, true).len(), 1);
    }

    #[test]
    fn destinations_are_unique_and_deletions_need_delete_replication() {
        let rules = configuration(
            r#"{"rules": [
            {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}, {"region": "us-west-2", "registryId": "111122223333"}]},
            {"destinations": [{"region": "us-east-1", "registryId": "111122223333"}], "deleteReplication": {"enabled": true}},
            {"destinations": [{"region": "us-west-2", "registryId": "111122223333"}], "deleteReplication": {"enabled": false}}]}"#,
        );
        assert_eq!(rules.destinations("app", false, true).len(), 2);
        let deletes: Vec<_> = rules.destinations("app", true, true).into_iter().map(|to| to.to_string()).collect();
        assert_eq!(deletes, ["111122223333/us-east-1"]);
    }
}
