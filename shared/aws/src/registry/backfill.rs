//! ECR's own backfill: copies to one destination what was there before its rule, or failed.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-backfill.html>

use aws_sdk_ecr::types::{
    ReplicationBackfillProgress, ReplicationBackfillResultStatus, ReplicationBackfillStatus, ReplicationDestination,
};
use domain::image::{Image, Registry, Tag};

use super::{Registries, parsed};
use retry::CallError;

/// As many results as one page may have.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeReplicationBackfillResults.html>
const RESULTS_PER_PAGE: i32 = 1_000;

/// How a backfill stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// ECR's word for it, such as `IN_PROGRESS`.
    pub status: String,
    /// Whether it is over.
    pub over: bool,
    /// Why it failed as a whole.
    pub failure: Option<String>,
    /// How many copies there are to make, once that is known.
    pub total: Option<u64>,
    /// How many were made.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
}

/// What became of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The image.
    pub image: Image,
    /// The tag that was copied with it.
    pub tag: Option<Tag>,
    /// Why it failed, if it did: ECR's code, or nothing if it gives none.
    pub failure: Option<Option<String>>,
}

impl Registries {
    /// Starts a backfill, with the caller's own credentials unless there is a role that changes, and answers its id.
    ///
    /// # Errors
    /// When ECR refused or did not answer: it may run all the same.
    pub async fn start_backfill(&self, source: &Registry, destination: &Registry) -> Result<String, CallError> {
        let to = ReplicationDestination::builder().region(destination.region()).registry_id(destination.account());
        let to = to.build().map_err(CallError::from)?;
        let call = self.write_client(source).await.start_replication_backfill().registry_id(source.account());
        let answer = call.destination(to).customize().config_override(super::once()).send().await?;
        answer.replication_backfill_id.ok_or_else(|| CallError::unclear("ECR's answer has no id".to_owned()))
    }

    /// The backfill to a destination that runs now, if one does.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn running_backfill(
        &self,
        source: &Registry,
        destination: &Registry,
    ) -> Result<Option<String>, CallError> {
        let mut next = None;
        loop {
            let call = self.read_client(source).await.list_replication_backfills().registry_id(source.account());
            let page = call.set_next_token(next).send().await?;
            let to = |to: &ReplicationDestination| {
                to.region() == destination.region() && to.registry_id() == destination.account()
            };
            let running =
                page.backfills().iter().find(|run| run.destination().is_some_and(to) && !is_over(run.status()));
            if let Some(run) = running {
                return Ok(Some(run.replication_backfill_id().to_owned()));
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(None);
            }
        }
    }

    /// How a backfill stands.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn backfill(&self, source: &Registry, id: &str) -> Result<Backfill, CallError> {
        let call = self.read_client(source).await.describe_replication_backfill_results();
        let answer = call.registry_id(source.account()).replication_backfill_id(id).max_results(1).send().await?;
        let status = answer.status().ok_or_else(|| CallError::unclear("ECR's answer has no status".to_owned()))?;
        let count = |of: fn(&ReplicationBackfillProgress) -> i32| {
            answer.progress().map(of).and_then(|count| u64::try_from(count).ok())
        };
        Ok(Backfill {
            status: status.as_str().to_owned(),
            over: is_over(status),
            failure: answer.failure_code().map(str::to_owned),
            total: count(ReplicationBackfillProgress::total_replication_count),
            completed: count(ReplicationBackfillProgress::completed_replication_count).unwrap_or(0),
            failed: count(ReplicationBackfillProgress::failed_replication_count).unwrap_or(0),
        })
    }

    /// What became of each copy of a backfill that is over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn backfilled(&self, source: &Registry, id: &str) -> Result<Vec<Copied>, CallError> {
        let (mut copied, mut next) = (Vec::new(), None);
        loop {
            let call = self.read_client(source).await.describe_replication_backfill_results();
            let call = call.registry_id(source.account()).replication_backfill_id(id).max_results(RESULTS_PER_PAGE);
            let page = call.set_next_token(next).send().await?;
            for result in page.results() {
                let image = result.image_id();
                let digest = image.and_then(|image| image.image_digest()).unwrap_or_default();
                let repository = result.repository_name().parse().map_err(parsed)?;
                let tag = image.and_then(|image| image.image_tag()).map(str::parse).transpose().map_err(parsed)?;
                let failed = *result.status() != ReplicationBackfillResultStatus::Complete;
                copied.push(Copied {
                    image: Image { repository, digest: digest.parse().map_err(parsed)? },
                    tag,
                    failure: failed.then(|| result.failure_code().map(str::to_owned)),
                });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(copied);
            }
        }
    }
}

fn is_over(status: &ReplicationBackfillStatus) -> bool {
    use ReplicationBackfillStatus::{InProgress, Preparing, Stopping};
    !matches!(status, Preparing | InProgress | Stopping)
}
