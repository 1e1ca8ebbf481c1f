//! What operators say about open incidents.

use std::sync::Arc;

use answers::{
    responses::{self, WasAnswered},
    time::Moment,
};
use axum::{Extension, Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Answer, ApiResult,
    parameters::{Reason, short},
};
use crate::api::{Query, caller::Caller, problem::Problem};

/// Which incident to acknowledge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcknowledgeRequest {
    /// The ID or short ID of an open incident, or the ID of one of its alerts.
    #[serde(deserialize_with = "short")]
    #[schema(max_length = 512)]
    alert: String,
    /// Why; shown to every reader.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

/// Say that you work on an open incident. It is repeated as before.
#[utoipa::path(post, path = "/v1/alerts/acknowledge", tag = "replication", request_body = AcknowledgeRequest, responses((status = 200, body = WasAnswered), Problem))]
pub(super) async fn acknowledge(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<AcknowledgeRequest>,
) -> ApiResult<WasAnswered> {
    let AcknowledgeRequest { alert, reason } = &asked;
    let by = caller.name.unwrap_or_default();
    let reason = reason.as_ref().map(|Reason(reason)| reason.as_str());
    Ok(Answer(responses::acknowledge(&query.table, alert, &by, reason, (query.clock)()).await?))
}

/// Which incident to snooze.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SnoozeRequest {
    /// The ID or short ID of an open incident, or the ID of one of its alerts.
    #[serde(deserialize_with = "short")]
    #[schema(max_length = 512)]
    alert: String,
    /// When the snooze ends: a duration from now on (`12h`), a day in UTC, which is included (`2027-01-31`), or a time
    /// (`2027-01-31T18:00:00Z`).
    #[schema(value_type = String)]
    until: Moment,
    /// Why; shown to every reader.
    #[schema(value_type = String, max_length = 1000)]
    reason: Reason,
}

/// Stop the repetitions of an open incident until a time. If it becomes more severe, it is sent nevertheless.
#[utoipa::path(post, path = "/v1/alerts/snooze", tag = "replication", request_body = SnoozeRequest, responses((status = 200, body = WasAnswered), Problem))]
pub(super) async fn snooze(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<SnoozeRequest>,
) -> ApiResult<WasAnswered> {
    let SnoozeRequest { alert, until, reason: Reason(reason) } = &asked;
    let (by, now) = (caller.name.unwrap_or_default(), (query.clock)());
    Ok(Answer(responses::snooze(&query.table, alert, &by, (until.end(now), reason), now).await?))
}
