//! `demo`: plays a scenario on three registries in two accounts through the AWS SDK, and shows what was recorded.

use std::{error::Error as StdError, time::Duration};

use answers::{
    alerts::{self, Alerts},
    answer::{self, History, Orphans, Shown},
    deletions::{self, Breakers, DeletionFilter, Deletions},
    paging::PageRequest,
    reference::Reference,
};
use aws_sdk_ecr::{
    Client,
    error::SdkError,
    types::{
        ImageIdentifier, ReplicationConfiguration, ReplicationDestination, ReplicationRule, RepositoryFilter,
        RepositoryFilterType,
    },
};
use domain::{
    alert::AlertState,
    deletion::DeletionStatus,
    image::{MalformedError, Registry},
};
use jiff::{SignedDuration, Timestamp};
use mirror::Mode;
use policy::Policy;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use simulator::settings::{Lag, Settings};

use crate::{
    Error,
    local::{Local, LocalSettings},
};

/// The steps of the scenario, and the lineage afterwards.
#[derive(Debug, Serialize)]
pub struct Demo {
    /// The steps, in order.
    pub story: Vec<StoryStep>,
    /// The lineage of the scenario's main image.
    pub shown: Shown,
    /// The history of a tag that moved, late in one registry.
    pub history: History,
    /// The replication incidents and alerts.
    pub alerts: Alerts,
    /// The deletions of replicas, with status and reasons.
    pub deletions: Deletions,
    /// The breakers, one of which opened because too many images were deleted.
    pub breakers: Breakers,
    /// The replicas whose source no longer has the image.
    pub orphans: Orphans,
}

/// One step of the scenario: an action of a user, or something that happened.
#[derive(Debug, Serialize)]
pub struct StoryStep {
    /// The simulated time.
    pub time: Timestamp,
    /// The registry.
    pub registry: Registry,
    /// The action or event, as text.
    pub what: String,
}

/// The time at which the scenario starts: 2 November 2026, 09:00 UTC.
const BEGINNING: i64 = 1_793_610_000;

const IRELAND: &str = "111122223333/eu-west-1";
const VIRGINIA: &str = "111122223333/us-east-1";
const TOKYO: &str = "444455556666/ap-northeast-1";

/// Deletes replicas one day after their source was deleted, but never a release.
const POLICY: &str = r#"
@id("follow-the-source") @grace("24h")
permit (principal, action in [Action::"delete", Action::"untag"], resource);

@id("never-a-release")
forbid (principal, action, resource) when { resource.tagLine like "* release-*" };
"#;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl<E, R> From<SdkError<E, R>> for Error
where
    E: StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        Self::Demo(error.into())
    }
}

impl From<aws_sdk_ecr::error::BuildError> for Error {
    fn from(error: aws_sdk_ecr::error::BuildError) -> Self {
        Self::Demo(error.into())
    }
}

/// A registry of the scenario, with a client.
struct Site {
    registry: Registry,
    ecr: Client,
}

/// The running scenario.
struct Stage {
    local: Local,
    story: Vec<StoryStep>,
}

