//! Registries for one test, and helpers that use them.

use std::{collections::BTreeSet, net::Ipv4Addr, path::Path, time::Duration};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ecr::{
    Client,
    config::Credentials,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        DescribeImagesFilter, ImageDetail, ImageFailure, ImageIdentifier, ImageStatusFilter, ReplicationConfiguration,
        ReplicationDestination, ReplicationRule, RepositoryFilter, RepositoryFilterType,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use simulator::{ApiCaller, Simulator, server, settings::Settings};
use tokio::net::TcpListener;

pub(crate) const IRELAND: &str = "111122223333/eu-west-1";
pub(crate) const VIRGINIA: &str = "111122223333/us-east-1";
pub(crate) const OREGON: &str = "111122223333/us-west-2";
pub(crate) const TOKYO: &str = "444455556666/ap-northeast-1";

pub(crate) const APP: &str = "team/app";

/// Longer than any copy takes by default.
pub(crate) const COPIED: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Registries with a clock that only tests advance.
pub(crate) struct Sites {
    pub(crate) simulator: Simulator,
    pub(crate) endpoint: String,
}

impl Sites {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::open(settings, None).await
    }

    pub(crate) async fn open(settings: Settings, folder: Option<&Path>) -> Self {
        let now = Timestamp::from_second(1_793_610_000).unwrap();
        let simulator = Simulator::open(settings, now, 0.0, folder).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(server::serve(listener, simulator.clone(), None, None, std::future::pending()));
        Self { simulator, endpoint }
    }

    /// A client of a registry that does not retry.
    pub(crate) async fn ecr(&self, registry: &str) -> Client {
        let (account, region) = registry.split_once('/').unwrap();
        Client::new(&self.config(Credentials::new(account, "secret", None, None, "test"), region).await)
    }

    pub(crate) async fn config(&self, credentials: Credentials, region: &str) -> aws_config::SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(&self.endpoint)
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(20)).build())
            .load()
            .await
    }

    /// A client of a registry, in which it creates the repository.
    pub(crate) async fn with_app(&self, registry: &str) -> Client {
        let ecr = self.ecr(registry).await;
        ecr.create_repository().repository_name(APP).send().await.unwrap();
        ecr
    }

    /// Advances the simulated time.
    pub(crate) fn pass(&self, time: Duration) {
        self.simulator.step(time);
    }

    /// ECR's own events since the last call.
    pub(crate) fn events(&self, after: &mut u64) -> Vec<Value> {
        let emitted = self.simulator.emitted(*after);
        *after = emitted.last().map_or(*after, |emitted| emitted.number);
        let own = |event: &Value| event["detail-type"].as_str().unwrap().starts_with("ECR ");
        emitted.into_iter().map(|emitted| emitted.event).filter(own).collect()
    }

    /// ECR's own events in short: `region action tag`.
    pub(crate) fn description(&self, after: &mut u64) -> Vec<String> {
        let short = |event: Value| {
            let detail = &event["detail"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text(&event["region"]), text(&detail["action-type"]), text(&detail["image-tag"]))
        };
        self.events(after).into_iter().map(short).collect()
    }
}

/// A distinct image for each name.
pub(crate) fn image(name: &str) -> String {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": fake(name), "size": 10});
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": fake(name), "size": 90});
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]})
        .to_string()
}

/// An index of images.
pub(crate) fn index(children: &[&str]) -> String {
    let entry = |child: &&str| json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(child), "size": child.len()});
    let manifests: Vec<_> = children.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
        .to_string()
}

/// An artifact that refers to an image.
pub(crate) fn artifact(subject: &str, kind: &str) -> String {
    json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": fake("{}"), "size": 2}, "layers": [],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(subject), "size": subject.len()},
        "annotations": {"by": "dana"},
    })
    .to_string()
}

/// The digest of a manifest.
pub(crate) fn digest(manifest: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(manifest.as_bytes()).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn fake(name: &str) -> String {
    digest(&format!("content of {name}"))
}

pub(crate) async fn push(ecr: &Client, manifest: &str, tag: Option<&str>) {
    let put = ecr.put_image().repository_name(APP).image_manifest(manifest);
    put.set_image_tag(tag.map(str::to_owned)).send().await.unwrap();
}

pub(crate) fn tagged(tag: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_tag(tag).build()
}

pub(crate) fn named(manifest: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest(manifest)).build()
}

