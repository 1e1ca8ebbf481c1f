//! The state of replication: overview, alerts, lag, drift and orphans.

use std::sync::Arc;

use answers::{
    alerts::{self, AlertCursor, Alerts, LagReport},
    answer::{self, Orphans},
    basis::Basis,
    cursor::Cursor,
    drift::{self, DriftReport},
    overview::{self, Overview},
    paging::{self, PageRequest},
};
use axum::{
    Extension, Json,
    extract::{Query as Parameters, State},
};
use domain::image::{Registry, RepositoryName};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ApiResult,
    parameters::{PageSize, Since, days},
};
use crate::api::{Query, caller::Caller, problem::Problem};

/// Images read for one page of a list of which few images are part.
const LOOKED_AT: usize = 1_000;

/// Images read for one page of the lag report: percentiles of 10,000 images are meaningful.
const LAG_OF: usize = 10_000;

/// The current state: registries, incidents, late copies, deletions and breakers.
#[utoipa::path(get, path = "/v1/overview", tag = "replication", responses((status = 200, body = Overview), Problem))]
pub(super) async fn overview(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
) -> ApiResult<Overview> {
    let overview = overview::overview(&query.table, (query.clock)()).await?;
    let may_change = caller.may_change && caller.name.is_some();
    Ok(Json(Overview { caller: caller.name, may_change, ..overview }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertsParameters {
    /// Alerts of this period until now, as in `12h` or `30d`.
    #[param(value_type = Option<String>, default = "7d")]
    since: Option<Since>,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<AlertCursor>>,
}

/// Open incidents, and the alerts of a period.
#[utoipa::path(get, path = "/v1/alerts", tag = "replication", params(AlertsParameters), responses((status = 200, body = Alerts), Problem))]
pub(super) async fn alerts(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<AlertsParameters>,
) -> ApiResult<Alerts> {
    let (table, Since(since)) = (&query.table, asked.since.unwrap_or(days(7)));
    let after = asked.cursor.map(|Cursor(alert)| alert);
    let (alerts, next) = alerts::list(table, since, (query.clock)(), after, asked.limit.0).await?;
    let basis = Basis::read(table, None, None).await?;
    Ok(Json(Alerts { basis, open: alerts::incidents(table).await?, alerts, next_cursor: next.map(Cursor) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LagParameters {
    /// Copies that arrived in this period until now, as in `12h` or `30d`.
    #[param(value_type = Option<String>, default = "30d")]
    since: Option<Since>,
    /// Only this destination, as in `111122223333/us-east-1`.
    destination: Option<Registry>,
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Replication lag, of 10,000 images on a page
///
/// By source, destination and repository, and by day; and the copies that are late, failed, missing or untagged now.
#[utoipa::path(get, path = "/v1/lag", tag = "replication", params(LagParameters), responses((status = 200, body = LagReport), Problem))]
pub(super) async fn lag(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<LagParameters>,
) -> ApiResult<LagReport> {
    let request = PageRequest {
        registry: asked.destination.as_ref(),
        repository: asked.repository.as_ref(),
        from: asked.cursor.map(|Cursor(place)| place),
        most: LAG_OF,
    };
    let (now, Since(since)) = ((query.clock)(), asked.since.unwrap_or(days(30)));
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Json(alerts::lag(&query.table, since, None, &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DriftParameters {
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Missing replicas and replicas with different tags, of 1,000 images on a page.
#[utoipa::path(get, path = "/v1/drift", tag = "replication", params(DriftParameters), responses((status = 200, body = DriftReport), Problem))]
pub(super) async fn drift(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<DriftParameters>,
) -> ApiResult<DriftReport> {
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry: None, repository: asked.repository.as_ref(), from, most: LOOKED_AT };
    Ok(Json(drift::drift(&query.table, &request, (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OrphansParameters {
    /// Only this registry, as in `111122223333/us-east-1`.
    registry: Option<Registry>,
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Orphans (replicas whose source no longer has the image) among 1,000 images on a page.
#[utoipa::path(get, path = "/v1/orphans", tag = "replication", params(OrphansParameters), responses((status = 200, body = Orphans), Problem))]
pub(super) async fn orphans(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<OrphansParameters>,
) -> ApiResult<Orphans> {
    let (registry, repository) = (asked.registry.as_ref(), asked.repository.as_ref());
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry, repository, from, most: LOOKED_AT };
    Ok(Json(answer::orphans(&query.table, &request).await?))
}
