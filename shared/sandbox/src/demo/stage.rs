//! The registries of the scenario, and what its scenes consist of.

use std::{error::Error as StdError, str::FromStr, time::Duration};

use aws_sdk_ecr::{
    Client,
    error::SdkError,
    types::{
        ImageIdentifier, ReplicationConfiguration, ReplicationDestination, ReplicationRule, RepositoryFilter,
        RepositoryFilterType,
    },
};
use domain::{image::Registry, plan::Mode};
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use serde_json::json;
use simulator::settings::{Lag, Settings};

use super::{Answer, DemoRegistry, Question, Scene, StoryEntry, StoryStep};
use crate::{
    Error,
    local::{Local, LocalSettings},
};

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

/// A registry of the scenario, with a client.
pub(super) struct Site {
    pub(super) place: DemoRegistry,
    pub(super) ecr: Client,
}

/// The three registries of the scenario.
pub(super) struct Sites {
    pub(super) ireland: Site,
    pub(super) virginia: Site,
    pub(super) tokyo: Site,
}

impl Sites {
    pub(super) fn all(&self) -> [&Site; 3] {
        [&self.ireland, &self.virginia, &self.tokyo]
    }
}

/// The running scenario.
pub(super) struct Stage {
    pub(super) local: Local,
    pub(super) scenes: Vec<Scene>,
}

impl Stage {
    pub(super) async fn open() -> Result<Self, Error> {
        let quick = Lag { from: SignedDuration::from_secs(20), to: SignedDuration::from_secs(70) };
        let registries = Settings { lag: quick, seed: 1, ..Settings::default() };
        let now = Timestamp::from_second(BEGINNING).unwrap_or_default();
        let settings = LocalSettings { registries, now, mode: Mode::Enforce, ..LocalSettings::default() };
        let mut local = Local::start(settings).await?;
        local.mirror.policy = Policy::load("demo.cedar", POLICY);
        Ok(Self { local, scenes: Vec::new() })
    }

    pub(super) async fn sites(&self) -> Result<Sites, Error> {
        let ireland = self.site("Ireland", IRELAND, "release", "pipeline").await?;
        let virginia = self.site("Virginia", VIRGINIA, "platform", "dana").await?;
        let tokyo = self.site("Tokyo", TOKYO, "platform", "kenji").await?;
        Ok(Sites { ireland, virginia, tokyo })
    }

    /// A registry, with a client that uses a role session.
    async fn site(&self, name: &'static str, registry: &str, role: &str, session_name: &str) -> Result<Site, Error> {
        let registry: Registry = parsed(registry)?;
        let ecr = self.local.registry(&registry, role, session_name).await?;
        Ok(Site { place: DemoRegistry { name, registry }, ecr })
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.local.simulator.set(change);
    }

    /// Begins the next scene.
    pub(super) fn begin(&mut self, title: &'static str) {
        self.scenes.push(Scene { title, story: Vec::new() });
    }

    pub(super) fn act(&mut self, site: &Site, what: impl Into<String>) {
        let time = self.local.simulator.clock().now();
        let step = StoryStep { time, place: site.place.clone(), what: what.into() };
        self.tell(StoryEntry::Step(step));
    }

    /// A question, the command that asks it, and its answer.
    pub(super) fn asked(&mut self, question: &'static str, command: impl Into<String>, answer: Answer) {
        self.tell(StoryEntry::Asked(Box::new(Question { question, command: command.into(), answer })));
    }

    fn tell(&mut self, entry: StoryEntry) {
        if let Some(scene) = self.scenes.last_mut() {
            scene.story.push(entry);
        }
    }

    /// Moves the clock forward and processes everything that happens until the last event.
    pub(super) async fn wait(&self, time: SignedDuration) {
        self.local.simulator.step(Duration::try_from(time).unwrap_or_default());
        self.local.deliver_now().await;
        // A failed run is ignored here: it shows in the result of the demo.
        _ = self.local.watch_now().await;
        _ = self.local.mirror_now().await;
    }

    /// A few seconds between two steps.
    pub(super) async fn breathe(&self) {
        self.wait(SignedDuration::from_secs(4)).await;
    }

    pub(super) async fn create(&mut self, site: &Site, repository: &str) -> Result<(), Error> {
        self.act(site, format!("creates {repository}"));
        site.ecr.create_repository().repository_name(repository).send().await?;
        self.breathe().await;
        Ok(())
    }

    pub(super) async fn push(
        &mut self,
        site: &Site,
        manifest: &str,
        tag: Option<&str>,
        why: &str,
    ) -> Result<(), Error> {
        self.act(site, format!("pushes {}: {why}", tag.unwrap_or("an image without a tag")));
        let put = site.ecr.put_image().repository_name("shop/api").image_manifest(manifest);
        put.set_image_tag(tag.map(str::to_owned)).send().await?;
        self.breathe().await;
        Ok(())
    }

    pub(super) async fn delete(&mut self, site: &Site, id: ImageIdentifier, what: &str) -> Result<(), Error> {
        self.act(site, format!("deletes {what}"));
        site.ecr.batch_delete_image().repository_name("shop/api").image_ids(id).send().await?;
        self.breathe().await;
        Ok(())
    }

    /// Sets a registry policy that allows another account to replicate into the registry.
    pub(super) async fn allow(&mut self, site: &Site, source: &Site) -> Result<(), Error> {
        self.act(site, format!("lets account {} replicate into it", source.place.registry.account()));
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "replication", "Effect": "Allow",
            "Principal": {"AWS": source.place.registry.partition().iam_arn(source.place.registry.account(), "root")},
            "Action": ["ecr:ReplicateImage", "ecr:CreateRepository"],
            "Resource": site.place.registry.arn("ecr", "repository/*"),
        }]});
        site.ecr.put_registry_policy().policy_text(policy.to_string()).send().await?;
        Ok(())
    }

    pub(super) async fn replicate(&mut self, site: &Site, destinations: &[&Site]) -> Result<(), Error> {
        self.act(site, "replicates shop/ to Virginia, and to Tokyo in another account");
        let filter = RepositoryFilter::builder().filter("shop/").filter_type(RepositoryFilterType::PrefixMatch);
        let mut rule = ReplicationRule::builder().repository_filters(filter.build()?);
        for to in destinations {
            let (region, account) = (to.place.registry.region(), to.place.registry.account());
            rule = rule.destinations(ReplicationDestination::builder().region(region).registry_id(account).build()?);
        }
        let configuration = ReplicationConfiguration::builder().rules(rule.build()?).build()?;
        site.ecr.put_replication_configuration().replication_configuration(configuration).send().await?;
        self.breathe().await;
        Ok(())
    }

    pub(super) async fn expire(&mut self, site: &Site) -> Result<(), Error> {
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

pub(crate) fn parsed<T: FromStr<Err: StdError + Send + Sync + 'static>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: T::Err| Error::Demo(Box::new(error)))
}

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
