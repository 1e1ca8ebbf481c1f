//! The state of replication: overview, alerts, lag, drift and orphans.

use std::sync::Arc;

use answers::{
    alerts::{self, AlertCursor, Alerts, LagReport},
    answer::{self, OrphanFilter, Orphans},
    basis::Basis,
    cursor::Cursor,
    drift::{self, DriftReport},
    overview::{self, Overview},
    paging::{self, PageRequest},
    time::{Moment, Period},
};
use axum::{
    Extension, Json,
    extract::{Query as Parameters, State},
};
use domain::image::{Registry, RepositoryName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ApiResult,
    parameters::{PageSize, TimeRange},
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
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<AlertCursor>>,
}

/// Open incidents, and the alerts of a time
///
/// Both newest first. `from` and `to` choose alerts; without `from` the last 7 days. Every incident that is open now is in
/// the answer.
#[utoipa::path(get, path = "/v1/alerts", tag = "replication", params(AlertsParameters, TimeRange), responses((status = 200, body = Alerts), Problem))]
pub(super) async fn alerts(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<AlertsParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Alerts> {
    let (table, now) = (&query.table, (query.clock)());
    let (period, after) = (range.of_days(7, now)?, asked.cursor.map(|Cursor(alert)| alert));
    let (alerts, next) = alerts::list(table, period, now, after, asked.limit.0).await?;
    let basis = Basis::read(table, None, None).await?;
    Ok(Json(Alerts { basis, open: alerts::incidents(table, now).await?, alerts, next_cursor: next.map(Cursor) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LagParameters {
    /// Only this destination, as in `111122223333/us-east-1`.
    #[param(example = "444455556666/ap-northeast-1")]
    destination: Option<Registry>,
    /// Only this repository.
    #[param(example = "team/app")]
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Replication lag, of 10,000 images on a page
///
/// By source, destination and repository, and by day; and the copies that are late, failed, missing or untagged now.
/// `from` and `to` choose by the time of the arrival, or of the push if a copy did not arrive; without `from` the last 30
/// days.
#[utoipa::path(get, path = "/v1/lag", tag = "replication", params(LagParameters, TimeRange), responses((status = 200, body = LagReport), Problem))]
pub(super) async fn lag(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<LagParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<LagReport> {
    let request = PageRequest {
        registry: asked.destination.as_ref(),
        repository: asked.repository.as_ref(),
        from: asked.cursor.map(|Cursor(place)| place),
        most: LAG_OF,
    };
    let Period { from, to } = range.of_days(30, (query.clock)())?;
    Ok(Json(alerts::lag(&query.table, from, to, &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DriftParameters {
    /// Only this repository.
    #[param(example = "team/app")]
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
    #[param(example = "444455556666/ap-northeast-1")]
    registry: Option<Registry>,
    /// Only this repository.
    #[param(example = "team/app")]
    repository: Option<RepositoryName>,
    /// Only replicas that are older than this, as in `90d`, and of which ECR recorded no pull for as long.
    #[param(value_type = Option<String>, example = "90d")]
    not_pulled: Option<Moment>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Orphans among 1,000 images on a page
///
/// Replicas whose source no longer has the image. `from` and `to` choose by the time at which the last source deleted it;
/// if that is not known, the orphan is in the answer.
#[utoipa::path(get, path = "/v1/orphans", tag = "replication", params(OrphansParameters, TimeRange), responses((status = 200, body = Orphans), Problem))]
pub(super) async fn orphans(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<OrphansParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Orphans> {
    let deleted = range.asked((query.clock)())?;
    let (registry, repository) = (asked.registry.as_ref(), asked.repository.as_ref());
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry, repository, from, most: LOOKED_AT };
    let unpulled_since = asked.not_pulled.map(|not_pulled| not_pulled.at((query.clock)()));
    Ok(Json(answer::orphans(&query.table, OrphanFilter { deleted, unpulled_since }, &request).await?))
}