/// Plays the scenario, and returns the answers of `show`, `history`, `alerts`, `deletions`, `breaker status` and
/// `orphans`.
///
/// # Errors
/// When no port is free, or a call fails.
pub async fn play() -> Result<Demo, Error> {
    let quick = Lag { from: SignedDuration::from_secs(20), to: SignedDuration::from_secs(70) };
    let registries = Settings { lag: quick, seed: 1, ..Settings::default() };
    let now = Timestamp::from_second(BEGINNING).unwrap_or_default();
    let settings = LocalSettings { registries, now, mode: Mode::Enforce, ..LocalSettings::default() };
    let mut local = Local::start(settings).await?;
    local.mirror.policy = Policy::load("demo.cedar", POLICY);
    let mut stage = Stage { local, story: Vec::new() };
    let ireland = stage.site(IRELAND, "release", "pipeline").await?;
    let (virginia, tokyo) =
        (stage.site(VIRGINIA, "platform", "dana").await?, stage.site(TOKYO, "platform", "kenji").await?);

    stage.create(&ireland, "shop/api").await?;
    stage
        .push(&ireland, &image("api 1.0.0", "amd64"), Some("v1.0.0"), "from before replication, so it is never copied")
        .await?;
    stage.allow(&tokyo, &ireland).await?;
    stage.replicate(&ireland, &[&virginia, &tokyo]).await?;

    let amd64 = image("api 1.1.0", "amd64");
    let arm64 = image("api 1.1.0", "arm64");
    let index = index(&[&amd64, &arm64]);
    let release = digest(&index);
    stage.push(&ireland, &amd64, None, "for amd64").await?;
    stage.push(&ireland, &arm64, None, "for arm64").await?;
    stage.push(&ireland, &index, Some("v1.1.0"), "the index of both").await?;
    stage.push(&ireland, &signature(&index), None, "its signature").await?;
    stage.wait(SignedDuration::from_mins(3)).await;
    stage.push(&ireland, &index, Some("stable"), "a second tag for the same image").await?;
    stage.wait(SignedDuration::from_mins(3)).await;

    let tokyo_is_slow = Lag::exactly(SignedDuration::from_mins(47));
    stage.local.simulator.set(|settings| _ = settings.lags.insert(tokyo.registry.clone(), tokyo_is_slow));
    let newer = image("api 1.2.0", "amd64");
    stage.push(&ireland, &newer, Some("v1.2.0"), "which Tokyo gets 47 minutes late").await?;
    stage.push(&ireland, &newer, Some("stable"), "which takes the tag from v1.1.0").await?;
    stage.wait(SignedDuration::from_mins(35)).await;
    stage.act(&tokyo, "has waited for 35 minutes: an alert");
    stage.wait(SignedDuration::from_mins(25)).await;
    stage.act(&tokyo, "has the image now: the alert is resolved");
    stage.local.simulator.set(|settings| settings.lags.clear());

    stage.local.simulator.set(|settings| settings.trouble.lost = 1.0);
    stage
        .push(&ireland, &image("api 1.2.1", "amd64"), Some("v1.2.1"), "but the event is lost: ECR's are best effort")
        .await?;
    stage.local.simulator.set(|settings| settings.trouble.lost = 0.0);
    stage.wait(SignedDuration::from_mins(3)).await;

    let request_lost = image("api 1.2.2", "amd64");
    stage.push(&ireland, &request_lost, Some("v1.2.2"), "and the events of its copies are lost").await?;
    stage.local.simulator.set(|settings| settings.trouble.lost = 1.0);
    stage.wait(SignedDuration::from_mins(3)).await;
    stage.local.simulator.set(|settings| settings.trouble.lost = 0.0);
    stage.wait(SignedDuration::from_mins(30)).await;
    stage.act(&ireland, "answers 30 minutes later that the copies arrived: now the table has them");
    stage.local.simulator.set(|settings| settings.trouble.failed = 1.0);
    stage.push(&ireland, &image("api 1.2.3", "amd64"), Some("v1.2.3"), "which ECR fails to copy").await?;
    stage.local.simulator.set(|settings| settings.trouble.failed = 0.0);
    stage.wait(SignedDuration::from_mins(3)).await;

    let tagged = |tag: &str| ImageIdentifier::builder().image_tag(tag).build();
    let by_digest = ImageIdentifier::builder().image_digest(&release).build();
    stage.delete(&ireland, tagged("stable"), "stable: one of two tags, so v1.2.0 stays").await?;
    stage.delete(&ireland, by_digest, "v1.1.0 by its digest, with all its tags").await?;
    stage.delete(&virginia, tagged("v1.1.0"), "v1.1.0: the replica's only tag, and so the replica").await?;

    let by_digest = |image: &str| ImageIdentifier::builder().image_digest(digest(image)).build();
    let newest = image("api 1.3.0", "amd64");
    stage.push(&ireland, &newest, Some("release-1.3"), "which both get").await?;
    stage.wait(SignedDuration::from_mins(3)).await;
    stage.delete(&ireland, by_digest(&newest), "release-1.3, a release").await?;
    stage.wait(SignedDuration::from_hours(25)).await;
    stage.act(&ireland, "a day later replicas have followed, where the policy lets them");

    stage.create(&ireland, "shop/builds").await?;
    stage.act(&ireland, "pushes 10 builds, which both get");
    let builds: Vec<_> = (1..=10).map(|number| image(&format!("build {number}"), "amd64")).collect();
    for (number, build) in builds.iter().enumerate() {
        let put = ireland.ecr.put_image().repository_name("shop/builds").image_manifest(build);
        put.image_tag(format!("build-{}", number + 1)).send().await?;
        stage.breathe().await;
    }
    stage.wait(SignedDuration::from_mins(3)).await;
    stage.act(&ireland, "a script deletes all 10 builds");
    let delete = ireland.ecr.batch_delete_image().repository_name("shop/builds");
    delete.set_image_ids(Some(builds.iter().map(|build| by_digest(build)).collect())).send().await?;
    stage.wait(SignedDuration::from_hours(25)).await;
    stage.act(&ireland, "a day later that was too much at once: the breaker holds it");

    stage.expire(&ireland).await?;
    stage.wait(SignedDuration::from_hours(24 * 15)).await;
    stage.act(&ireland, "lifecycle rule 1 expires what was pushed more than 14 days ago");

    let table = &stage.local.table;
    let reference =
        Reference::Exact(format!("shop/api@{release}").parse().map_err(|error| Error::Demo(Box::new(error)))?);
    let stable = "shop/api:stable".parse().map_err(|error| Error::Demo(Box::new(error)))?;
    let shown = answer::show(table, &reference, usize::MAX).await?;
    let history = answer::history(table, &stable, None).await?;
    let now = stage.local.simulator.clock().now();
    let mut alerts = alerts::alerts(table, false, SignedDuration::from_hours(24 * 30), now).await?;
    // The deletions list already shows the alerts about deletions, and repeated alerts are left out.
    alerts.alerts.retain(|alert| matches!(alert.state, AlertState::Opened | AlertState::Resolved));
    let api = "shop/api".parse().map_err(|error: MalformedError| Error::Demo(Box::new(error)))?;
    let over = [DeletionStatus::Done, DeletionStatus::Kept].into();
    let filter = DeletionFilter { statuses: over, source: None, since: Timestamp::UNIX_EPOCH };
    let deletions = deletions::list(table, &filter).await?;
    let breakers = deletions::breakers(table, None, now).await?;
    let orphans = answer::orphans(table, &PageRequest::all_of(None, Some(&api))).await?;
    let Stage { local, story } = stage;
    local.close().await;
    Ok(Demo { story, shown, history, alerts, deletions, breakers, orphans })
}

