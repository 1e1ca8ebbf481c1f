//! What was told, what is wrong now, and how long replication takes.

use std::collections::BTreeMap;

use domain::{
    alert::{Alert, AlertKind, Incident, Severity},
    expectation::EXPECTED_REPLICATION_TIME,
    image::{Image, Registry, Tag},
    lag::{Distribution, Lane},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use store::Table;
use utoipa::ToSchema;

use crate::{
    cursor::Cursor,
    error::Error,
    paging::{PageRequest, PageToken},
};

/// What is wrong now, and what was told.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// Trouble that lasts, the newest first.
    pub open: Vec<OpenIncident>,
    /// What was told, the newest first.
    pub alerts: Vec<Alert>,
    /// Where the list of what was told goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<AlertCursor>>,
}

/// Trouble that lasts.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenIncident {
    /// What.
    #[serde(flatten)]
    pub incident: Incident,
    /// How soon a person should look.
    pub severity: Severity,
    /// What to do next.
    pub remediation: String,
}

/// An alert in the list of what was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCursor {
    time: Timestamp,
    id: String,
}

/// Answers `alerts`: all that was told since a time.
///
/// # Errors
/// When the table cannot be read.
pub async fn alerts(table: &Table, open: bool, since: SignedDuration, now: Timestamp) -> Result<Alerts, Error> {
    let (alerts, _) = if open { (Vec::new(), None) } else { list(table, since, now, None, usize::MAX).await? };
    Ok(Alerts { open: incidents(table).await?, alerts, next_cursor: None })
}

/// The trouble that lasts, the newest first.
///
/// # Errors
/// When the table cannot be read.
pub async fn incidents(table: &Table) -> Result<Vec<OpenIncident>, store::Error> {
    let mut incidents = table.incidents().await?;
    incidents.retain(|incident| incident.open > 0);
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.opened_at));
    let open = |incident: Incident| {
        let (severity, remediation) = (incident.kind.severity(), incident.remediation());
        OpenIncident { incident, severity, remediation }
    };
    Ok(incidents.into_iter().map(open).collect())
}

/// What was told in a time until now, the newest first: after another alert, so many at most. And after which one the list
/// goes on.
///
/// # Errors
/// When the table cannot be read.
pub async fn list(
    table: &Table,
    since: SignedDuration,
    now: Timestamp,
    after: Option<AlertCursor>,
    most: usize,
) -> Result<(Vec<Alert>, Option<AlertCursor>), store::Error> {
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let one_day = SignedDuration::from_hours(24);
    // Whose clock is ahead of ours tells of tomorrow.
    let tomorrow = now.checked_add(one_day).unwrap_or(now);
    let mut day = Some(after.as_ref().map_or(tomorrow, |after| after.time.min(tomorrow)));
    let mut all = Vec::new();
    while let Some(at) = day {
        let mut alerts = table.alerts(at).await?;
        alerts.retain(|alert| alert.time >= since);
        alerts.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.id.cmp(&b.id)));
        let comes_after = |alert: &Alert| {
            after
                .as_ref()
                .is_none_or(|after| alert.time < after.time || alert.time == after.time && alert.id > after.id)
        };
        for alert in alerts.into_iter().filter(comes_after) {
            if all.len() == most {
                let last = all.last().map(|last: &Alert| AlertCursor { time: last.time, id: last.id.clone() });
                return Ok((all, last));
            }
            all.push(alert);
        }
        day = at.checked_sub(one_day).ok().filter(|_| domain::alert::day(at) > domain::alert::day(since));
    }
    Ok((all, None))
}

/// How long replication takes, and what is late now.
#[derive(Debug, Serialize, ToSchema)]
pub struct LagReport {
    /// Seconds after which a copy is late.
    pub threshold_seconds: u32,
    /// By source, destination and repository.
    pub lanes: Vec<LaneReport>,
    /// By the day of the arrivals in UTC, all lanes together.
    pub days: Vec<DayReport>,
    /// The copies that something is wrong with now, the oldest first.
    pub late: Vec<LateCopy>,
    /// Where the report goes on, if it says only of a part of the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PageToken>>,
}

/// How long copies took between two registries.
#[derive(Debug, Serialize, ToSchema)]
pub struct LaneReport {
    /// Between which, and of what.
    #[serde(flatten)]
    pub lane: Lane,
    /// How long.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// How long copies took that arrived on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayReport {
    /// Which, in UTC.
    pub day: Date,
    /// How long.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// A copy that something is wrong with.
#[derive(Debug, Serialize, ToSchema)]
pub struct LateCopy {
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
    pub kind: AlertKind,
    /// How soon a person should look.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub why: String,
}

/// Answers `lag`: of what arrived in a time until now, at some destinations.
///
/// # Errors
/// When the table cannot be read.
pub async fn lag(
    table: &Table,
    since: SignedDuration,
    now: Timestamp,
    request: &PageRequest<'_>,
) -> Result<LagReport, Error> {
    let threshold_seconds = u32::try_from(EXPECTED_REPLICATION_TIME.as_secs()).unwrap_or(u32::MAX);
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut lanes: BTreeMap<Lane, Vec<u32>> = BTreeMap::new();
    let mut days: BTreeMap<Date, Vec<u32>> = BTreeMap::new();
    let mut pager = request.through(table.registries().await?);
    while let Some(page) = pager.next_page() {
        let each = |arrival: store::Arrival| {
            let day = arrival.at.to_zoned(TimeZone::UTC).date();
            days.entry(day).or_default().push(arrival.lag_seconds);
            lanes.entry(arrival.lane).or_default().push(arrival.lag_seconds);
        };
        let page_end = table.arrivals(&page.registry, since, page.bounds(), each).await?;
        pager.end_page(page, page_end);
    }
    let next_cursor = pager.token().map(Cursor);
    let distribution = |lags| Distribution::of(lags, threshold_seconds);
    let lanes = lanes.into_iter().filter_map(|(lane, lags)| Some(LaneReport { lane, lags: distribution(lags)? }));
    let days = days.into_iter().filter_map(|(day, lags)| Some(DayReport { day, lags: distribution(lags)? }));
    let late = late(table, request.most).await?;
    Ok(LagReport { threshold_seconds, lanes: lanes.collect(), days: days.collect(), late, next_cursor })
}

/// The unhealthy copies, oldest first, of at most `most` images.
///
/// # Errors
/// When the table cannot be read.
pub async fn late(table: &Table, most: usize) -> Result<Vec<LateCopy>, store::Error> {
    let mut late = Vec::new();
    for expectation in table.expectations_with_problems(most).await? {
        for (destination, problem) in expectation.state.problems {
            if problem.over.is_none() {
                late.push(LateCopy {
                    image: expectation.image.clone(),
                    tag: expectation.tag.clone(),
                    source: expectation.source.clone(),
                    destination,
                    pushed_at: expectation.since,
                    kind: problem.kind,
                    severity: problem.kind.severity(),
                    why: problem.why,
                });
            }
        }
    }
    late.sort_by(|a, b| (a.pushed_at, &a.image, &a.destination).cmp(&(b.pushed_at, &b.image, &b.destination)));
    Ok(late)
}
