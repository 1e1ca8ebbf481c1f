//! Replicas are deleted after their source's deletion where the policy permits it, and nowhere else.
//!
//! - `controls`: pauses and holds of operators, and acts on many deletions.
//! - `flows`: from the source's deletion to the outcome, step by step.
//! - `interruptions`: every call fails once in every way, two runs at once, unusable policies, old events.
//! - `peers`: mistakes of other tools, by name.
//! - `usage`: what services run is kept.
//! - `safety`: what must never be deleted, and what must be, after any history.

mod controls;
mod flows;
mod interruptions;
mod peers;
mod safety;
mod usage;

pub(crate) use interruptions::impatient;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use domain::{
    deletion::{Deletion, DeletionStatus},
    image::{Image, Registry, Tag},
    plan::Mode,
};
use mirror::MirrorSummary;
use policy::Policy;
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::{ApiCaller, ApiError, settings::Settings};

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    logs,
    registries::{APP, IMAGE, INDEX, destination, digest},
};

/// Permits every deletion, one day after the source's.
pub(crate) const FOLLOW: &str = r#"
    @id("follow") @grace("24h")
    permit (principal, action in [Action::"delete", Action::"untag"], resource);
"#;

/// Three registries, with replication from Ireland to the other two, and `mirror` in enforce mode.
pub(crate) struct Site {
    pub(crate) local: Local,
}

impl Site {
    pub(crate) async fn new(policy: &str) -> Self {
        Self::with(policy, Settings::default()).await
    }

    pub(crate) async fn with(policy: &str, registries: Settings) -> Self {
        Self::open(policy, registries, None).await
    }

    pub(crate) async fn open(policy: &str, registries: Settings, data: Option<PathBuf>) -> Self {
        logs::check();
        let now = "2026-11-02T09:00:00Z".parse().unwrap();
        let settings = LocalSettings { registries, now, data, mode: Mode::Enforce, ..LocalSettings::default() };
        let mut local = Local::start(settings).await.unwrap();
        local.mirror.policy = Policy::load("test.cedar", policy);
        assert!(local.mirror.policy.is_ok(), "{:?}", local.mirror.policy);
        let site = Self { local };
        let allow = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        for registry in [IRELAND, VIRGINIA, TOKYO] {
            site.call(registry, "PutRegistryPolicy", json!({"policyText": allow.to_string()}));
        }
        site.call(IRELAND, "CreateRepository", json!({}));
        site.replicate(IRELAND, &[VIRGINIA, TOKYO], false);
        site
    }

    /// An image that both replica registries have, and that Ireland deleted.
    pub(crate) async fn with_loss(policy: &str) -> (Self, Image) {
        let site = Self::new(policy).await;
        let image = site.push(IRELAND, &manifest("a"), Some("v1"));
        site.arrive().await;
        assert!(site.has(VIRGINIA, &image) && site.has(TOKYO, &image));
        site.delete_image(IRELAND, &image);
        (site, image)
    }

    /// A call to ECR about the repository; it must succeed.
    pub(crate) fn call(&self, registry: &str, operation: &str, body: Value) -> Value {
        self.call_for(APP, registry, operation, body)
    }

