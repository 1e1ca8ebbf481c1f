//! Operator actions on deletions, breakers and registries.

use std::{num::NonZeroU32, sync::Arc};

use answers::{
    breakers::{self, ResetTerms, WasReset},
    deletions::{self, Act, Acted, DeletionScope, DeletionSelector},
    registries::{self, WasForgotten},
};
use axum::{Extension, Json, extract::State};
use domain::{
    deletion::OperatorAction,
    image::{Registry, Tag},
};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, ApiResult,
    parameters::{ImageReference, Reason},
};
use crate::api::{
    Query,
    caller::Caller,
    problem::{Problem, ProblemCode},
};

/// The deletion to act on, in the version that the caller saw.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActRequest {
    /// `REPO@sha256:…` (the digest may be shortened), `REPO:TAG`, or either with the registry's host name.
    #[schema(value_type = String)]
    image: ImageReference,
    /// The registry of the replica.
    registry: Registry,
    /// The tag, if the deletion is of a tag and not of the image.
    tag: Option<Tag>,
    /// The `version` of the deletion that the caller saw; if the deletion changed since, the request is refused with
    /// 409.
    version: u64,
    /// Why; recorded with the deletion.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

async fn act(query: &Query, caller: Caller, asked: ActRequest, action: OperatorAction) -> ApiResult<Acted> {
    let scope = DeletionScope::Seen { tag: asked.tag, version: asked.version };
    let ImageReference(image) = asked.image;
    let selector = DeletionSelector { image, registry: Some(asked.registry), scope };
    let by = caller.name.unwrap_or_default();
    let reason = asked.reason.as_ref().map(|Reason(reason)| reason.as_str());
    let act = Act { action, by: &by, reason, now: (query.clock)() };
    Ok(Answer(deletions::act(&query.table, &selector, &act).await?))
}

/// Approve a deletion for which the policy requires approval. Every other check still applies.
#[utoipa::path(post, path = "/v1/deletions/approve", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
pub(super) async fn approve(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Approve).await
}

/// Cancel a deletion for good: the replica is kept. Only a new deletion at the source starts a new one.
#[utoipa::path(post, path = "/v1/deletions/cancel", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
pub(super) async fn cancel(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Cancel).await
}

/// Re-evaluate a deletion that was kept or that ECR refused. A cancelled one stays cancelled.
#[utoipa::path(post, path = "/v1/deletions/retry", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
pub(super) async fn retry(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Retry).await
}

/// What to do with each deletion of a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActOnEachRequest {
    /// `approve`, `cancel` or `retry`.
    action: ActionOnEach,
    /// The deletions, each in the version that the caller saw: from 1 to 100. The results are in the order of this list.
    #[schema(min_items = 1, max_items = 100)]
    deletions: Vec<SeenDeletion>,
    /// Why; recorded with each deletion.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

/// An action that is possible on a list of deletions.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionOnEach {
    Approve,
    Cancel,
    Retry,
}

impl From<ActionOnEach> for OperatorAction {
    fn from(action: ActionOnEach) -> Self {
        match action {
            ActionOnEach::Approve => Self::Approve,
            ActionOnEach::Cancel => Self::Cancel,
            ActionOnEach::Retry => Self::Retry,
        }
    }
}

/// One deletion of a list, in the version that the caller saw.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenDeletion {
    /// The image, as `REPO@sha256:…`.
    #[schema(value_type = String)]
    image: ImageReference,
    /// The registry of the replica.
    registry: Registry,
    /// The tag, if the deletion is of a tag and not of the image.
    tag: Option<Tag>,
    /// The `version` of the deletion that the caller saw.
    version: u64,
}

/// What came of an action on each deletion of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActedOnEach {
    /// The number of deletions to which the action was applied, or that were approved before.
    done: usize,
    /// One result for each deletion, in the order of the request.
    results: Vec<ActResult>,
}

