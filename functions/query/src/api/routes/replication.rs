//! The state of replication: overview, alerts, lag, drift and orphans.

use std::sync::Arc;

use answers::{
    alerts::{self, AlertCursor, AlertRequest, Alerts, LagReport},
    answer::{self, OrphanFilter, Orphans},
    cursor::Cursor,
    drift::{self, DriftReport},
    overview::{self, Overview},
    paging::{self, PageRequest},
    time::Moment,
};
use axum::{
    Extension,
    extract::{Query as Parameters, State},
};
use domain::{
    alert::{AlertFilter, AlertKind, Severity},
    image::{Registry, RepositoryPattern},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, ApiResult,
    parameters::{PageSize, TimeRange, several},
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
    Ok(Answer(Overview { caller: caller.name, may_change, ..overview }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertsParameters {
    /// Only this registry, as source or destination, as in `111122223333/us-east-1`.
    #[param(example = "444455556666/ap-northeast-1")]
    registry: Option<Registry>,
    /// Only these repositories: a name, as in `team/app`, or a pattern, as in `prod/*`. An alert names 50 repositories at
    /// most; one that does may be about others, too, and is in the answer.
    #[param(example = "team/*")]
    repository: Option<RepositoryPattern>,
    /// Only these kinds, separated by commas.
    #[serde(default, deserialize_with = "several")]
    #[param(value_type = Option<String>, example = "replication_late,replication_failed")]
    kind: Vec<AlertKind>,
    /// Only these severities, separated by commas. What is resolved counts by the severity that it had.
    #[serde(default, deserialize_with = "several")]
    #[param(value_type = Option<String>, example = "warning,critical")]
    severity: Vec<Severity>,
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
/// Both newest first. `from` and `to` choose alerts; without `from` the last 7 days. The other filters choose incidents,
/// too.
#[utoipa::path(get, path = "/v1/alerts", tag = "replication", params(AlertsParameters, TimeRange), responses((status = 200, body = Alerts), Problem))]
pub(super) async fn alerts(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<AlertsParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Alerts> {
    let AlertsParameters { registry, repository, kind, severity, limit, cursor } = asked;
    let (kinds, severities) = (kind.into_iter().collect(), severity.into_iter().collect());
    let now = (query.clock)();
    let request = AlertRequest {
        filter: AlertFilter { registry, repositories: repository, kinds, severities },
        period: Some(range.of_days(7, now)?),
        after: cursor.map(|Cursor(alert)| alert),
        most: limit.0,
    };
    Ok(Answer(alerts::alerts(&query.table, &request, now).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LagParameters {
    /// Only this source, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    source: Option<Registry>,
    /// Only this destination, as in `111122223333/us-east-1`.
    #[param(example = "444455556666/ap-northeast-1")]
    destination: Option<Registry>,
    /// Only these repositories: a name, as in `team/app`, or a pattern, as in `prod/*`.
    #[param(example = "team/*")]
    repository: Option<RepositoryPattern>,
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
        repositories: asked.repository.as_ref(),
        from: asked.cursor.map(|Cursor(place)| place),
        most: LAG_OF,
    };
    let period = range.of_days(30, (query.clock)())?;
    Ok(Answer(alerts::lag(&query.table, period, asked.source.as_ref(), &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DriftParameters {
    /// Only these repositories: a name, as in `team/app`, or a pattern, as in `prod/*`.
    #[param(example = "team/*")]
    repository: Option<RepositoryPattern>,
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
    let request = PageRequest { registry: None, repositories: asked.repository.as_ref(), from, most: LOOKED_AT };
    Ok(Answer(drift::drift(&query.table, &request, (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OrphansParameters {
    /// Only this registry, as in `111122223333/us-east-1`.
    #[param(example = "444455556666/ap-northeast-1")]
    registry: Option<Registry>,
    /// Only these repositories: a name, as in `team/app`, or a pattern, as in `prod/*`.
    #[param(example = "team/*")]
    repository: Option<RepositoryPattern>,
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
    let (registry, repositories) = (asked.registry.as_ref(), asked.repository.as_ref());
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry, repositories, from, most: LOOKED_AT };
    let unpulled_since = asked.not_pulled.map(|not_pulled| not_pulled.at((query.clock)()));
    Ok(Answer(answer::orphans(&query.table, OrphanFilter { deleted, unpulled_since }, &request).await?))
}
