//! Lists of deletions and of circuit breakers.

use std::{num::NonZeroU32, sync::Arc};

use answers::{
    breakers::{self, Breakers, ResetPreview, ResetTerms},
    cursor::Cursor,
    deletions::{self, DeletionFilter, Deletions},
};
use axum::{
    Json,
    extract::{Query as Parameters, State},
};
use domain::{deletion::DeletionStatus, image::Registry};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ApiResult,
    parameters::{PageSize, Since, days},
};
use crate::api::{Query, problem::Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeletionsParameters {
    /// Only these statuses, separated by commas. Default: every status except `done` and `kept`.
    #[param(value_type = Option<String>, example = "pending,held")]
    status: Option<String>,
    /// Only this source, as in `111122223333/eu-west-1`.
    source: Option<Registry>,
    /// Only deletions that changed in this period until now, as in `12h` or `30d`.
    #[param(value_type = Option<String>, default = "30d")]
    since: Option<Since>,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<deletions::DeletionsPageToken>>,
}

/// Deletions of replicas after their source's deletion, with status and reasons.
#[utoipa::path(get, path = "/v1/deletions", tag = "deletions", params(DeletionsParameters), responses((status = 200, body = Deletions), Problem))]
pub(super) async fn deletions(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<DeletionsParameters>,
) -> ApiResult<Deletions> {
    let statuses = match &asked.status {
        None => DeletionFilter::not_over(),
        Some(words) => words.split(',').map(|word| status(word.trim())).collect::<Result<_, _>>()?,
    };
    let Since(since) = asked.since.unwrap_or(days(30));
    let now = (query.clock)();
    let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let filter = DeletionFilter { statuses, source: asked.source.as_ref(), since };
    let from = asked.cursor.map(|Cursor(place)| place);
    Ok(Json(deletions::page(&query.table, &filter, from, asked.limit.0, now).await?))
}

fn status(word: &str) -> Result<DeletionStatus, Problem> {
    let words: Vec<_> = DeletionStatus::ALL.into_iter().map(DeletionStatus::as_str).collect();
    DeletionStatus::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
        let detail = format!("status: `{word}` is none: expected some of {}", words.join(", "));
        Problem::new(axum::http::StatusCode::BAD_REQUEST, detail)
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BreakersParameters {
    /// Only this source, as in `111122223333/eu-west-1`.
    source: Option<Registry>,
}

/// The breakers that are open, were reset, or counted deletions in the last window.
#[utoipa::path(get, path = "/v1/breakers", tag = "deletions", params(BreakersParameters), responses((status = 200, body = Breakers), Problem))]
pub(super) async fn breakers(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<BreakersParameters>,
) -> ApiResult<Breakers> {
    Ok(Json(breakers::breakers(&query.table, asked.source.as_ref(), (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ResetPreviewParameters {
    /// The source whose deletions the breaker puts on hold.
    source: Registry,
    /// The number of images to allow in the next window, in all registries and classes together.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    allow: Option<NonZeroU32>,
    /// Whether the limit of the share is not to apply in the next window.
    #[serde(default)]
    #[param(value_type = Option<bool>)]
    ignore_share: bool,
}

/// What a reset of a breaker would do: how much is on hold, who deleted it, and what would be deleted.
#[utoipa::path(get, path = "/v1/breakers/reset", tag = "deletions", params(ResetPreviewParameters), responses((status = 200, body = ResetPreview), Problem))]
pub(super) async fn preview_reset(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ResetPreviewParameters>,
) -> ApiResult<ResetPreview> {
    let terms = ResetTerms { allow: asked.allow.map(NonZeroU32::get), ignore_share: asked.ignore_share };
    Ok(Json(breakers::preview_reset(&query.table, &asked.source, terms).await?))
}