impl Stage {
    /// A registry, with a client that uses a role session.
    async fn site(&self, registry: &str, role: &str, session_name: &str) -> Result<Site, Error> {
        let registry: Registry = registry.parse().map_err(|error| Error::Demo(Box::new(error)))?;
        Ok(Site { ecr: self.local.registry(&registry, role, session_name).await?, registry })
    }

    fn act(&mut self, site: &Site, what: impl Into<String>) {
        let time = self.local.simulator.clock().now();
        self.story.push(StoryStep { time, registry: site.registry.clone(), what: what.into() });
    }

    /// Moves the clock forward and processes everything that happens until the last event.
    async fn wait(&self, time: SignedDuration) {
        self.local.simulator.step(Duration::try_from(time).unwrap_or_default());
        self.local.deliver_now().await;
        // A failed run is ignored here: it shows in the result of the demo.
        _ = self.local.watch_now().await;
        _ = self.local.mirror_now().await;
    }

    /// A few seconds between two steps.
    async fn breathe(&self) {
        self.wait(SignedDuration::from_secs(4)).await;
    }

    async fn create(&mut self, site: &Site, repository: &str) -> Result<(), Error> {
        self.act(site, format!("creates {repository}"));
        site.ecr.create_repository().repository_name(repository).send().await?;
        self.breathe().await;
        Ok(())
    }

