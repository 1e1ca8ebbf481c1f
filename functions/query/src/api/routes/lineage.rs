//! The lineage of one image, and the history of one tag.

use std::sync::Arc;

use answers::{
    answer::{self, History, Shown},
    graph::Graph,
    reference::TagReference,
};
use axum::{
    extract::{Query as Parameters, State},
    response::{IntoResponse, Response},
};
use domain::image::Registry;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, ApiResult,
    parameters::{ImageReference, TimeRange, parsed},
};
use crate::api::{
    Query,
    problem::{self, Problem},
};

/// The newest facts of a timeline that are returned.
const MAX_TIMELINE_FACTS: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ImageParameters {
    /// `REPO@sha256:…` (the digest may be shortened), `REPO:TAG`, or either with the registry's host name.
    #[param(value_type = String, example = "team/app:v1")]
    image: ImageReference,
}

/// The lineage of an image
///
/// Every registry that has or had the image, since when, from where, and the cause of its deletion; the image's
/// deletions and its timeline. `from` and `to` choose from the timeline.
#[utoipa::path(get, path = "/v1/lineage", tag = "images", params(ImageParameters, TimeRange), responses((status = 200, body = Shown), Problem))]
pub(super) async fn lineage(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ImageParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Shown> {
    let now = (query.clock)();
    let (ImageReference(image), period) = (asked.image, range.period(now)?);
    Ok(Answer(answer::show_period(&query.table, &image, period, MAX_TIMELINE_FACTS, now).await?))
}

/// The format of a graph.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum GraphFormat {
    #[default]
    Json,
    Dot,
    Mermaid,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct GraphParameters {
    /// `REPO@sha256:…` (the digest may be shortened), `REPO:TAG`, or either with the registry's host name.
    #[param(value_type = String, example = "team/app:v1")]
    image: ImageReference,
    /// The format: JSON, Graphviz DOT or Mermaid.
    #[serde(default)]
    #[param(inline, value_type = Option<GraphFormat>, example = "json")]
    format: GraphFormat,
}

/// The lineage of an image as a graph.
#[utoipa::path(get, path = "/v1/graph", tag = "images", params(GraphParameters), responses(
    (status = 200, content(
        (Graph = "application/json"),
        (String = "text/vnd.graphviz"),
        (String = "text/vnd.mermaid"),
    )),
    Problem,
))]
pub(super) async fn graph(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<GraphParameters>,
) -> Result<Response, Problem> {
    let ImageReference(image) = asked.image;
    let graph = Graph::of(&answer::show(&query.table, &image, MAX_TIMELINE_FACTS, (query.clock)()).await?);
    Ok(match asked.format {
        GraphFormat::Json => Answer(graph).into_response(),
        GraphFormat::Dot => problem::text("text/vnd.graphviz", graph.dot()),
        GraphFormat::Mermaid => problem::text("text/vnd.mermaid", graph.mermaid()),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParameters {
    /// `REPO:TAG`, with or without the registry's host name.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = String, example = "team/app:v1")]
    tag: TagReference,
    /// Only this registry, as in `111122223333/eu-west-1`.
    #[param(example = "111122223333/eu-west-1")]
    registry: Option<Registry>,
}

/// The images that a tag pointed to
///
/// In each registry, with the start and end of each interval. `from` and `to` choose those that have a part in the time.
#[utoipa::path(get, path = "/v1/history", tag = "images", params(HistoryParameters, TimeRange), responses((status = 200, body = History), Problem))]
pub(super) async fn history(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<HistoryParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<History> {
    let period = range.period((query.clock)())?;
    Ok(Answer(answer::history_period(&query.table, &asked.tag, asked.registry.as_ref(), period).await?))
}
