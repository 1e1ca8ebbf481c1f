//! The options of the commands about deletions: lists, acts of operators, and breakers.

use std::collections::BTreeSet;

use answers::{
    controls::HoldTarget,
    deletions::{DeletionFilter, ManyDeletions},
    reference::Reference,
    time::{self, Moment, Period},
};
use clap::{Args, Subcommand};
use domain::{
    deletion::DeletionStatus,
    image::{Registry, RepositoryPattern, Tag},
};
use jiff::{SignedDuration, Timestamp};

use super::repositories;

/// The options of `deletions`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct DeletionsOptions {
    /// Deletions that are not due yet, or are executing
    #[arg(long)]
    pub pending: bool,
    /// Deletions that an operator or the breaker put on hold
    #[arg(long)]
    pub held: bool,
    /// Deletions that await approval
    #[arg(long)]
    pub waiting: bool,
    /// Deletions that were executed
    #[arg(long)]
    pub done: bool,
    /// Deletions that were not executed: the replica was kept
    #[arg(long)]
    pub kept: bool,
    /// Deletions that ECR refused
    #[arg(long)]
    pub failed: bool,
    /// Deletions that changed since this time, such as `12h`, `2026-11-01` (UTC) or `2026-11-01T06:00:00Z`
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: Moment,
    /// Only deletions from this source, such as `111122223333/eu-west-1`
    #[arg(long, value_name = "REGISTRY")]
    pub source: Option<Registry>,
    /// Only deletions in this registry, such as `111122223333/us-east-1`
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<Registry>,
    /// Only deletions in these repositories, such as `prod/api` or `prod/*`
    #[arg(long, value_name = "PATTERN", value_parser = repositories)]
    pub repository: Option<RepositoryPattern>,
    /// Show instead what will be deleted until this time: `2027-01-31` (that day included), `2027-01-31T06:00:00Z`, or
    /// `24h` from now on
    #[arg(long, value_name = "TIME", conflicts_with_all = ["pending", "held", "waiting", "done", "kept", "failed", "since", "registry", "repository"])]
    pub until: Option<Moment>,
}

impl DeletionsOptions {
    /// The filter with the chosen statuses; without a chosen status, every status except `done` and `kept`.
    #[must_use]
    pub fn filter(&self, now: Timestamp) -> DeletionFilter<'_> {
        let wanted = [
            (self.pending, &[DeletionStatus::Pending, DeletionStatus::Executing][..]),
            (self.held, &[DeletionStatus::Held]),
            (self.waiting, &[DeletionStatus::AwaitingApproval]),
            (self.done, &[DeletionStatus::Done]),
            (self.kept, &[DeletionStatus::Kept]),
            (self.failed, &[DeletionStatus::Failed]),
        ];
        let on = wanted.iter().filter(|(on, _)| *on).flat_map(|(_, statuses)| *statuses).copied();
        let mut statuses: BTreeSet<_> = on.collect();
        if statuses.is_empty() {
            statuses = DeletionFilter::not_over();
        }
        DeletionFilter {
            source: self.source.as_ref(),
            registry: self.registry.as_ref(),
            repositories: self.repository.as_ref(),
            ..DeletionFilter::everywhere(statuses, Period::since(self.since.at(now)))
        }
    }
}

/// The options of `hold`.
#[derive(Debug, Clone, Args)]
pub struct HoldOptions {
    /// Repositories, such as `prod/*`, or an image, written as for `show`; with `--source` alone, everything of it
    #[arg(value_name = "PATTERN_OR_IMAGE", required_unless_present = "source")]
    pub hold: Option<HoldTarget>,

    /// Only deletions of this source, such as `111122223333/eu-west-1`
    #[arg(long, value_name = "REGISTRY")]
    pub source: Option<Registry>,

    /// End of the hold: `2027-01-31` (that day included), `2027-01-31T18:00:00Z`, or `30d` from now on
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,

    /// Reason, shown to everybody
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// The options of `approve`, `cancel` and `retry`.
#[derive(Debug, Clone, Args)]
pub struct ActOptions {
    /// Image, written as for `show`; without one, all deletions that the other options select, after a question
    #[arg(required_unless_present_any = ["repository", "source", "registry", "policy", "older_than"])]
    pub image: Option<Reference>,

    /// Only in this registry, such as `111122223333/us-east-1`
    #[arg(long)]
    pub registry: Option<Registry>,

    /// Only the deletion of this tag
    #[arg(long, requires = "image")]
    pub tag: Option<Tag>,

    /// All deletions in these repositories, such as `prod/*`
    #[arg(long, value_name = "PATTERN", value_parser = repositories, conflicts_with = "image")]
    pub repository: Option<RepositoryPattern>,

    /// All deletions of this source, such as `111122223333/eu-west-1`
    #[arg(long, value_name = "REGISTRY", conflicts_with = "image")]
    pub source: Option<Registry>,

    /// All deletions that this policy decided
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    pub policy: Option<String>,

    /// All deletions whose source deleted the image at least this long ago, such as `2d`
    #[arg(long, value_name = "DURATION", value_parser = time::back, conflicts_with = "image")]
    pub older_than: Option<SignedDuration>,

    /// Reason, recorded with each deletion
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Do not ask before many deletions are changed
    #[arg(long)]
    pub yes: bool,
}

impl ActOptions {
    /// The selected deletions, if no image is named.
    #[must_use]
    pub fn many(&self) -> ManyDeletions {
        let Self { repository, source, registry, policy, older_than, .. } = self.clone();
        ManyDeletions { repository, source, registry, policy, older_than }
    }
}

/// The commands below `breaker`.
#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// Show each breaker: its state, counts and holds
    ///
    /// Lists the deletions that it put on hold, by repository and actor.
    Status {
        /// Only the breaker of this source, such as `111122223333/eu-west-1`
        source: Option<Registry>,
    },
    /// Close a breaker
    ///
    /// The deletions that it put on hold are re-evaluated. Says what that does, and asks.
    Reset {
        /// Source of the breaker, such as `111122223333/eu-west-1`
        source: Registry,

        /// Allow this number of images in the next window, in all registries and classes together, instead of the
        /// limits of images; an image counts once for each registry. Then the breaker opens again
        #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(1..))]
        allow: Option<u32>,

        /// Do not limit the share of a repository in the next window
        #[arg(long)]
        ignore_share: bool,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
