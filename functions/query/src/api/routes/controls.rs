//! Pauses and holds of operators.

use std::sync::Arc;

use answers::{
    controls::{self, HoldTarget, Holds, Release, WasHeld, WasPaused, WasReleased, WasResumed},
    time::Moment,
};
use axum::{Extension, Json, extract::State};
use domain::{controls::Instruction, image::Registry};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Answer, ApiResult,
    parameters::{Reason, parsed, short},
};
use crate::api::{Query, caller::Caller, problem::Problem};

/// What to pause.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// The only source whose deletions are paused; without one, those of every source.
    source: Option<Registry>,
    /// When the pause expires: a duration from now on (`12h`), a day in UTC, which is included (`2027-01-31`), or a time
    /// (`2027-01-31T18:00:00Z`). Without a time, only an operator ends it.
    #[schema(value_type = Option<String>)]
    until: Option<Moment>,
    /// Why; shown to every reader.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

/// Pause the deletions of a source, or of every source: none begins from now on.
#[utoipa::path(post, path = "/v1/pauses", tag = "deletions", request_body = PauseRequest, responses((status = 200, body = WasPaused), Problem))]
pub(super) async fn pause(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<PauseRequest>,
) -> ApiResult<WasPaused> {
    let (PauseRequest { source, until, reason }, at) = (asked, (query.clock)());
    let (until, reason) = (until.map(|until| until.end(at)), reason.map(|Reason(reason)| reason));
    let instruction = Instruction { by: caller.name.unwrap_or_default(), at, until, reason };
    Ok(Answer(controls::pause(&query.table, source.as_ref(), instruction).await?))
}

/// What to resume.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeRequest {
    /// The source of the pause; without one, the pause of every source ends.
    source: Option<Registry>,
}

/// End a pause. What is due runs within five minutes.
#[utoipa::path(post, path = "/v1/pauses/resume", tag = "deletions", request_body = ResumeRequest, responses((status = 200, body = WasResumed), Problem))]
pub(super) async fn resume(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ResumeRequest>,
) -> ApiResult<WasResumed> {
    let by = caller.name.unwrap_or_default();
    Ok(Answer(controls::resume(&query.table, asked.source.as_ref(), &by, (query.clock)()).await?))
}

/// The pauses and holds that last now.
#[utoipa::path(get, path = "/v1/holds", tag = "deletions", responses((status = 200, body = Holds), Problem))]
pub(super) async fn holds(State(query): State<Arc<Query>>) -> ApiResult<Holds> {
    Ok(Answer(controls::holds(&query.table, (query.clock)()).await?))
}

/// What to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldRequest {
    /// Repositories, as in `prod/*`, or an image, as in `prod/api:v1` or `prod/api@sha256:…`.
    #[serde(deserialize_with = "parsed")]
    #[schema(value_type = String)]
    hold: HoldTarget,
    /// Only deletions of this source.
    source: Option<Registry>,
    /// When the hold expires: a duration from now on (`30d`), a day in UTC, which is included (`2027-01-31`), or a time
    /// (`2027-01-31T18:00:00Z`). Without a time, only an operator ends it.
    #[schema(value_type = Option<String>)]
    until: Option<Moment>,
    /// Why; shown to every reader.
    #[schema(value_type = String, max_length = 1000)]
    reason: Reason,
}

/// Put images or repositories on hold, whether or not a deletion exists. A breaker's reset does not end a hold.
#[utoipa::path(post, path = "/v1/holds", tag = "deletions", request_body = HoldRequest, responses((status = 200, body = WasHeld), Problem))]
pub(super) async fn hold(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<HoldRequest>,
) -> ApiResult<WasHeld> {
    let HoldRequest { hold, source, until, reason: Reason(reason) } = asked;
    let (by, at) = (caller.name.unwrap_or_default(), (query.clock)());
    let until = until.map(|until| until.end(at));
    let instruction = Instruction { by, at, until, reason: Some(reason) };
    Ok(Answer(controls::hold(&query.table, &hold, source.as_ref(), instruction).await?))
}

/// Which holds to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseRequest {
    /// The ID of a hold, its pattern, or an image.
    #[serde(deserialize_with = "short")]
    #[schema(max_length = 512)]
    hold: String,
    /// Only holds of this source.
    source: Option<Registry>,
    /// End also holds of others.
    #[serde(default)]
    force: bool,
    /// Why; recorded with each deletion that is re-evaluated.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

/// End holds. The deletions that they stopped are re-evaluated.
#[utoipa::path(post, path = "/v1/holds/release", tag = "deletions", request_body = ReleaseRequest, responses((status = 200, body = WasReleased), Problem))]
pub(super) async fn release(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ReleaseRequest>,
) -> ApiResult<WasReleased> {
    let ReleaseRequest { hold, source, force, reason } = &asked;
    let reason = reason.as_ref().map(|Reason(reason)| reason.as_str());
    let release = Release { hold, source: source.as_ref(), force: *force, reason };
    let by = caller.name.unwrap_or_default();
    Ok(Answer(controls::release(&query.table, &release, &by, (query.clock)()).await?))
}
