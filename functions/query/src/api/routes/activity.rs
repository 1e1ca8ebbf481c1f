//! What was done, across images.

use std::sync::Arc;

use answers::{
    activity::{self, ActivityReport, ActivityRequest},
    cursor::Cursor,
};
use axum::extract::{Query as Parameters, State};
use domain::{
    activity::{ActivityFilter, ActivityKind, ActorPattern},
    controls::HoldPattern,
    image::Registry,
};
use serde::Deserialize;
use store::ActivityPosition;
use utoipa::IntoParams;

use super::{
    Answer, ApiResult,
    parameters::{PageSize, TimeRange, maybe_parsed, several},
};
use crate::api::{Query, problem::Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ActivityParameters {
    /// Only this actor: an ARN, in which `*` stands for any text (the ARN of a role means its sessions, too), or a part of
    /// the actor's name.
    #[serde(default, deserialize_with = "maybe_parsed")]
    #[param(value_type = Option<String>, example = "arn:aws:iam::111122223333:role/platform")]
    actor: Option<ActorPattern>,
    /// Only these repositories, as in `prod/*`, or this image, as in `prod/api@sha256:…`.
    #[param(example = "team/*")]
    repository: Option<HoldPattern>,
    /// Only this registry, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    registry: Option<Registry>,
    /// Only these kinds, separated by commas.
    #[serde(default, deserialize_with = "several")]
    #[param(value_type = Option<String>, example = "image_deleted,tags_deleted")]
    kind: Vec<ActivityKind>,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<ActivityPosition>>,
}

/// What was done, across images
///
/// Pushes, deletions, refused calls, changes of the storage class and of settings, and actions of operators, newest first.
/// Without `from` the last 30 days.
#[utoipa::path(get, path = "/v1/activity", tag = "images", params(ActivityParameters, TimeRange), responses((status = 200, body = ActivityReport), Problem))]
pub(super) async fn activity(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ActivityParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<ActivityReport> {
    let ActivityParameters { actor, repository, registry, kind, limit, cursor } = asked;
    let period = range.of_days(30, (query.clock)())?;
    let request = ActivityRequest {
        filter: ActivityFilter { actor, repository, registry, kinds: kind.into_iter().collect() },
        since: period.from,
        until: period.to,
        from: cursor.map(|Cursor(position)| position),
        most: Some(limit.0),
    };
    Ok(Answer(activity::activity(&query.table, &request).await?))
}
