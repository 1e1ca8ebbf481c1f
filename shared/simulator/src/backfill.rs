//! ECR's backfill: copies images that were pushed before replication was configured (R10).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-backfill.html>

use std::collections::VecDeque;

use domain::image::{Digest, Registry, RepositoryName, Tag};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    clock::later,
    replication::Destination,
    repository::{CopyState, CopyStatus, ImageStatus},
    trouble::CopyFate,
    world::{PendingTask, RepositoryId, World},
};

/// A backfill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backfill {
    pub(crate) destination: Destination,
    pub(crate) status: BackfillStatus,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    /// The number of copies to make; unknown until the backfill is prepared.
    pub(crate) total: Option<usize>,
    pub(crate) results: Vec<BackfillResult>,
    left: VecDeque<(RepositoryName, Digest, Option<Tag>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum BackfillStatus {
    Preparing,
    InProgress,
    Complete,
    Failed,
    Stopping,
    Stopped,
}

impl BackfillStatus {
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Stopped)
    }
}

/// The result of one copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BackfillResult {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) tag: Option<Tag>,
    /// ECR's failure code; nothing if the image was copied.
    pub(crate) failure_code: Option<String>,
}

/// The number of images in one step of the simulation, and the simulated duration of a step.
const STEP: usize = 1_000;
const STEP_TIME: SignedDuration = SignedDuration::from_secs(10);

/// A backfill fails "when >= 50 % of at least 100 processed replications fail" (R10).
const FEWEST_TO_FAIL: usize = 100;

impl World {
    /// Starts a backfill; a later task collects its images.
    pub(crate) fn start_backfill(&mut self, registry: &Registry, destination: Destination) -> String {
        let id = self.new_id();
        let run = Backfill {
            destination,
            status: BackfillStatus::Preparing,
            started_at: self.moment(),
            ended_at: None,
            total: None,
            results: Vec::new(),
            left: VecDeque::new(),
        };
        self.registry_mut(registry).backfills.insert(id.clone(), run);
        self.plan(later(self.now(), STEP_TIME), PendingTask::Backfill { registry: registry.clone(), id: id.clone() });
        id
    }

    pub(crate) fn go_on_with_backfill(&mut self, registry: &Registry, id: &str) {
        let Some(mut run) = self.registry(registry).and_then(|state| state.backfills.get(id)).cloned() else { return };
        match run.status {
            BackfillStatus::Preparing => {
                run.left = self.missing(registry, &run.destination).into();
                run.total = Some(run.left.len());
                run.status = BackfillStatus::InProgress;
            }
            BackfillStatus::InProgress => self.copy_some(registry, &mut run),
            BackfillStatus::Stopping => run.status = BackfillStatus::Stopped,
            BackfillStatus::Complete | BackfillStatus::Failed | BackfillStatus::Stopped => return,
        }
        if run.status.is_over() {
            run.ended_at = Some(self.moment());
            let status = format!("{:?}", run.status).to_uppercase();
            self.emit_backfill(registry, id, &status);
        } else {
            let again = PendingTask::Backfill { registry: registry.clone(), id: id.to_owned() };
            self.plan(later(self.now(), STEP_TIME), again);
        }
        self.registry_mut(registry).backfills.insert(id.to_owned(), run);
    }

    /// The images that the rules replicate to a destination and that it does not have.
    fn missing(&self, registry: &Registry, destination: &Destination) -> Vec<(RepositoryName, Digest, Option<Tag>)> {
        let Some(to) = destination.registry() else { return Vec::new() };
        let mut missing = Vec::new();
        for (place, repository) in self.repositories().iter().filter(|(place, _)| place.registry == *registry) {
            if !self.destinations(place, false).contains(&to) {
                continue;
            }
            let there = self.repository(&place.in_registry(&to));
            for (digest, image) in repository.images() {
                if image.state.status != ImageStatus::Active {
                    continue;
                }
                let image_there = there.and_then(|there| there.image(digest));
                let tags = image
                    .state
                    .tags
                    .iter()
                    .filter(|tag| image_there.is_none_or(|image| !image.state.tags.contains(*tag)));
                missing.extend(tags.map(|tag| (place.repository.clone(), digest.clone(), Some(tag.clone()))));
                if image.state.tags.is_empty() && image_there.is_none() {
                    missing.push((place.repository.clone(), digest.clone(), None));
                }
            }
        }
        missing
    }

    fn copy_some(&mut self, registry: &Registry, run: &mut Backfill) {
        let Some(to) = run.destination.registry() else { return };
        for _ in 0..STEP {
            let Some((repository, digest, tag)) = run.left.pop_front() else { break };
            let from = RepositoryId { registry: registry.clone(), repository };
            if self.repository(&from).is_none_or(|repository| repository.image(&digest).is_none()) {
                continue;
            }
            let fate = self.copy_fate();
            let failed = (fate == CopyFate::Fails).then_some("InternalError");
            let failure_code = self.refusal(&from, &to).or(failed).map(str::to_owned);
            let status = if failure_code.is_some() { CopyStatus::Failed } else { CopyStatus::Complete };
            if failure_code.is_none() {
                self.copy(registry, &from.in_registry(&to), &digest, tag.as_ref());
            }
            if let Some(image) = self.image_mut(&from, &digest) {
                image.copies.insert(to.clone(), CopyState { status, failure_code: failure_code.clone() });
            }
            run.results.push(BackfillResult { repository: from.repository, digest, tag, failure_code });
        }
        let failed = run.results.iter().filter(|result| result.failure_code.is_some()).count();
        if run.results.len() >= FEWEST_TO_FAIL && failed * 2 >= run.results.len() {
            run.status = BackfillStatus::Failed;
        } else if run.left.is_empty() {
            run.status = BackfillStatus::Complete;
        }
    }
}
