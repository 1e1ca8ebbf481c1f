//! What was told, what is wrong now, and how long replication takes.

use aws::table::Table;
use domain::{
    alert::{Alert, Incident, Kind},
    expectation::PATIENCE,
    image::{Image, Registry, Tag},
    lag::{Distribution, Lane},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::failure::Failure;

/// What is wrong now, and what was told.
#[derive(Debug, Serialize)]
pub struct Alerts {
    /// Trouble that lasts.
    pub open: Vec<Incident>,
    /// What was told, the newest first.
    pub told: Vec<Alert>,
}

/// Answers `alerts`.
///
/// # Errors
/// When the table cannot be read.
pub async fn alerts(table: &Table, open: bool, since: SignedDuration, now: Timestamp) -> Result<Alerts, Failure> {
    let mut incidents = table.incidents().await?;
    incidents.retain(|incident| incident.open > 0);
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.opened_at));
    let mut told = Vec::new();
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let one_day = SignedDuration::from_hours(24);
    // Whose clock is ahead of ours tells of tomorrow.
    let mut day = if open { None } else { now.checked_add(one_day).ok() };
    while let Some(at) = day {
        told.extend(table.alerts(at).await?);
        day = at.checked_sub(one_day).ok().filter(|_| domain::alert::day(at) > domain::alert::day(since));
    }
    told.retain(|alert| alert.time >= since);
    told.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.id.cmp(&b.id)));
    Ok(Alerts { open: incidents, told })
}

/// How long replication takes, and what is late now.
#[derive(Debug, Serialize)]
pub struct LagReport {
    /// Copies should be there after so many seconds.
    pub threshold_seconds: u32,
    /// By source, destination and repository.
    pub lanes: Vec<LaneReport>,
    /// The copies that something is wrong with now, the oldest first.
    pub late: Vec<Late>,
}

/// How long copies took between two registries.
#[derive(Debug, Serialize)]
pub struct LaneReport {
    /// Between which, and of what.
    #[serde(flatten)]
    pub lane: Lane,
    /// How long.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// A copy that something is wrong with.
#[derive(Debug, Serialize)]
pub struct Late {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// The tag of the push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Where it was pushed.
    pub source: Registry,
    /// Where it should be.
    pub destination: Registry,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// What is wrong.
    pub kind: Kind,
    /// The same in one line.
    pub why: String,
}

/// Answers `lag`.
///
/// # Errors
/// When the table cannot be read.
pub async fn lag(table: &Table, since: SignedDuration, now: Timestamp) -> Result<LagReport, Failure> {
    let threshold_seconds = u32::try_from(PATIENCE.as_secs()).unwrap_or(u32::MAX);
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let lags = table.lags(since).await?.into_iter();
    let lanes =
        lags.filter_map(|(lane, lags)| Some(LaneReport { lane, lags: Distribution::of(lags, threshold_seconds)? }));
    let mut late = Vec::new();
    for expectation in table.troubled().await? {
        for (destination, trouble) in expectation.state.troubles {
            if trouble.over.is_none() {
                late.push(Late {
                    image: expectation.image.clone(),
                    tag: expectation.tag.clone(),
                    source: expectation.source.clone(),
                    destination,
                    pushed_at: expectation.since,
                    kind: trouble.kind,
                    why: trouble.why,
                });
            }
        }
    }
    late.sort_by(|a, b| (a.pushed_at, &a.image, &a.destination).cmp(&(b.pushed_at, &b.image, &b.destination)));
    Ok(LagReport { threshold_seconds, lanes: lanes.collect(), late })
}