    async fn push(&mut self, site: &Site, manifest: &str, tag: Option<&str>, why: &str) -> Result<(), Error> {
        self.act(site, format!("pushes {}: {why}", tag.unwrap_or("an image without a tag")));
        let put = site.ecr.put_image().repository_name("shop/api").image_manifest(manifest);
        put.set_image_tag(tag.map(str::to_owned)).send().await?;
        self.breathe().await;
        Ok(())
    }

    async fn delete(&mut self, site: &Site, id: ImageIdentifier, what: &str) -> Result<(), Error> {
        self.act(site, format!("deletes {what}"));
        site.ecr.batch_delete_image().repository_name("shop/api").image_ids(id).send().await?;
        self.breathe().await;
        Ok(())
    }

    /// Sets a registry policy that allows another account to replicate into the registry.
    async fn allow(&mut self, site: &Site, source: &Site) -> Result<(), Error> {
        self.act(site, format!("lets account {} replicate into it", source.registry.account()));
        let (region, account) = (site.registry.region(), site.registry.account());
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "replication", "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{}:root", source.registry.account())},
            "Action": ["ecr:ReplicateImage", "ecr:CreateRepository"],
            "Resource": format!("arn:aws:ecr:{region}:{account}:repository/*"),
        }]});
        site.ecr.put_registry_policy().policy_text(policy.to_string()).send().await?;
        Ok(())
    }

    async fn replicate(&mut self, site: &Site, destinations: &[&Site]) -> Result<(), Error> {
        self.act(site, "replicates shop/ to Virginia, and to Tokyo in another account");
        let filter = RepositoryFilter::builder().filter("shop/").filter_type(RepositoryFilterType::PrefixMatch);
        let mut rule = ReplicationRule::builder().repository_filters(filter.build()?);
        for to in destinations {
            let (region, account) = (to.registry.region(), to.registry.account());
            rule = rule.destinations(ReplicationDestination::builder().region(region).registry_id(account).build()?);
        }
        let configuration = ReplicationConfiguration::builder().rules(rule.build()?).build()?;
        site.ecr.put_replication_configuration().replication_configuration(configuration).send().await?;
        self.breathe().await;
        Ok(())
    }

    async fn expire(&mut self, site: &Site) -> Result<(), Error> {
        self.act(site, "gives shop/api a lifecycle policy: nothing older than 14 days");
        let policy = json!({"rules": [{
            "rulePriority": 1, "description": "nothing older than 14 days", "action": {"type": "expire"},
            "selection": {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14},
        }]});
        let put = site.ecr.put_lifecycle_policy().repository_name("shop/api");
        put.lifecycle_policy_text(policy.to_string()).send().await?;
        Ok(())
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold("sha256:".to_owned(), |digest, byte| format!("{digest}{byte:02x}"))
}

/// A manifest of one layer; `of` makes the digest distinct.
fn image(of: &str, architecture: &str) -> String {
    let (config, layer) = (digest(&format!("{of} {architecture}")), digest(&format!("{of} {architecture} layer")));
    json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1_470},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": 31_457_280}],
    })
    .to_string()
}

fn index(images: &[&str]) -> String {
    let manifests: Vec<_> =
        images.iter().map(|image| json!({"mediaType": IMAGE, "digest": digest(image), "size": image.len()})).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string()
}

/// A signature as an OCI artifact whose subject is the signed image.
fn signature(of: &str) -> String {
    json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/vnd.cncf.notary.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest("{}"), "size": 2},
        "layers": [{"mediaType": "application/jose+json", "digest": digest(&format!("signature of {of}")), "size": 2_090}],
        "subject": {"mediaType": INDEX, "digest": digest(of), "size": of.len()},
    })
    .to_string()
}
