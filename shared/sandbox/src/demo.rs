//! `demo`: plays a story on three registries in two accounts through the AWS SDK, and asks what was recorded in its course.

pub(crate) mod manifests;
mod questions;
pub(crate) mod stage;

use answers::controls;
use aws_sdk_ecr::types::ImageIdentifier;
use domain::{controls::Instruction, image::Registry};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use simulator::settings::Lag;
use utoipa::ToSchema;

pub use crate::demo::questions::{Answer, Question};
use crate::{
    Error,
    demo::{
        manifests::{by_digest, digest, image, index, signature},
        stage::{Sites, Stage, parsed},
    },
};

/// The story: what happened, and what the product answers about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Demo {
    /// The registries, in the order in which they appear.
    pub registries: Vec<DemoRegistry>,
    /// The scenes, in order.
    pub scenes: Vec<Scene>,
}

/// A registry, and its name in the story.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DemoRegistry {
    /// The name in the story, such as `Ireland`.
    pub name: &'static str,
    /// The registry.
    pub registry: Registry,
}

/// A part of the story.
#[derive(Debug, Serialize, ToSchema)]
pub struct Scene {
    /// What it is about.
    pub title: &'static str,
    /// What happened and what was asked, in order.
    pub story: Vec<StoryEntry>,
}

/// A step, or a question with its answer at that time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum StoryEntry {
    /// A step.
    Step(StoryStep),
    /// A question.
    Asked(Box<Question>),
}

/// One step of the story: an action of a user, or something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoryStep {
    /// The simulated time.
    pub time: Timestamp,
    /// The registry.
    #[serde(flatten)]
    pub place: DemoRegistry,
    /// The action or event, as text.
    pub what: String,
}

/// Plays the story, and asks its questions.
///
/// # Errors
/// When no port is free, or a call fails.
pub async fn play() -> Result<Demo, Error> {
    let mut stage = Stage::open().await?;
    let sites = stage.sites().await?;
    stage.begin("A release is pushed and replicated");
    stage.start_replication(&sites).await?;
    let release = stage.push_release(&sites).await?;
    stage.begin("A copy is late");
    stage.replicate_late(&sites).await?;
    stage.begin("Events are lost, and a copy fails");
    stage.lose_events(&sites).await?;
    stage.fail_to_replicate(&sites).await?;
    stage.begin("Images are deleted at their source");
    stage.delete_tags_and_images(&sites, &release).await?;
    stage.delete_protected_release(&sites).await?;
    stage.ask_about_deletions(&release).await?;
    stage.begin("Too many images are deleted at once");
    stage.delete_too_many_builds(&sites).await?;
    stage.expire_old_images(&sites).await?;
    stage.ask_about_too_many().await?;
    stage.begin("Operators keep what is needed, and pay for it");
    stage.hold_and_pause(&sites).await?;
    stage.list_registries(&sites).await?;
    let registries = sites.all().map(|site| site.place.clone()).into();
    let demo = Demo { registries, scenes: std::mem::take(&mut stage.scenes) };
    stage.local.close().await;
    Ok(demo)
}

// The scenes, in order.
impl Stage {
    /// An image from before replication, and then a replication rule.
    async fn start_replication(&mut self, Sites { ireland, virginia, tokyo }: &Sites) -> Result<(), Error> {
        self.create(ireland, "shop/api").await?;
        let early = image("api 1.0.0", "amd64");
        self.push(ireland, &early, Some("v1.0.0"), "from before replication, so it is never copied").await?;
        self.allow(tokyo, ireland).await?;
        self.replicate(ireland, &[virginia, tokyo]).await
    }

    /// A release for two architectures, with a signature and a second tag. Returns its digest.
    async fn push_release(&mut self, Sites { ireland, .. }: &Sites) -> Result<String, Error> {
        let amd64 = image("api 1.1.0", "amd64");
        let arm64 = image("api 1.1.0", "arm64");
        let index = index(&[&amd64, &arm64]);
        self.push(ireland, &amd64, None, "for amd64").await?;
        self.push(ireland, &arm64, None, "for arm64").await?;
        self.push(ireland, &index, Some("v1.1.0"), "the index of both").await?;
        self.push(ireland, &signature(&index), None, "its signature").await?;
        self.wait(SignedDuration::from_mins(3)).await;
        self.push(ireland, &index, Some("stable"), "a second tag for the same image").await?;
        self.wait(SignedDuration::from_mins(3)).await;
        Ok(digest(&index))
    }

    /// A copy that takes so long that an alert is raised, and a tag that moves.
    async fn replicate_late(&mut self, Sites { ireland, tokyo, .. }: &Sites) -> Result<(), Error> {
        let tokyo_is_slow = Lag::exactly(SignedDuration::from_mins(47));
        self.set(|settings| _ = settings.lags.insert(tokyo.place.registry.clone(), tokyo_is_slow));
        let newer = image("api 1.2.0", "amd64");
        self.push(ireland, &newer, Some("v1.2.0"), "which Tokyo gets 47 minutes late").await?;
        self.push(ireland, &newer, Some("stable"), "which takes the tag from v1.1.0").await?;
        self.wait(SignedDuration::from_mins(35)).await;
        self.act(tokyo, "has waited for 35 minutes: an alert");
        self.ask_about_late_copy().await?;
        self.wait(SignedDuration::from_mins(25)).await;
        self.act(tokyo, "has the image now: the alert is resolved");
        self.set(|settings| settings.lags.clear());
        Ok(())
    }

