//! Lists of deletions and of circuit breakers.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use answers::{
    breakers::{self, Breakers, ResetPreview, ResetTerms},
    cursor::Cursor,
    deletions::{self, DeletionFilter, Deletions},
    schedule::{self, Schedule},
    time::Moment,
};
use axum::extract::{Query as Parameters, State};
use domain::{
    deletion::DeletionStatus,
    image::{Registry, RepositoryPattern},
};
use serde::{Deserialize, Deserializer};
use store::Listed;
use utoipa::IntoParams;

use super::{
    Answer, ApiResult,
    parameters::{PageSize, TimeRange, several},
};
use crate::api::{Query, problem::Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeletionsParameters {
    /// Only these statuses, separated by commas. Default: every status except `done` and `kept`.
    #[serde(default, deserialize_with = "statuses")]
    #[param(value_type = Option<String>, example = "pending,held")]
    status: Option<BTreeSet<DeletionStatus>>,
    /// Only this source, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    source: Option<Registry>,
    /// Only deletions in this registry, as in `111122223333/us-east-1`.
    #[param(example = "111122223333/us-east-1")]
    registry: Option<Registry>,
    /// Only deletions in these repositories, as in `prod/api` or `prod/*`.
    #[param(value_type = Option<String>, example = "prod/*")]
    repository: Option<RepositoryPattern>,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Listed>>,
}

/// Deletions of replicas after their source's deletion, with status and reasons
///
/// By their last change, newest first. `from` and `to` choose by the same time; without `from` the last 30 days.
#[utoipa::path(get, path = "/v1/deletions", tag = "deletions", params(DeletionsParameters, TimeRange), responses((status = 200, body = Deletions), Problem))]
pub(super) async fn deletions(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<DeletionsParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Deletions> {
    let now = (query.clock)();
    let statuses = asked.status.unwrap_or_else(DeletionFilter::not_over);
    let filter = DeletionFilter {
        source: asked.source.as_ref(),
        registry: asked.registry.as_ref(),
        repositories: asked.repository.as_ref(),
        ..DeletionFilter::everywhere(statuses, range.of_days(30, now)?)
    };
    let after = asked.cursor.map(|Cursor(listed)| listed);
    Ok(Answer(deletions::page(&query.table, &filter, after.as_ref(), asked.limit.0, now).await?))
}

/// Parses statuses that are separated by commas.
fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeSet<DeletionStatus>>, D::Error> {
    several(deserializer).map(|statuses| Some(statuses.into_iter().collect()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ScheduleParameters {
    /// The end: a duration from now on (`24h`), a day in UTC, which is included (`2027-01-31`), or a time
    /// (`2027-01-31T06:00:00Z`).
    #[param(value_type = String, example = "48h")]
    until: Moment,
    /// Only this source, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    source: Option<Registry>,
}

/// What will be deleted until a time, as far as is recorded now
///
/// And what asks for approval then, or is on hold or stopped instead.
#[utoipa::path(get, path = "/v1/deletions/schedule", tag = "deletions", params(ScheduleParameters), responses((status = 200, body = Schedule), Problem))]
pub(super) async fn schedule(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ScheduleParameters>,
) -> ApiResult<Schedule> {
    let now = (query.clock)();
    let (source, until) = (asked.source.as_ref(), asked.until.end(now));
    Ok(Answer(schedule::schedule(&query.table, source, until, now).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BreakersParameters {
    /// Only this source, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    source: Option<Registry>,
}

/// The breakers that are open, were reset, or counted deletions in the last window, by source.
#[utoipa::path(get, path = "/v1/breakers", tag = "deletions", params(BreakersParameters), responses((status = 200, body = Breakers), Problem))]
pub(super) async fn breakers(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<BreakersParameters>,
) -> ApiResult<Breakers> {
    Ok(Answer(breakers::breakers(&query.table, asked.source.as_ref(), (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ResetPreviewParameters {
    /// The source whose deletions the breaker puts on hold.
    #[param(example = "111122223333/eu-west-1")]
    source: Registry,
    /// The number of images to allow in the next window, in all registries and classes together.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64, example = 10)]
    allow: Option<NonZeroU32>,
    /// Whether the limit of the share is not to apply in the next window.
    #[serde(default)]
    #[param(value_type = Option<bool>, example = false)]
    ignore_share: bool,
}

/// What a reset of a breaker would do: how much is on hold, who deleted it, and what would be deleted.
#[utoipa::path(get, path = "/v1/breakers/reset", tag = "deletions", params(ResetPreviewParameters), responses((status = 200, body = ResetPreview), Problem))]
pub(super) async fn preview_reset(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ResetPreviewParameters>,
) -> ApiResult<ResetPreview> {
    let terms = ResetTerms { allow: asked.allow.map(NonZeroU32::get), ignore_share: asked.ignore_share };
    Ok(Answer(breakers::preview_reset(&query.table, &asked.source, terms).await?))
}
