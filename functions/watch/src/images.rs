//! The images that are due: their work items and their expected replicas.

use std::collections::{BTreeMap, BTreeSet};

use aws::log;
use domain::{
    expectation::{ExpectationState, ReplicationExpectation},
    fact::{Fact, What, WorkItem},
    image::{Image, Registry, Tag},
    replication::ReplicationSettings,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use store::ImageRecord;
use tracing::Instrument;

use crate::{CLAIM, Watch, WatchSummary, copies::CheckedCopies, log_failure};

/// Images that are checked concurrently. ECR publishes no rate limit for the calls that this needs.
const AT_A_TIME: usize = 8;

impl Watch {
    /// Checks images that are due, several at a time.
    pub(crate) async fn check_images(
        &self,
        due: BTreeMap<Image, BTreeSet<WorkItem>>,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
        summary: &mut WatchSummary,
    ) {
        let mut looked = stream::iter(due)
            .map(|(image, work_items)| {
                let span = log::image(&image);
                async move { self.check_image(&image, &work_items, settings, now).await.inspect_err(log_failure) }
                    .instrument(span)
            })
            .buffer_unordered(AT_A_TIME);
        while let Some(result) = looked.next().await {
            summary.images += 1;
            match result {
                Ok(checked) => summary.checked += checked,
                Err(_) => summary.failures += 1,
            }
        }
    }

    async fn check_image(
        &self,
        image: &Image,
        work_items: &BTreeSet<WorkItem>,
        settings: &BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
    ) -> Result<CheckedCopies, store::Error> {
        let until = now.saturating_add(CLAIM).unwrap_or(now);
        for work_item in work_items {
            self.table.claim(image, work_item, until).await?;
        }
        let mut later = BTreeMap::new();
        for work_item in work_items {
            let WorkItem::ReplicaDeleted(registry) = work_item else { continue };
            later.extend(self.check_deleted_replica(image, registry, now).await?.map(|again| (work_item, again)));
        }
        let ImageRecord { lineage, expectations, .. } = self.table.expectations(image).await?;
        let mut all = CheckedCopies::default();
        for (source, expectations) in self.due_expectations(image, work_items, expectations, now).await? {
            all += self.check_copies(&source, expectations, &lineage, settings, now).await?;
        }
        for work_item in work_items {
            match later.get(work_item) {
                Some(again) => self.table.claim(image, work_item, *again).await?,
                None => self.table.complete(image, work_item, until).await?,
            }
        }
        Ok(all)
    }

    /// The expectations to check now, by source: those that are due, and those of replications that failed.
    async fn due_expectations(
        &self,
        image: &Image,
        work_items: &BTreeSet<WorkItem>,
        expectations: Vec<ReplicationExpectation>,
        now: Timestamp,
    ) -> Result<BTreeMap<Registry, Vec<ReplicationExpectation>>, store::Error> {
        let mut due: BTreeMap<Registry, Vec<ReplicationExpectation>> = BTreeMap::new();
        let failed = |work_item: &&WorkItem| matches!(work_item, WorkItem::ReplicationFailed(..));
        let mut failed: BTreeSet<WorkItem> = work_items.iter().filter(failed).cloned().collect();
        for expectation in expectations {
            let alerted =
                failed.remove(&WorkItem::ReplicationFailed(expectation.source.clone(), expectation.tag.clone()));
            // All its copies arrived: a failure that is reported now is older.
            if expectation.state.completion.is_some() {
                continue;
            }
            if alerted || expectation.due.is_some_and(|due| due <= now) {
                due.entry(expectation.source.clone()).or_default().push(expectation);
            }
        }
        if !failed.is_empty() {
            let facts = self.table.lineage(image).await?.facts;
            for work_item in failed {
                let WorkItem::ReplicationFailed(source, tag) = work_item else { continue };
                let expectation = unexpected(image, &source, tag.as_ref(), &facts);
                due.entry(source).or_default().extend(expectation);
            }
        }
        Ok(due)
    }
}

/// The expectation that a failed replication implies, for a push that no event reported.
fn unexpected(image: &Image, source: &Registry, tag: Option<&Tag>, facts: &[Fact]) -> Option<ReplicationExpectation> {
    let failed = |fact: &&Fact| {
        matches!(&fact.what, What::ReplicationFailed { source: from, tag: with, .. }
            if from == source && with.as_ref() == tag)
    };
    let since = facts.iter().filter(failed).map(|fact| fact.time).max()?;
    let (image, source, tag) = (image.clone(), source.clone(), tag.cloned());
    Some(ReplicationExpectation { image, source, tag, since, due: None, state: ExpectationState::default() })
}
