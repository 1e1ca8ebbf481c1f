//! The options of `activity`.

use answers::{activity::ActivityRequest, time::Moment};
use clap::Args;
use domain::{
    activity::{ActivityFilter, ActivityKind, ActorPattern},
    controls::HoldPattern,
    image::Registry,
};
use jiff::Timestamp;

/// The options of `activity`.
#[derive(Debug, Clone, Args)]
pub struct ActivityOptions {
    /// Only this actor: an ARN, in which `*` stands for any text (the ARN of a role means its sessions, too), or a part of
    /// the name, such as `role/ci-*/`; `lifecycle` and `ecr-lineage` are actors, too
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<ActorPattern>,

    /// Only these repositories, such as `prod/*`, or this image, such as `prod/api@sha256:…`
    #[arg(long, value_name = "PATTERN")]
    pub repository: Option<HoldPattern>,

    /// Only this registry, such as `111122223333/eu-west-1`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Only these kinds, separated by commas: pushed, image_deleted, tags_deleted, repository_deleted, attempted, archived,
    /// restored, changed, observed (found missing), operator
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<ActivityKind>,

    /// From this time on, such as `90d`, `2026-10-01` (UTC) or `2026-10-01T06:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: Moment,

    /// Before this time; now if it is left out
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
}

impl ActivityOptions {
    /// The request.
    #[must_use]
    pub fn request(&self, now: Timestamp) -> ActivityRequest {
        let Self { actor, repository, registry, kind, since, until } = self.clone();
        let filter = ActivityFilter { actor, repository, registry, kinds: kind.into_iter().collect() };
        let until = until.map(|until| until.at(now));
        ActivityRequest { filter, since: since.at(now), until, from: None, most: None }
    }
}