    /// A push without an event, and copies without events.
    async fn lose_events(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.set(|settings| settings.trouble.lost = 1.0);
        let silent = image("api 1.2.1", "amd64");
        self.push(ireland, &silent, Some("v1.2.1"), "but the event is lost: ECR's are best effort").await?;
        self.set(|settings| settings.trouble.lost = 0.0);
        self.wait(SignedDuration::from_mins(3)).await;

        let silent_copies = image("api 1.2.2", "amd64");
        self.push(ireland, &silent_copies, Some("v1.2.2"), "and the events of its copies are lost").await?;
        self.set(|settings| settings.trouble.lost = 1.0);
        self.wait(SignedDuration::from_mins(3)).await;
        self.set(|settings| settings.trouble.lost = 0.0);
        self.wait(SignedDuration::from_mins(30)).await;
        self.act(ireland, "answers 30 minutes later that the copies arrived: now the table has them");
        Ok(())
    }

    /// A push that ECR does not copy.
    async fn fail_to_replicate(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.set(|settings| settings.trouble.failed = 1.0);
        self.push(ireland, &image("api 1.2.3", "amd64"), Some("v1.2.3"), "which ECR fails to copy").await?;
        self.set(|settings| settings.trouble.failed = 0.0);
        self.wait(SignedDuration::from_mins(3)).await;
        self.ask_about_copies(&ireland.place.registry).await
    }

    /// Deletions of one of two tags, of an image by its digest, and of a replica by its only tag.
    async fn delete_tags_and_images(&mut self, sites: &Sites, release: &str) -> Result<(), Error> {
        let Sites { ireland, virginia, .. } = sites;
        let tagged = |tag: &str| ImageIdentifier::builder().image_tag(tag).build();
        let release = ImageIdentifier::builder().image_digest(release).build();
        self.delete(ireland, tagged("stable"), "stable: one of two tags, so v1.2.0 stays").await?;
        self.delete(ireland, release, "v1.1.0 by its digest, with all its tags").await?;
        self.delete(virginia, tagged("v1.1.0"), "v1.1.0: the replica's only tag, and so the replica").await
    }

    /// The deletion of an image whose replicas the policy keeps.
    async fn delete_protected_release(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        let newest = image("api 1.3.0", "amd64");
        self.push(ireland, &newest, Some("release-1.3"), "which both get").await?;
        self.wait(SignedDuration::from_mins(3)).await;
        self.delete(ireland, by_digest(&newest), "release-1.3, a release").await?;
        self.ask_what_goes_tonight().await?;
        self.wait(SignedDuration::from_hours(25)).await;
        self.act(ireland, "a day later replicas have followed, where the policy lets them");
        Ok(())
    }

    /// Deletions of more images than the circuit breaker permits.
    async fn delete_too_many_builds(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.create(ireland, "shop/builds").await?;
        self.act(ireland, "pushes 10 builds, which both get");
        let builds: Vec<_> = (1..=10).map(|number| image(&format!("build {number}"), "amd64")).collect();
        for (number, build) in builds.iter().enumerate() {
            let put = ireland.ecr.put_image().repository_name("shop/builds").image_manifest(build);
            put.image_tag(format!("build-{}", number + 1)).send().await?;
            self.breathe().await;
        }
        self.wait(SignedDuration::from_mins(3)).await;
        self.act(ireland, "a script deletes all 10 builds");
        let delete = ireland.ecr.batch_delete_image().repository_name("shop/builds");
        delete.set_image_ids(Some(builds.iter().map(|build| by_digest(build)).collect())).send().await?;
        self.wait(SignedDuration::from_hours(25)).await;
        self.act(ireland, "a day later that was too much at once: the breaker holds it");
        Ok(())
    }

    /// Deletions by a lifecycle policy.
    async fn expire_old_images(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.expire(ireland).await?;
        self.wait(SignedDuration::from_hours(24 * 15)).await;
        self.act(ireland, "lifecycle rule 1 expires what was pushed more than 14 days ago");
        Ok(())
    }

    /// A hold before its image is deleted, and a pause.
    async fn hold_and_pause(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.create(ireland, "shop/billing").await?;
        let billed = image("billing 7", "amd64");
        self.act(ireland, "pushes shop/billing:v7, which both get");
        let put = ireland.ecr.put_image().repository_name("shop/billing").image_manifest(&billed);
        put.image_tag("v7").send().await?;
        self.wait(SignedDuration::from_mins(3)).await;
        self.act(ireland, "an operator puts shop/billing on hold, before anything of it is deleted");
        let said = |by: &str, at, reason: &str| {
            let (by, reason) = (by.to_owned(), Some(reason.to_owned()));
            Instruction { by, at, until: None, reason }
        };
        let now = self.local.simulator.clock().now();
        controls::hold(&self.local.table, &parsed("shop/billing")?, None, said("dana", now, "audit")).await?;
        self.act(ireland, "deletes shop/billing:v7");
        let delete = ireland.ecr.batch_delete_image().repository_name("shop/billing");
        delete.image_ids(by_digest(&billed)).send().await?;
        self.wait(SignedDuration::from_hours(25)).await;
        self.act(ireland, "a day later the hold keeps its replicas; a breaker's reset would not end it");
        self.act(ireland, "an operator pauses all deletions: none begins until an operator resumes");
        let now = self.local.simulator.clock().now();
        controls::pause(&self.local.table, None, said("kenji", now, "incident 7")).await?;
        self.wait(SignedDuration::from_mins(1)).await;
        Ok(())
    }

    /// A listing of all registries, which sees sizes.
    async fn list_registries(&mut self, Sites { ireland, .. }: &Sites) -> Result<(), Error> {
        self.act(ireland, "is listed, and so are the others: now the table has the sizes");
        _ = self.local.reconcile_now().await?;
        self.breathe().await;
        self.ask_about_costs().await
    }
}
