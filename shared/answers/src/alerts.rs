//! Alerts, open incidents, and replication lag.

use std::{cmp::Reverse, collections::BTreeMap};

use domain::{
    alert::{Alert, AlertFilter, AlertKind, Incident, Response, Severity, short_id},
    expectation::EXPECTED_REPLICATION_TIME,
    image::{Image, Registry, RepositoryName, RepositoryPattern, Tag},
    lag::{Distribution, Lane},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use store::{Responses, Table};
use utoipa::ToSchema;

use crate::{
    basis::Basis,
    cursor::Cursor,
    described::{DescribedAlert, described},
    error::Error,
    paging::{PageRequest, PageToken},
    responses,
    time::Period,
};

/// Open incidents, and the alerts of a period.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// What the answer rests on.
    pub basis: Basis,
    /// The open incidents, newest first.
    pub open: Vec<OpenIncident>,
    /// The number of open incidents that the filter does not select.
    #[serde(skip_serializing_if = "crate::deletions::is_zero")]
    pub open_omitted: usize,
    /// The alerts of the period, newest first.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedAlert>)]
    pub alerts: Vec<Alert>,
    /// The cursor for the next page of alerts; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<AlertCursor>>,
}

/// An open incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenIncident {
    /// The ID of the incident: `incident` of each of its alerts.
    pub id: String,
    /// A short ID, by which operators may name it as well.
    pub short_id: String,
    /// The incident: its kind, registries, counts and times.
    #[serde(flatten)]
    pub incident: Incident,
    /// The kind in words, such as `replication late`.
    pub kind_text: String,
    /// The severity: how soon an operator should react.
    pub severity: Severity,
    /// The recommended next step.
    pub remediation: String,
    /// Who works on it, and until when it is not repeated.
    #[serde(flatten)]
    pub response: Response,
    /// Whether it is not repeated now.
    pub is_snoozed: bool,
    /// What operators said, one line each, in the order acknowledged, snoozed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<String>,
}

impl OpenIncident {
    fn new(mut incident: Incident, responses: &Responses, now: Timestamp) -> Self {
        let id = incident.id();
        let severity = responses::severity(&incident);
        incident.severity = None;
        let response = responses.get(&id).cloned().unwrap_or_default();
        let snoozed = response.snoozed_at(now);
        let acknowledged = response.acknowledged.as_ref().map(ToString::to_string);
        Self {
            short_id: short_id(&id),
            id,
            kind_text: incident.kind.words(),
            severity,
            remediation: incident.remediation(),
            is_snoozed: snoozed.is_some(),
            responses: acknowledged.into_iter().chain(snoozed.map(ToString::to_string)).collect(),
            response,
            incident,
        }
    }
}

/// The last alert on a page; the next page starts after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCursor {
    time: Timestamp,
    id: String,
}

/// Which alerts are requested.
#[derive(Debug, Clone)]
pub struct AlertRequest {
    /// What is selected, of incidents and of alerts.
    pub filter: AlertFilter,
    /// The period of the alerts; without one, only open incidents.
    pub period: Option<Period>,
    /// Start after this alert; without one, at the newest.
    pub after: Option<AlertCursor>,
    /// The largest number of alerts.
    pub most: usize,
}

/// Answers `alerts`: the open incidents, and the alerts of a period, both newest first.
///
/// # Errors
/// When the registry or the repository is not known, or the table cannot be read.
pub async fn alerts(table: &Table, request: &AlertRequest, now: Timestamp) -> Result<Alerts, Error> {
    let AlertRequest { filter, period, .. } = request;
    let repository = filter.repositories.as_ref().and_then(RepositoryPattern::name);
    let basis = Basis::read(table, filter.registry.as_ref(), repository.as_ref()).await?;
    let (alerts, next) = match period {
        Some(period) => list(table, request, *period, now).await?,
        None => (Vec::new(), None),
    };
    let (open, omitted): (Vec<_>, Vec<_>) = incidents(table, now)
        .await?
        .into_iter()
        .partition(|open| filter.selects_incident(&open.incident, open.severity));
    Ok(Alerts { basis, open, open_omitted: omitted.len(), alerts, next_cursor: next.map(Cursor) })
}

/// The open incidents, newest first.
///
/// # Errors
/// When the table cannot be read.
pub async fn incidents(table: &Table, now: Timestamp) -> Result<Vec<OpenIncident>, store::Error> {
    let (mut incidents, responses) = table.incidents_and_responses().await?;
    incidents.retain(|incident| incident.open > 0);
    incidents.sort_by_key(|incident| (Reverse(incident.opened_at), incident.id()));
    Ok(incidents.into_iter().map(|incident| OpenIncident::new(incident, &responses, now)).collect())
}

