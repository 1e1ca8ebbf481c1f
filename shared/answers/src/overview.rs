//! The current state, in one answer.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    deletion::DeletionStatus,
    drift::Drifts,
    drill::RestoreDrill,
    heartbeat::{Heartbeat, HeartbeatStatus},
    image::Registry,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use store::{Queue, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    alerts::{self, LateCopy, OpenIncident},
    breakers::{self, BreakerStatus},
    controls::{self, DescribedHold, DescribedPause},
    deletions,
    error::Error,
};

/// The current state of registries, replication, deletions and breakers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The server's current time.
    pub now: Timestamp,
    /// The name of the caller, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Whether the caller may pause, resume, hold, release, retry, approve, cancel and reset.
    pub may_change: bool,
    /// Every registry of which an event or a heartbeat was recorded, or is expected, by name.
    pub registries: Vec<RegistryOverview>,
    /// The open incidents, newest first.
    pub open: Vec<OpenIncident>,
    /// Copies that are late, failed, missing or untagged now, newest push first. The number of images in this list is
    /// limited.
    pub late: Vec<LateCopy>,
    /// The number of deletions of every status except `done` and `kept`.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub deletions: BTreeMap<DeletionStatus, usize>,
    /// Whether there may be more deletions: at most 1,000 of each status and source are counted.
    pub deletions_at_least: bool,
    /// When the next deletion or loss is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// The breakers that are open, were reset, or counted an image in the window, by source.
    #[schema(value_type = BTreeMap<String, BreakerStatus>)]
    pub breakers: BTreeMap<Registry, BreakerStatus>,
    /// The pauses that last now, by source, that of every source first: what they stop is not deleted.
    pub pauses: Vec<DescribedPause>,
    /// The holds that last now, by the names of their patterns.
    pub holds: Vec<DescribedHold>,
    /// The last restore drill; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_drill: Option<DrillOverview>,
}

/// The last restore drill.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillOverview {
    /// The figures.
    #[serde(flatten)]
    pub drill: RestoreDrill,
    /// The result in one line.
    pub summary: String,
}

/// A registry, as of its last complete listing.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistryOverview {
    /// The registry.
    pub registry: Registry,
    /// Whether its events reach the hub.
    pub events: EventPath,
    /// When the last listing ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// The number of images at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// The counts of missing replicas, tag mismatches and orphans at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifts: Option<Drifts>,
}

/// Whether the events of a registry reach the hub.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPath {
    /// Whether heartbeats arrive; they take the same path as events.
    pub status: HeartbeatStatus,
    /// The status in words.
    pub status_text: &'static str,
    /// The last heartbeat and event.
    #[serde(flatten)]
    pub last: Heartbeat,
}

impl EventPath {
    fn at(mut last: Heartbeat, now: Timestamp) -> Self {
        let status = last.status(now);
        // What ended is not shown.
        last.forgotten = last.forgotten().cloned();
        Self { status, status_text: status.words(), last }
    }
}

/// The largest number of deletions that is counted of each status and source.
const MOST_COUNTED: usize = 1_000;

/// The number of images with problems that are read for `late`.
const MOST_LATE: usize = 100;

/// Reads the current state. The caller's name and permission are left empty.
///
/// # Errors
/// When the table cannot be read.
pub async fn overview(table: &Table, now: Timestamp) -> Result<Overview, Error> {
    let (registries, mut runs, mut heartbeats) =
        futures::try_join!(table.registries(), table.runs(), table.heartbeats())?;
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
    let (open, late) = futures::try_join!(alerts::incidents(table, now), alerts::late(table, None, MOST_LATE))?;
    let (next_due, drill) = futures::try_join!(table.next_due(Queue::Mirror), table.restore_drill())?;
    let breakers = breakers::summaries(table, None, now).await?;
    let controls = controls::holds(table, now).await?;
    let all: BTreeSet<_> = registries.into_iter().chain(heartbeats.keys().cloned()).collect();
    let registries = all.into_iter().map(|registry| {
        let run = runs.remove(&registry).filter(|run| run.ended_at.is_some());
        RegistryOverview {
            listed_at: run.as_ref().and_then(|run| run.ended_at),
            images: run.as_ref().map(|run| run.found.images),
            drifts: run.map(|run| run.drifts),
            events: EventPath::at(heartbeats.remove(&registry).unwrap_or_default(), now),
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
        breakers,
        restore_drill: drill.map(|drill| DrillOverview { summary: drill.summary(), drill }),
        pauses: controls.pauses,
        holds: controls.holds,
    })
}