    /// A call to ECR about a repository; it must succeed.
    pub(crate) fn call_for(&self, repository: &str, registry: &str, operation: &str, body: Value) -> Value {
        let answer = self.answer_for(repository, registry, operation, body);
        answer.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    /// The answer to a call to ECR about the repository.
    pub(crate) fn try_call(&self, registry: &str, operation: &str, body: Value) -> Result<Value, ApiError> {
        self.answer_for(APP, registry, operation, body)
    }

    fn answer_for(
        &self,
        repository: &str,
        registry: &str,
        operation: &str,
        mut body: Value,
    ) -> Result<Value, ApiError> {
        body["repositoryName"] = json!(repository);
        let (account, region) = registry.split_once('/').unwrap();
        let arn = format!("arn:aws:sts::{account}:assumed-role/platform/dana");
        let caller = ApiCaller { account: account.to_owned(), region: region.to_owned(), arn };
        self.local.simulator.call(&caller, operation, body.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn replicate(&self, from: &str, to: &[&str], native: bool) {
        let destinations: Vec<_> = to.iter().map(|to| destination(to)).collect();
        let mut rule = json!({"destinations": destinations});
        if native {
            rule["deleteReplication"] = json!({"enabled": true});
        }
        self.call(from, "PutReplicationConfiguration", json!({"replicationConfiguration": {"rules": [rule]}}));
    }

    pub(crate) fn push(&self, registry: &str, manifest: &str, tag: Option<&str>) -> Image {
        let mut body = json!({"imageManifest": manifest});
        if let Some(tag) = tag {
            body["imageTag"] = json!(tag);
        }
        self.call(registry, "PutImage", body);
        format!("{APP}@{}", digest(manifest)).parse().unwrap()
    }

    /// Deletes images or tags; every deletion must succeed.
    pub(crate) fn delete(&self, registry: &str, ids: &[Value]) {
        for ids in ids.chunks(100) {
            let answer = self.call(registry, "BatchDeleteImage", json!({"imageIds": ids}));
            assert_eq!(answer["failures"], json!([]));
        }
    }

    pub(crate) fn delete_image(&self, registry: &str, image: &Image) {
        self.delete(registry, &[json!({"imageDigest": image.digest})]);
    }

    pub(crate) fn untag(&self, registry: &str, tag: &str) {
        self.delete(registry, &[json!({"imageTag": tag})]);
    }

    /// Advances simulated time, delivers events, and runs `mirror` once.
    pub(crate) async fn pass(&self, seconds: u64) -> MirrorSummary {
        self.local.simulator.step(Duration::from_secs(seconds));
        self.local.deliver_now().await;
        self.local.mirror_now().await.unwrap()
    }

    /// Waits until copies have arrived.
    pub(crate) async fn arrive(&self) {
        self.pass(60).await;
    }

    /// Lets a day pass, and whatever becomes due in it.
    pub(crate) async fn a_day(&self) {
        self.pass(60).await;
        self.pass(24 * 3600).await;
    }

    pub(crate) fn has(&self, registry: &str, image: &Image) -> bool {
        self.local.simulator.held().contains_key(&(registry.parse().unwrap(), image.clone()))
    }

    pub(crate) fn tags(&self, registry: &str, image: &Image) -> BTreeSet<String> {
        let held = self.local.simulator.held();
        let tags = held.get(&(registry.parse::<Registry>().unwrap(), image.clone())).map(|held| held.tags.clone());
        tags.unwrap_or_default().iter().map(Tag::to_string).collect()
    }

    /// The deletion of an image, or of a tag, in a registry.
    pub(crate) async fn deletion(&self, registry: &str, image: &Image, tag: Option<&str>) -> Deletion {
        let deletions = self.local.table.image_record(image).await.unwrap().deletions;
        let found = deletions.into_iter().find(|deletion| {
            deletion.registry.to_string() == registry && deletion.tag.as_ref().map(Tag::as_str) == tag
        });
        found.unwrap_or_else(|| panic!("no deletion of {image} {tag:?} in {registry}"))
    }

    /// The status of a deletion, and the reason.
    pub(crate) async fn by_status(&self, registry: &str, image: &Image) -> (DeletionStatus, String) {
        let deletion = self.deletion(registry, image, None).await;
        (deletion.status, deletion.checks.last().map(|check| check.why.clone()).unwrap_or_default())
    }

    /// Asserts that a replica is kept, for this reason.
    pub(crate) async fn keeps(&self, registry: &str, image: &Image, reason: &str) {
        assert!(self.has(registry, image), "{image} is gone from {registry}");
        let (status, why) = self.by_status(registry, image).await;
        assert_eq!(status, DeletionStatus::Kept, "{why}");
        assert!(why.contains(reason), "{why}");
    }
}

/// A distinct manifest for each name.
pub(crate) fn manifest(of: &str) -> String {
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1}, "of": of}).to_string()
}

pub(crate) fn index_of(children: &[&str]) -> String {
    let children: Vec<_> = children.iter().map(|child| json!({"digest": digest(child), "size": 1})).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string()
}

pub(crate) fn signature_of(subject: &str) -> String {
    let subject = json!({"digest": digest(subject), "size": 1});
    json!({"mediaType": IMAGE, "artifactType": "application/vnd.cncf.notary.signature", "subject": subject}).to_string()
}