/// The selected alerts of a period, newest first, and the cursor for the next page, if there is one.
async fn list(
    table: &Table,
    request: &AlertRequest,
    period: Period,
    now: Timestamp,
) -> Result<(Vec<Alert>, Option<AlertCursor>), store::Error> {
    let AlertRequest { filter, after, most, .. } = request;
    let one_day = SignedDuration::from_hours(24);
    // An alert may have tomorrow's date if the clock that set it is ahead of this one.
    let tomorrow = now.checked_add(one_day).unwrap_or(now);
    let ends = after.as_ref().map(|after| after.time).into_iter().chain(period.to);
    let mut day = Some(ends.chain([tomorrow]).min().unwrap_or(tomorrow));
    let mut all = Vec::new();
    while let Some(at) = day {
        let mut alerts = table.alerts(at).await?;
        alerts.retain(|alert| period.contains(alert.time) && filter.selects(alert));
        alerts.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.id.cmp(&b.id)));
        let comes_after = |alert: &Alert| {
            after
                .as_ref()
                .is_none_or(|after| alert.time < after.time || alert.time == after.time && alert.id > after.id)
        };
        for alert in alerts.into_iter().filter(comes_after) {
            if all.len() == *most {
                let last = all.last().map(|last: &Alert| AlertCursor { time: last.time, id: last.id.clone() });
                return Ok((all, last));
            }
            all.push(alert);
        }
        day = at.checked_sub(one_day).ok().filter(|_| domain::alert::day(at) > domain::alert::day(period.from));
    }
    Ok((all, None))
}

/// Replication lag, and the unhealthy copies.
#[derive(Debug, Serialize, ToSchema)]
pub struct LagReport {
    /// What the answer rests on.
    pub basis: Basis,
    /// Seconds after which a copy is late.
    pub threshold_seconds: u32,
    /// The period: of arrivals, and of the pushes of copies that did not arrive.
    pub since: Timestamp,
    /// The end of the period; absent if it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Lag by the names of source and destination.
    pub routes: Vec<RouteReport>,
    /// Lag by the names of source, destination and repository.
    pub lanes: Vec<LaneReport>,
    /// Lag of all lanes together by the UTC day of arrival, oldest first.
    pub days: Vec<DayReport>,
    /// Copies of pushes in the period that are late, failed, missing or untagged now, newest push first.
    pub late: Vec<LateCopy>,
    /// The number of such copies of earlier pushes.
    #[serde(skip_serializing_if = "crate::deletions::is_zero")]
    pub late_before: usize,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PageToken>>,
}

