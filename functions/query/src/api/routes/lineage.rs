//! The lineage of one image, and the history of one tag.

use std::sync::Arc;

use answers::{
    answer::{self, History, Shown},
    graph::Graph,
    reference::{Reference, TagReference},
};
use axum::{
    Json,
    extract::{Query as Parameters, State},
    response::{IntoResponse, Response},
};
use domain::image::Registry;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{ApiResult, parameters::parsed};
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
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = String, example = "team/app:v1")]
    image: Reference,
}

impl ImageParameters {
    /// The reference, if it can be resolved without reading a whole index; otherwise a 400.
    fn bounded(self) -> Result<Reference, Problem> {
        match self.image {
            Reference::Short { repository: None, digest } => {
                let detail = format!("`{digest}` names no repository");
                let remediation = "write `REPO@sha256:…`; `GET /v1/search` finds the repository";
                Err(Problem::new(axum::http::StatusCode::BAD_REQUEST, detail).remediation(remediation))
            }
            image => Ok(image),
        }
    }
}

/// The lineage of an image
///
/// Every registry that has or had the image, since when, from where, and the cause of its deletion; the image's
/// deletions and its timeline.
#[utoipa::path(get, path = "/v1/lineage", tag = "images", params(ImageParameters), responses((status = 200, body = Shown), Problem))]
pub(super) async fn lineage(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ImageParameters>,
) -> ApiResult<Shown> {
    Ok(Json(answer::show(&query.table, &asked.bounded()?, MAX_TIMELINE_FACTS, (query.clock)()).await?))
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
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = String, example = "team/app:v1")]
    image: Reference,
    /// The format: JSON, Graphviz DOT or Mermaid.
    #[serde(default)]
    #[param(inline, value_type = Option<GraphFormat>)]
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
    let image = ImageParameters { image: asked.image }.bounded()?;
    let graph = Graph::of(&answer::show(&query.table, &image, MAX_TIMELINE_FACTS, (query.clock)()).await?);
    Ok(match asked.format {
        GraphFormat::Json => Json(graph).into_response(),
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
    registry: Option<Registry>,
}

/// The images that a tag pointed to in each registry, with the start and end of each interval.
#[utoipa::path(get, path = "/v1/history", tag = "images", params(HistoryParameters), responses((status = 200, body = History), Problem))]
pub(super) async fn history(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<HistoryParameters>,
) -> ApiResult<History> {
    Ok(Json(answer::history(&query.table, &asked.tag, asked.registry.as_ref()).await?))
}
