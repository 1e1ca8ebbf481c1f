//! ECR's own backfill: it copies images to one destination that were pushed before its rule, or whose replication
//! failed.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-backfill.html>

use aws_sdk_ecr::types::{
    ReplicationBackfillProgress, ReplicationBackfillResultStatus, ReplicationBackfillStatus, ReplicationDestination,
};
use domain::image::{Image, Registry, Tag};

use super::{Registries, changes::once, parsed};
use retry::CallError;

/// The maximum number of results in one page.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeReplicationBackfillResults.html>
const RESULTS_PER_PAGE: i32 = 1_000;

/// The status of a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// ECR's status, such as `IN_PROGRESS`.
    pub status: String,
    /// Whether the backfill has ended.
    pub over: bool,
    /// The failure code of the backfill as a whole, if it failed.
    pub failure: Option<String>,
    /// The number of copies to make; `None` until ECR reports it.
    pub total: Option<u64>,
    /// The number of completed copies.
    pub completed: u64,
    /// The number of failed copies.
    pub failed: u64,
}

/// The result of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The repository and the digest.
    pub image: Image,
    /// The tag that was copied with the image.
    pub tag: Option<Tag>,
    /// `None` if the copy succeeded; otherwise ECR's failure code, or `Some(None)` if ECR gives none.
    pub failure: Option<Option<String>>,
}

impl Registries {
    /// Starts a backfill and returns its id. It uses the role that changes registries, or the caller's own credentials
    /// if there is none.
    ///
    /// # Errors
    /// When ECR refuses or does not answer. The backfill may run nevertheless.
    pub async fn start_backfill(&self, source: &Registry, destination: &Registry) -> Result<String, CallError> {
        let to = ReplicationDestination::builder().region(destination.region()).registry_id(destination.account());
        let to = to.build().map_err(CallError::from)?;
        let call = self.write_client(source).await.start_replication_backfill().registry_id(source.account());
        let answer = call.destination(to).customize().config_override(once()).send().await?;
        answer.replication_backfill_id.ok_or_else(|| CallError::unclear("ECR's answer has no id".to_owned()))
    }

    /// The id of the backfill to a destination that is running now, if there is one.
    ///
    /// # Errors
    /// When the list cannot be read.
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

    /// The status of a backfill.
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

    /// The result of each copy of a backfill that has ended.
    ///
    /// # Errors
    /// When the results cannot be read.
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