/// The lag of copies of one repository between two registries.
#[derive(Debug, Serialize, ToSchema)]
pub struct LaneReport {
    /// The source, destination and repository.
    #[serde(flatten)]
    pub lane: Lane,
    /// The distribution of the lag.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// The lag of copies of all repositories between two registries.
#[derive(Debug, Serialize, ToSchema)]
pub struct RouteReport {
    /// The source registry.
    pub source: Registry,
    /// The destination registry.
    pub destination: Registry,
    /// The distribution of the lag.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// The lag of copies that arrived on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct DayReport {
    /// The day, in UTC.
    pub day: Date,
    /// The distribution of the lag.
    #[serde(flatten)]
    pub lags: Distribution,
}

/// A copy that is late, failed, missing or untagged.
#[derive(Debug, Serialize, ToSchema)]
pub struct LateCopy {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The tag of the push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The registry to which the image was pushed.
    pub source: Registry,
    /// The registry that should have the copy.
    pub destination: Registry,
    /// The time of the push.
    pub pushed_at: Timestamp,
    /// The kind of problem.
    pub kind: AlertKind,
    /// The kind in words, such as `replication late`.
    pub kind_text: String,
    /// The severity: how soon an operator should react.
    pub severity: Severity,
    /// The problem, in one line.
    pub why: String,
}

/// The lags of copies that arrived, in seconds, and the number of those that did not.
#[derive(Debug, Default, Clone)]
struct Copies {
    lags: Vec<u32>,
    not_arrived: usize,
}

/// Answers `lag`, for copies that arrived in a period, and for copies of pushes in that period that did not arrive. The
/// registry of the request is the destination; `source` limits both to copies from one registry.
///
/// # Errors
/// When a registry or the repository is not known, or the table cannot be read.
pub async fn lag(
    table: &Table,
    period: Period,
    source: Option<&Registry>,
    request: &PageRequest<'_>,
) -> Result<LagReport, Error> {
    let threshold_seconds = u32::try_from(EXPECTED_REPLICATION_TIME.as_secs()).unwrap_or(u32::MAX);
    let repository = request.repository();
    let basis = Basis::read(table, request.registry, repository.as_ref()).await?;
    let known = table.registries().await?;
    if let Some(source) = source.filter(|source| !known.is_empty() && !known.contains(*source)) {
        return Err(Error::UnknownRegistry { registry: source.clone() });
    }
    let Period { from: since, to: until } = period;
    let is_wanted = |from: &Registry, repository: &RepositoryName| {
        source.is_none_or(|source| source == from) && request.covers(repository)
    };
    let (mut lanes, mut days): (BTreeMap<Lane, Copies>, BTreeMap<Date, Copies>) = Default::default();
    let mut pager = request.through(known);
    while let Some(page) = pager.next_page() {
        let each = |arrival: store::Arrival| {
            if period.contains(arrival.at) && is_wanted(&arrival.lane.source, &arrival.lane.repository) {
                let day = arrival.at.to_zoned(TimeZone::UTC).date();
                days.entry(day).or_default().lags.push(arrival.lag_seconds);
                lanes.entry(arrival.lane).or_default().lags.push(arrival.lag_seconds);
            }
        };
        let page_end = table.arrivals(&page.registry, since, page.bounds(), each).await?;
        pager.end_page(page, page_end);
    }
    let next_cursor = pager.token().map(Cursor);
    // Those that did not arrive are listed and counted once: on the first page.
    let mut late = match request.from {
        None => late(table, repository.as_ref(), usize::MAX).await?,
        Some(_) => Vec::new(),
    };
    late.retain(|copy| request.registry.is_none_or(|only| copy.destination == *only));
    late.retain(|copy| is_wanted(&copy.source, &copy.image.repository));
    let late_before = late.iter().filter(|copy| copy.pushed_at < since).count();
    late.retain(|copy| period.contains(copy.pushed_at));
    for LateCopy { source, destination, image, .. } in &late {
        let (source, destination, repository) = (source.clone(), destination.clone(), image.repository.clone());
        lanes.entry(Lane { source, destination, repository }).or_default().not_arrived += 1;
    }
    let mut routes: BTreeMap<(Registry, Registry), Copies> = BTreeMap::new();
    for (lane, copies) in &lanes {
        let route = routes.entry((lane.source.clone(), lane.destination.clone())).or_default();
        route.lags.extend(&copies.lags);
        route.not_arrived += copies.not_arrived;
    }
    let distribution = |Copies { lags, not_arrived }| Distribution::of(lags, not_arrived, threshold_seconds);
    let routes = routes.into_iter().filter_map(|((source, destination), copies)| {
        Some(RouteReport { source, destination, lags: distribution(copies)? })
    });
    let lanes = lanes.into_iter().filter_map(|(lane, copies)| Some(LaneReport { lane, lags: distribution(copies)? }));
    let days = days.into_iter().filter_map(|(day, copies)| Some(DayReport { day, lags: distribution(copies)? }));
    Ok(LagReport {
        basis,
        threshold_seconds,
        since,
        until,
        routes: routes.collect(),
        lanes: lanes.collect(),
        days: days.collect(),
        late,
        late_before,
        next_cursor,
    })
}

/// The unhealthy copies of one repository or of all, newest push first, of at most `most` images.
///
/// # Errors
/// When the table cannot be read.
pub async fn late(
    table: &Table,
    repository: Option<&RepositoryName>,
    most: usize,
) -> Result<Vec<LateCopy>, store::Error> {
    let mut late = Vec::new();
    for expectation in table.expectations_with_problems(repository, most).await? {
        for (destination, problem) in expectation.state.problems {
            if problem.over.is_none() {
                late.push(LateCopy {
                    image: expectation.image.clone(),
                    tag: expectation.tag.clone(),
                    source: expectation.source.clone(),
                    destination,
                    pushed_at: expectation.since,
                    kind: problem.kind,
                    kind_text: problem.kind.words(),
                    severity: problem.kind.severity(),
                    why: problem.why,
                });
            }
        }
    }
    late.sort_by(|a, b| (b.pushed_at, &a.image, &a.destination).cmp(&(a.pushed_at, &b.image, &b.destination)));
    Ok(late)
}