/// What came of an action on one deletion of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActResult {
    /// The image, as the caller wrote it.
    image: String,
    /// The registry of the replica.
    registry: Registry,
    /// The tag, if the deletion is of a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Tag>,
    /// What was done, in one line; absent if the action was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// Why the action was refused; absent if it was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// The largest number of deletions in one request, and how many of them are changed at the same time.
const MOST: usize = 100;
const AT_A_TIME: usize = 8;

/// Approve, cancel or retry each deletion of a list
///
/// What is refused for one of them stops no other: each has its own result.
#[utoipa::path(post, path = "/v1/deletions/act", tag = "deletions", request_body = ActOnEachRequest, responses((status = 200, body = ActedOnEach), Problem))]
pub(super) async fn act_on_each(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActOnEachRequest>,
) -> ApiResult<ActedOnEach> {
    let ActOnEachRequest { action, deletions, reason } = asked;
    if !(1..=MOST).contains(&deletions.len()) {
        let detail = format!("deletions: expected from 1 to {MOST}, not {}", deletions.len());
        return Err(Problem::new(ProblemCode::InvalidBody, detail));
    }
    let results = stream::iter(deletions).map(|seen| {
        let (query, caller, reason) = (&query, caller.clone(), reason.clone());
        async move {
            let SeenDeletion { image, registry, tag, version } = seen;
            let (named, of) = (image.0.to_string(), (registry.clone(), tag.clone()));
            let request = ActRequest { image, registry, tag, version, reason };
            let (summary, problem) = match act(query, caller, request, action.into()).await {
                Ok(Answer(acted)) => (Some(acted.summary), None),
                Err(problem) => (None, Some(problem)),
            };
            ActResult { image: named, registry: of.0, tag: of.1, summary, problem }
        }
    });
    let results: Vec<_> = results.buffered(AT_A_TIME).collect().await;
    let done = results.iter().filter(|result| result.problem.is_none()).count();
    Ok(Answer(ActedOnEach { done, results }))
}

/// The breaker to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetRequest {
    /// The source whose deletions the breaker puts on hold.
    source: Registry,
    /// The `version` of the breaker that the caller saw; if the breaker changed since, the request is refused with 409.
    version: u64,
    /// The number of images that may be deleted in the next window, in all registries and classes together; an image
    /// counts once for each registry. When they are used, the breaker opens again. Without it, the limits apply.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    allow: Option<NonZeroU32>,
    /// Whether the limit of the share of a repository does not apply in the next window.
    #[serde(default)]
    ignore_share: bool,
}

/// Close a breaker, and re-evaluate every deletion that it put on hold. `GET` of the same path says what that would do.
#[utoipa::path(post, path = "/v1/breakers/reset", tag = "deletions", request_body = ResetRequest, responses((status = 200, body = WasReset), Problem))]
pub(super) async fn reset(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ResetRequest>,
) -> ApiResult<WasReset> {
    let by = caller.name.unwrap_or_default();
    let ResetRequest { source, version, allow, ignore_share } = asked;
    let terms = ResetTerms { allow: allow.map(NonZeroU32::get), ignore_share };
    Ok(Answer(breakers::reset(&query.table, &source, version, terms, &by, (query.clock)()).await?))
}

/// The registry to forget.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgetRequest {
    /// The registry that has no stack, or has none any more.
    registry: Registry,
    /// Why; shown to every reader.
    #[schema(value_type = Option<String>, max_length = 1000)]
    reason: Option<Reason>,
}

/// Expect no heartbeat of a registry, until the next heartbeat or event of it arrives.
#[utoipa::path(post, path = "/v1/registries/forget", tag = "replication", request_body = ForgetRequest, responses((status = 200, body = WasForgotten), Problem))]
pub(super) async fn forget(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ForgetRequest>,
) -> ApiResult<WasForgotten> {
    let reason = asked.reason.as_ref().map(|Reason(reason)| reason.as_str());
    let by = caller.name.unwrap_or_default();
    Ok(Answer(registries::forget(&query.table, &asked.registry, reason, &by, (query.clock)()).await?))
}
