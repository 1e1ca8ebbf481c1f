//! The policy that decides about deletions, and the preview of another.

use std::sync::Arc;

use answers::{
    cursor::Cursor,
    error::Error,
    preview::{self, Preview},
    time::Moment,
};
use axum::{Json, extract::State};
use decide::Planner;
use domain::settings::MirrorSettings;
use policy::Policy;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Answer, ApiResult, parameters::TimeRange};
use crate::api::{Query, problem::Problem};

/// Replicas on one page of a preview, each with fresh reads of ECR.
const PREVIEWED: usize = 100;

/// With which policy, mode and limits `mirror` runs
#[utoipa::path(get, path = "/v1/policy", tag = "deletions", responses((status = 200, body = MirrorSettings), Problem))]
pub(super) async fn policy(State(query): State<Arc<Query>>) -> ApiResult<MirrorSettings> {
    Ok(Answer(query.table.mirror_settings().await?.ok_or(Error::NoMirror)?))
}

/// The policy to preview, and for which deletions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewRequest {
    /// The text of the policy, in Cedar.
    #[schema(example = "@id(\"all\") permit (principal, action, resource);")]
    policy: String,
    /// Deletions recorded at this time or later: a duration back from now (`30d`, the default), a day in UTC or a time, at
    /// most 366 days ago; orphans of any age are included.
    #[schema(value_type = Option<String>)]
    from: Option<Moment>,
    /// `next_cursor` of the previous response.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor<preview::PreviewPageToken>>,
}

/// Preview a policy, of 100 replicas on a page
///
/// What the policy would do with recorded deletions and orphans, decided from fresh reads of ECR. No registry is
/// changed.
#[utoipa::path(post, path = "/v1/policy/preview", tag = "deletions", request_body = PreviewRequest, responses((status = 200, body = Preview), Problem))]
pub(super) async fn policy_preview(
    State(query): State<Arc<Query>>,
    Json(asked): Json<PreviewRequest>,
) -> ApiResult<Preview> {
    let policy = Policy::load("policy", &asked.policy)?;
    let mirror = query.table.mirror_settings().await?;
    let planner = Planner::new(&query.table, &query.registries, &policy);
    let usage_reads = mirror.as_ref().map(|mirror| decide::usage_reads(&query.registries, mirror));
    let planner = mirror.iter().fold(planner, Planner::limited_as).reading(usage_reads.as_ref());
    let now = (query.clock)();
    let since = now.duration_since(TimeRange::since(asked.from).of_days(30, now)?.from);
    let from = asked.cursor.map(|Cursor(place)| place);
    Ok(Answer(preview::preview(&planner, since, now, from, PREVIEWED).await?))
}
