//! Simulated registries, and the actions of their users.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use store::PageBounds;

use domain::{
    event,
    fact::Fact,
    image::{Image, Registry, RepositoryName, Tag},
    lineage::PlacementStatus,
};
use jiff::SignedDuration;
use proptest::{prelude::*, sample::select};
use sandbox::local::{Local, LocalSettings};
use serde_json::{Value, json};
use simulator::{
    ApiCaller, ImageStatus,
    settings::{Lag, Settings, Unconfirmed},
    trouble::Trouble,
};

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    logs,
};

/// An action of a user in a registry. Registries refuse many of them, as in production.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Push(&'static str, char, Option<&'static str>),
    PushIndex(&'static str, Option<&'static str>),
    PushArtifact(&'static str, char),
    Untag(&'static str, &'static str),
    Delete(&'static str, char),
    DeleteIndex(&'static str),
    Move(&'static str, char, &'static str),
    DeleteRepository(&'static str),
    Expire(&'static str, u32),
    Immutable(&'static str, bool),
    Replicate(&'static str, &'static [&'static str], bool),
    Backfill(&'static str, &'static str),
    Pass(u64),
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let registry = || select(vec![IRELAND, VIRGINIA, TOKYO]);
    let letter = || select(vec!['a', 'b', 'c']);
    let tag = || select(vec!["latest", "v1", "v2"]);
    let others = |registry| match registry {
        IRELAND => [VIRGINIA, TOKYO].as_slice(),
        VIRGINIA => [IRELAND].as_slice(),
        _ => [VIRGINIA].as_slice(),
    };
    prop_oneof![
        10 => (registry(), letter(), proptest::option::weighted(0.8, tag())).prop_map(|(r, l, t)| Act::Push(r, l, t)),
        2 => (registry(), proptest::option::of(tag())).prop_map(|(r, t)| Act::PushIndex(r, t)),
        1 => (registry(), letter()).prop_map(|(r, l)| Act::PushArtifact(r, l)),
        5 => (registry(), tag()).prop_map(|(r, t)| Act::Untag(r, t)),
        4 => (registry(), letter()).prop_map(|(r, l)| Act::Delete(r, l)),
        1 => registry().prop_map(Act::DeleteIndex),
        2 => (registry(), letter(), select(vec!["ARCHIVE", "STANDARD"])).prop_map(|(r, l, c)| Act::Move(r, l, c)),
        1 => registry().prop_map(Act::DeleteRepository),
        1 => (registry(), 1u32..3).prop_map(|(r, n)| Act::Expire(r, n)),
        1 => (registry(), any::<bool>()).prop_map(|(r, on)| Act::Immutable(r, on)),
        2 => (registry(), any::<bool>()).prop_map(move |(r, native)| Act::Replicate(r, others(r), native)),
        1 => registry().prop_map(move |r| Act::Backfill(r, others(r)[0])),
        6 => select(vec![1, 20, 300, 4_000, 90_000]).prop_map(Act::Pass),
    ]
}

/// Other answers to questions that AWS does not document, restricted to those with which events are complete.
pub(crate) fn unconfirmed() -> impl Strategy<Value = Unconfirmed> {
    any::<[bool; 13]>().prop_map(|answers| Unconfirmed {
        delete_per_tag: answers[0],
        empty_tag_in_events: answers[1],
        lifecycle_emits_delete: answers[2],
        repository_deletion_emits_delete: answers[3],
        tag_with_digest_removes_tag: answers[4],
        replica_emits_push: answers[5],
        referrer_actions: answers[6],
        replication_survives_deletion: answers[7],
        late_replica_takes_tag: answers[8],
        transition_in_policy_record: answers[9],
        filters_are_text_prefixes: answers[10],
        failed_replication_has_code: answers[11],
        new_tag_replicates: answers[12],
        // The event of a copy that could not get its tag has no tag; otherwise the table could not know it.
        untagged_replica_event_has_tag: false,
        ..Unconfirmed::default()
    })
}

pub(crate) const APP: &str = "team/app";
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn manifest(letter: char) -> String {
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 1}, "of": letter.to_string()}).to_string()
}

pub(crate) fn index() -> String {
    let children = ['a', 'b'].map(|letter| json!({"digest": digest(&manifest(letter)), "size": 1}));
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string()
}

/// An SBOM of an image.
pub(crate) fn artifact(letter: char) -> String {
    let subject = json!({"digest": digest(&manifest(letter)), "size": 1});
    json!({"mediaType": IMAGE, "artifactType": "text/sbom+json", "subject": subject}).to_string()
}

pub(crate) fn digest(manifest: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(manifest.as_bytes()).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Simulated registries, and the calls of their users.
pub(crate) struct Route {
    pub(crate) local: Local,
}

impl Route {
    pub(crate) async fn new(registries: Settings, data: Option<PathBuf>) -> Self {
        logs::check();
        let now = "2026-11-02T09:00:00Z".parse().unwrap();
        let registries = Settings { seconds_apart: true, ..registries };
        let local = Local::start(LocalSettings { registries, now, data, ..LocalSettings::default() }).await.unwrap();
        let route = Self { local };
        let policy = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        for registry in [IRELAND, VIRGINIA, TOKYO] {
            route.call(registry, "PutRegistryPolicy", json!({"policyText": policy.to_string()}));
            route.call(registry, "CreateRepository", json!({}));
        }
        route.perform(&Act::Replicate(IRELAND, &[VIRGINIA, TOKYO], false)).await;
        route
    }

    pub(crate) fn registries() -> BTreeSet<Registry> {
        [IRELAND, VIRGINIA, TOKYO].map(|name| name.parse().unwrap()).into()
    }

    /// A call to ECR about the repository; its result is ignored.
    pub(crate) fn call(&self, registry: &str, operation: &str, mut body: Value) {
        body["repositoryName"] = json!(APP);
        let (account, region) = registry.split_once('/').unwrap();
        let arn = format!("arn:aws:iam::{account}:root");
        let caller = ApiCaller { account: account.to_owned(), region: region.to_owned(), arn };
        _ = self.local.simulator.call(&caller, operation, body.to_string().as_bytes());
    }

    pub(crate) async fn perform(&self, act: &Act) {
        let put = |registry, manifest, tag: Option<&str>| {
            let mut body = json!({"imageManifest": manifest});
            if let Some(tag) = tag {
                body["imageTag"] = json!(tag);
            }
            self.call(registry, "PutImage", body);
        };
        let delete = |registry, id| self.call(registry, "BatchDeleteImage", json!({"imageIds": [id]}));
        match act {
            Act::Push(registry, letter, tag) => {
                self.call(registry, "CreateRepository", json!({}));
                put(registry, manifest(*letter), *tag);
            }
            Act::PushIndex(registry, tag) => put(registry, index(), *tag),
            Act::PushArtifact(registry, letter) => {
                put(registry, artifact(*letter), None);
            }
            Act::Untag(registry, tag) => delete(registry, json!({"imageTag": tag})),
            Act::Delete(registry, letter) => delete(registry, json!({"imageDigest": digest(&manifest(*letter))})),
            Act::DeleteIndex(registry) => delete(registry, json!({"imageDigest": digest(&index())})),
            Act::Move(registry, letter, class) => {
                let id = json!({"imageDigest": digest(&manifest(*letter))});
                let body = json!({"imageId": id, "targetStorageClass": class});
                self.call(registry, "UpdateImageStorageClass", body);
            }
            Act::DeleteRepository(registry) => self.call(registry, "DeleteRepository", json!({"force": true})),
            Act::Expire(registry, count) => {
                let selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count});
                let rules =
                    json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
                self.call(registry, "PutLifecyclePolicy", json!({"lifecyclePolicyText": rules.to_string()}));
            }
            Act::Immutable(registry, on) => {
                let setting = if *on { "IMMUTABLE" } else { "MUTABLE" };
                self.call(registry, "PutImageTagMutability", json!({"imageTagMutability": setting}));
            }
            Act::Replicate(registry, to, native) => {
                let destinations: Vec<_> = to.iter().map(|to| destination(to)).collect();
                let rule = json!({"destinations": destinations, "deleteReplication": {"enabled": native}});
                self.call(
                    registry,
                    "PutReplicationConfiguration",
                    json!({"replicationConfiguration": {"rules": [rule]}}),
                );
            }
            Act::Backfill(registry, to) => {
                self.call(registry, "StartReplicationBackfill", json!({"destination": destination(to)}));
            }
            Act::Pass(seconds) => {
                self.local.simulator.step(Duration::from_secs(*seconds));
                self.local.deliver_now().await;
            }
        }
    }

    /// Waits until all pending events and copies have arrived. Daily lifecycle runs never end.
    pub(crate) async fn settle(&self) {
        self.local.simulator.set(|settings| settings.trouble = Trouble::default());
        for hours in [4, 1, 1] {
            self.local.simulator.step(Duration::from_secs(hours * 3600));
            self.local.deliver_now().await;
        }
        assert_eq!(self.local.simulator.queue_lengths(), (0, 0));
    }

    /// What the registries hold: whether each image is archived, and its tags.
    pub(crate) fn truth(&self) -> Images {
        let held = self.local.simulator.held().into_iter();
        held.map(|(name, held)| (name, (held.status != ImageStatus::Active, held.tags))).collect()
    }

    /// What the table records.
    pub(crate) async fn said(&self) -> Images {
        let mut said = Images::new();
        let repository: RepositoryName = APP.parse().unwrap();
        for lineage in self.local.table.images(&repository, PageBounds::ALL).await.unwrap().0 {
            // The list comes from an index; the consistent read of the image's partition decides.
            let lineage = self.local.table.lineage(&lineage.image).await.unwrap();
            for (registry, placement) in &lineage.placements {
                let archived = match placement.status() {
                    PlacementStatus::Present => false,
                    PlacementStatus::Archived => true,
                    PlacementStatus::Absent | PlacementStatus::ProbablyAbsent => continue,
                };
                let tags = placement.current_tags().into_iter().cloned().collect();
                said.insert((registry.clone(), lineage.image.clone()), (archived, tags));
            }
        }
        said
    }

    /// The events about images that were never delivered, with their facts.
    pub(crate) fn lost(&self) -> Vec<(Value, Vec<Fact>)> {
        let lost = self.local.simulator.emitted(0).into_iter().filter(|emitted| emitted.deliveries == 0);
        let notified = lost.map(|emitted| (event::read_value(&emitted.event).unwrap().facts, emitted.event));
        notified.filter(|(facts, _)| !facts.is_empty()).map(|(facts, event)| (event, facts)).collect()
    }
}

/// The number of random cases: `PROPTEST_CASES`, or `unasked` if that is not set, because each case takes dozens of
/// calls and hundreds of writes.
pub(crate) fn cases(unasked: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if asked { ProptestConfig::default().cases } else { unasked }, ..ProptestConfig::default() }
}

pub(crate) fn destination(registry: &str) -> Value {
    let (account, region) = registry.split_once('/').unwrap();
    json!({"region": region, "registryId": account})
}

/// Every image of every registry: whether it is archived, and its tags.
pub(crate) type Images = BTreeMap<(Registry, Image), (bool, BTreeSet<Tag>)>;

pub(crate) fn settings(seed: u64, unconfirmed: Unconfirmed, trouble: &str) -> Settings {
    let lag = Lag { from: SignedDuration::from_secs(5), to: SignedDuration::from_mins(20) };
    Settings { seed, unconfirmed, lag, trouble: trouble.parse().unwrap(), ..Settings::default() }
}