/// Deletes an image; returns what was deleted, as `tag` or `-`, and the failure codes of what was refused.
pub(crate) async fn delete(ecr: &Client, id: ImageIdentifier) -> (Vec<String>, Vec<String>) {
    let answer = ecr.batch_delete_image().repository_name(APP).image_ids(id).send().await.unwrap();
    let deleted = answer.image_ids().iter().map(|id| id.image_tag().unwrap_or("-").to_owned()).collect();
    (deleted, answer.failures().iter().map(code).collect())
}

pub(crate) fn code(failure: &ImageFailure) -> String {
    failure.failure_code().unwrap().as_str().to_owned()
}

/// All images of the repository in any status; none if the repository does not exist.
pub(crate) async fn images(ecr: &Client) -> Vec<ImageDetail> {
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    match ecr.describe_images().repository_name(APP).filter(any).send().await {
        Ok(answer) => answer.image_details.unwrap_or_default(),
        Err(error) if error.code() == Some("RepositoryNotFoundException") => Vec::new(),
        Err(error) => panic!("{error:?}"),
    }
}

/// The tags of an image; `None` if the image does not exist.
pub(crate) async fn tags(ecr: &Client, manifest: &str) -> Option<BTreeSet<String>> {
    let digest = digest(manifest);
    let image = images(ecr).await.into_iter().find(|image| image.image_digest() == Some(&digest))?;
    Some(image.image_tags().iter().cloned().collect())
}

pub(crate) fn set(tags: &[&str]) -> Option<BTreeSet<String>> {
    Some(tags.iter().map(|tag| (*tag).to_owned()).collect())
}

/// A rule to some registries, for repositories whose names begin with a prefix.
pub(crate) fn rule(to: &[&str], prefix: Option<&str>) -> ReplicationRule {
    let mut rule = ReplicationRule::builder();
    for registry in to {
        let (account, region) = registry.split_once('/').unwrap();
        rule =
            rule.destinations(ReplicationDestination::builder().region(region).registry_id(account).build().unwrap());
    }
    if let Some(prefix) = prefix {
        let filter = RepositoryFilter::builder().filter(prefix).filter_type(RepositoryFilterType::PrefixMatch);
        rule = rule.repository_filters(filter.build().unwrap());
    }
    rule.build().unwrap()
}

pub(crate) async fn replicate(ecr: &Client, rules: impl IntoIterator<Item = ReplicationRule>) {
    let rules = rules.into_iter().collect();
    let configuration = ReplicationConfiguration::builder().set_rules(Some(rules)).build().unwrap();
    ecr.put_replication_configuration().replication_configuration(configuration).send().await.unwrap();
}

/// Permits actions of an account in a registry.
pub(crate) async fn allow(ecr: &Client, account: &str, actions: &[&str]) {
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Sid": "test", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{account}:root")}, "Action": actions, "Resource": "*"}]});
    ecr.put_registry_policy().policy_text(policy.to_string()).send().await.unwrap();
}

/// The copies of an image: `region STATUS code`.
pub(crate) async fn copies(ecr: &Client, manifest: &str) -> Vec<String> {
    let asked = ecr.describe_image_replication_status().repository_name(APP).image_id(named(manifest));
    let short = |status: &aws_sdk_ecr::types::ImageReplicationStatus| {
        let text = format!(
            "{} {} {}",
            status.region().unwrap(),
            status.status().unwrap(),
            status.failure_code().unwrap_or("")
        );
        text.trim_end().to_owned()
    };
    asked.send().await.unwrap().replication_statuses().iter().map(short).collect()
}

/// The error code of a call that must fail.
pub(crate) fn failed<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    answer: Result<T, SdkError<E, R>>,
) -> String {
    answer.unwrap_err().code().unwrap().to_owned()
}

impl Sites {
    /// A call without the SDK, for parameters that it does not support yet.
    pub(crate) fn raw(&self, registry: &str, operation: &str, body: &Value) -> Value {
        let (account, region) = registry.split_once('/').unwrap();
        let arn = format!("arn:aws:iam::{account}:root");
        let caller = ApiCaller { account: account.to_owned(), region: region.to_owned(), arn };
        self.simulator.call(&caller, operation, body.to_string().as_bytes()).unwrap().unwrap()
    }
}
