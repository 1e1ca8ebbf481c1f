//! The questions of the story: each with the command that asks it, and with what that command answers.

use answers::{
    activity::{self, ActivityReport, ActivityRequest},
    alerts::{self, AlertRequest, Alerts},
    answer::{self, History, ImageFilter, Images, Shown},
    breakers::{self, Breakers},
    costs::{self, CostReport},
    deletions::{self, DeletionFilter, Deletions},
    presence::{self, Presence},
    schedule::{self, Schedule},
    time::Period,
};
use domain::{
    activity::{ActivityFilter, ActivityKind},
    alert::{AlertFilter, AlertState},
    costs::{CostScope, PriceTable},
    deletion::DeletionStatus,
    image::Registry,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::stage::{Stage, parsed};
use crate::Error;

/// A question, and its answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Question {
    /// The question.
    pub question: &'static str,
    /// The command that asks it.
    pub command: String,
    /// What the command answers.
    pub answer: Answer,
}

/// What a command answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answer {
    /// Of `where`.
    Where(Presence),
    /// Of `show`.
    Show(Shown),
    /// Of `history`.
    History(History),
    /// Of `images`.
    Images(Images),
    /// Of `alerts`.
    Alerts(Alerts),
    /// Of `activity`.
    Activity(ActivityReport),
    /// Of `deletions`.
    Deletions(Deletions),
    /// Of `deletions --until`.
    Schedule(Schedule),
    /// Of `breaker status`.
    Breakers(Breakers),
    /// Of `costs`.
    Costs(CostReport),
}

/// The period of `activity`, `costs` and `deletions`, unless an option says otherwise.
const USUAL_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 30);

impl Stage {
    fn now(&self) -> Timestamp {
        self.local.simulator.clock().now()
    }

    fn usual_period(&self) -> Timestamp {
        self.now().saturating_sub(USUAL_PERIOD).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) async fn ask_about_late_copy(&mut self) -> Result<(), Error> {
        let (image, place) = ("shop/api:v1.2.0", "ap-northeast-1");
        let found = presence::presence(&self.local.table, &parsed(image)?, &[parsed(place)?], self.now()).await?;
        self.asked("Is v1.2.0 in Tokyo?", format!("where {image} --in {place}"), Answer::Where(found));
        Ok(())
    }

    /// `source` is the only registry that has some images.
    pub(super) async fn ask_about_copies(&mut self, source: &Registry) -> Result<(), Error> {
        let (table, now) = (&self.local.table, self.now());
        let period = Some(Period::last(SignedDuration::from_hours(24 * 7), now));
        let request = AlertRequest { filter: AlertFilter::default(), period, after: None, most: usize::MAX };
        let mut found = alerts::alerts(table, &request, now).await?;
        // Shorter: without those that are repeated.
        found.alerts.retain(|alert| matches!(alert.state, AlertState::Opened | AlertState::Resolved));
        let filter = ImageFilter { only_in: Some(source), not_in: None, pushed: None, unpulled_since: None };
        let images = answer::images(table, &parsed("shop/api")?, filter, None, usize::MAX, now).await?;
        self.asked("What did not replicate, and why?", "alerts", Answer::Alerts(found));
        let command = format!("images shop/api --only-in {source}");
        self.asked("Which images exist in one region only?", command, Answer::Images(images));
        Ok(())
    }

    pub(super) async fn ask_what_goes_tonight(&mut self) -> Result<(), Error> {
        let until = "2026-11-03T12:00:00Z";
        let found = schedule::schedule(&self.local.table, None, parsed(until)?, self.now()).await?;
        self.asked("What goes tonight?", format!("deletions --until {until}"), Answer::Schedule(found));
        Ok(())
    }

    /// `release` is the digest of the story's main image.
    pub(super) async fn ask_about_deletions(&mut self, release: &str) -> Result<(), Error> {
        let (table, now, tag) = (&self.local.table, self.now(), "shop/api:stable");
        let image = format!("shop/api@{}", release.trim_start_matches("sha256:").get(..12).unwrap_or(release));
        let shown = answer::show(table, &parsed(&image)?, usize::MAX, now).await?;
        let history = answer::history(table, &parsed(tag)?, None).await?;
        let statuses = [DeletionStatus::Done, DeletionStatus::Kept].into();
        let filter = DeletionFilter::everywhere(statuses, Period::since(self.usual_period()));
        let deletions = deletions::list(table, &filter, now).await?;
        self.asked("Who deleted v1.1.0, everywhere?", format!("show {image}"), Answer::Show(shown));
        self.asked("Which image did a tag mean, and when?", format!("history {tag}"), Answer::History(history));
        let what = "What was deleted with its source, and what was kept?";
        self.asked(what, "deletions --done --kept", Answer::Deletions(deletions));
        Ok(())
    }

    pub(super) async fn ask_about_too_many(&mut self) -> Result<(), Error> {
        let (table, now) = (&self.local.table, self.now());
        let breakers = breakers::breakers(table, None, now).await?;
        let (actor, repository) = ("role/release", "shop/api");
        let filter = ActivityFilter {
            actor: Some(parsed(actor)?),
            repository: Some(parsed(repository)?),
            registry: None,
            kinds: [ActivityKind::ImageDeleted, ActivityKind::TagsDeleted].into(),
        };
        let request = ActivityRequest { filter, since: self.usual_period(), until: None, from: None, most: None };
        let activity = activity::activity(table, &request).await?;
        self.asked("Were too many images deleted at once?", "breaker status", Answer::Breakers(breakers));
        let command = format!("activity --actor {actor} --kind image_deleted,tags_deleted --repository {repository}");
        self.asked("What did the role of the pipeline delete?", command, Answer::Activity(activity));
        Ok(())
    }

    pub(super) async fn ask_about_costs(&mut self) -> Result<(), Error> {
        let transferred_since = self.usual_period();
        let scope = CostScope { registry: None, repositories: None, unpulled_since: None, transferred_since };
        let found = costs::costs(&self.local.table, &scope, &PriceTable::of_aws()).await?;
        self.asked("What do replicas and orphans cost?", "costs", Answer::Costs(found));
        Ok(())
    }
}
