//! How everything stands, in one answer.

use std::collections::BTreeMap;

use domain::{deletion::DeletionStatus, drift::Drifts, image::Registry};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use store::{Queue, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    alerts::{self, LateCopy, OpenIncident},
    deletions::{self, BreakerStatus},
};

/// How everything stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The time of who answers.
    pub now: Timestamp,
    /// Who asks, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Whether who asks may hold, release, approve, cancel and reset.
    pub may_change: bool,
    /// Every registry that any event told of.
    pub registries: Vec<RegistryOverview>,
    /// The trouble that lasts, the newest first.
    pub open: Vec<OpenIncident>,
    /// Copies that something is wrong with now, the oldest first: some of them, if there are many.
    pub late: Vec<LateCopy>,
    /// How many deletions are not over, by status.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub deletions: BTreeMap<DeletionStatus, usize>,
    /// Whether there are more of them: of each status and source no more than 1,000 are counted.
    pub deletions_at_least: bool,
    /// When the next of them is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// The breakers that ever did anything, by source.
    #[schema(value_type = BTreeMap<String, BreakerStatus>)]
    pub breakers: BTreeMap<Registry, BreakerStatus>,
}

/// A registry, as it was when it was last listed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistryOverview {
    /// Which.
    pub registry: Registry,
    /// When it was last listed to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// How many images it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// How much was not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifts: Option<Drifts>,
}

/// How many deletions of a status and source are counted.
const MOST_COUNTED: usize = 1_000;

/// Among how many images late copies are looked for.
const MOST_LATE: usize = 100;

/// Answers how everything stands.
///
/// # Errors
/// When the table cannot be read.
pub async fn overview(table: &Table, now: Timestamp) -> Result<Overview, store::Error> {
    let (registries, mut runs) = futures::try_join!(table.registries(), table.runs())?;
    let statuses = deletions::DeletionFilter::not_over();
    let groups: Vec<_> =
        statuses.iter().flat_map(|status| registries.iter().map(|source| (*status, source.clone()))).collect();
    let mut counting = stream::iter(groups)
        .map(|(status, source)| async move {
            table.count_deletions(status, &source, MOST_COUNTED).await.map(|count| (status, count))
        })
        .buffer_unordered(READS_AT_A_TIME);
    let mut counts: BTreeMap<DeletionStatus, usize> = statuses.into_iter().map(|status| (status, 0)).collect();
    let mut at_least = false;
    while let Some((status, count)) = counting.try_next().await? {
        at_least |= count >= MOST_COUNTED;
        *counts.entry(status).or_default() += count;
    }
    let (open, late) = futures::try_join!(alerts::incidents(table), alerts::late(table, MOST_LATE))?;
    let (next_due, breakers) =
        futures::try_join!(table.next_due(Queue::Mirror), deletions::breakers(table, None, now))?;
    let registries = registries.into_iter().map(|registry| {
        let run = runs.remove(&registry).filter(|run| run.ended_at.is_some());
        RegistryOverview {
            listed_at: run.as_ref().and_then(|run| run.ended_at),
            images: run.as_ref().map(|run| run.found.images),
            drifts: run.map(|run| run.drifts),
            registry,
        }
    });
    Ok(Overview {
        now,
        caller: None,
        may_change: false,
        registries: registries.collect(),
        open,
        late,
        deletions: counts,
        deletions_at_least: at_least,
        next_due,
        breakers: breakers.breakers,
    })
}
