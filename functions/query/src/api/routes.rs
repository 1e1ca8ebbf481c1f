//! One function for each operation: its parameters and its response.

use std::sync::Arc;

use answers::{
    alerts::{self, AlertCursor, Alerts, LagReport},
    answer::{self, History, Images, Orphans, Shown},
    cursor::Cursor,
    deletions::{self, Acted, Breakers, DeletionFilter, DeletionScope, DeletionSelector, Deletions, WasReset},
    drift::{self, DriftReport},
    graph::Graph,
    overview::{self, Overview},
    paging::{self, PageRequest},
    preview::{self, Preview},
    reference::{Reference, TagReference},
    search::{self, Repositories, SearchResult},
    time,
};
use axum::{
    Extension, Json,
    extract::{Query as Parameters, State},
    response::{IntoResponse, Response},
};
use decide::Decider;
use domain::{
    deletion::{DeletionStatus, OperatorAction},
    image::{Digest, Image, Registry, RepositoryName, Tag},
};
use jiff::{SignedDuration, Timestamp};
use policy::Policy;
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Query,
    caller::Caller,
    problem::{self, Problem},
};

type ApiResult<T> = Result<Json<T>, Problem>;

/// Entries on a page of a list: the default, and the maximum.
const ENTRIES: (usize, usize) = (100, 1_000);

/// Images read for one page of a list of which few images are part.
const LOOKED_AT: usize = 1_000;

/// Images read for one page of the lag report: percentiles of 10,000 images are meaningful.
const LAG_OF: usize = 10_000;

/// Replicas on one page of a preview, each with fresh reads of ECR.
const PREVIEWED: usize = 100;

/// The newest facts of a timeline that are returned.
const MAX_TIMELINE_FACTS: usize = 1_000;

/// The longest accepted text, in characters: a host, a repository and a tag have at most 300 each, and none is that
/// long in practice.
const LONGEST_TEXT: usize = 512;

/// The furthest time back that a request may ask for: 366 days.
const FURTHEST: SignedDuration = SignedDuration::from_hours(24 * 366);

pub(super) fn all() -> OpenApiRouter<Arc<Query>> {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(search))
        .routes(routes!(repositories))
        .routes(routes!(images))
        .routes(routes!(lineage))
        .routes(routes!(graph))
        .routes(routes!(history))
        .routes(routes!(alerts))
        .routes(routes!(lag))
        .routes(routes!(drift))
        .routes(routes!(orphans))
        .routes(routes!(deletions))
        .routes(routes!(hold))
        .routes(routes!(release))
        .routes(routes!(approve))
        .routes(routes!(cancel))
        .routes(routes!(breakers))
        .routes(routes!(reset))
        .routes(routes!(policy_preview))
}

// Parameters

/// The requested number of entries, from 1 to 1,000.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "usize")]
struct PageSize(usize);

impl TryFrom<usize> for PageSize {
    type Error = String;

    fn try_from(entries: usize) -> Result<Self, String> {
        let most = ENTRIES.1;
        if (1..=most).contains(&entries) {
            Ok(Self(entries))
        } else {
            Err(format!("expected a number from 1 to {most}"))
        }
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(ENTRIES.0)
    }
}

/// The requested time back from now.
#[derive(Debug, Clone, Copy)]
struct Since(SignedDuration);

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let since = time::back(&String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if since > FURTHEST { Err(D::Error::custom("expected 366 days at most")) } else { Ok(Self(since)) }
    }
}

fn days(days: i64) -> Since {
    Since(SignedDuration::from_hours(24 * days))
}

/// Accepts a text up to the longest accepted length.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().count() > LONGEST_TEXT { Err(D::Error::custom("it is too long")) } else { Ok(text) }
}

/// Parses a text into its type.
fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

// Overview

/// The current state: registries, incidents, late copies, deletions and breakers.
#[utoipa::path(get, path = "/v1/overview", tag = "replication", responses((status = 200, body = Overview), Problem))]
async fn overview(State(query): State<Arc<Query>>, Extension(caller): Extension<Caller>) -> ApiResult<Overview> {
    let overview = overview::overview(&query.table, (query.clock)()).await?;
    let may_change = caller.may_change && caller.name.is_some();
    Ok(Json(Overview { caller: caller.name, may_change, ..overview }))
}

// Images

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchParameters {
    /// The beginning of a repository's name, `REPO:TAG`, `REPO@sha256:…`, or the beginning of a digest; with or without
    /// a host name.
    #[serde(deserialize_with = "short")]
    #[param(max_length = 512)]
    q: String,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Image>>,
}

/// Repositories, tags and images that match a search text.
#[utoipa::path(get, path = "/v1/search", tag = "images", params(SearchParameters), responses((status = 200, body = SearchResult), Problem))]
async fn search(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<SearchParameters>,
) -> ApiResult<SearchResult> {
    Ok(Json(search::search(&query.table, &asked.q, asked.cursor.map(|Cursor(image)| image)).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RepositoriesParameters {
    /// The beginning of the repositories' names.
    #[serde(default, deserialize_with = "short")]
    #[param(max_length = 512)]
    prefix: String,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<RepositoryName>>,
}

/// Repositories in the order of their names.
#[utoipa::path(get, path = "/v1/repositories", tag = "images", params(RepositoriesParameters), responses((status = 200, body = Repositories), Problem))]
async fn repositories(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<RepositoriesParameters>,
) -> ApiResult<Repositories> {
    let after = asked.cursor.map(|Cursor(repository)| repository);
    let (repositories, more) = search::repositories(&query.table, &asked.prefix, after.as_ref(), asked.limit.0).await?;
    let last = repositories.last().map(|known| Cursor(known.repository.clone()));
    Ok(Json(Repositories { repositories, next_cursor: last.filter(|_| more) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImagesParameters {
    /// The repository, such as `team/app`.
    #[param(example = "team/app")]
    repository: RepositoryName,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Digest>>,
}

/// The images of a repository, and the registries that have or had them.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(ImagesParameters), responses((status = 200, body = Images), Problem))]
async fn images(State(query): State<Arc<Query>>, Parameters(asked): Parameters<ImagesParameters>) -> ApiResult<Images> {
    let after = asked.cursor.map(|Cursor(digest)| digest);
    Ok(Json(answer::images(&query.table, &asked.repository, after, asked.limit.0).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImageParameters {
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
async fn lineage(State(query): State<Arc<Query>>, Parameters(asked): Parameters<ImageParameters>) -> ApiResult<Shown> {
    Ok(Json(answer::show(&query.table, &asked.bounded()?, MAX_TIMELINE_FACTS).await?))
}

/// The format of a graph.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum GraphFormat {
    #[default]
    Json,
    Dot,
    Mermaid,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GraphParameters {
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
async fn graph(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<GraphParameters>,
) -> Result<Response, Problem> {
    let image = ImageParameters { image: asked.image }.bounded()?;
    let graph = Graph::of(&answer::show(&query.table, &image, MAX_TIMELINE_FACTS).await?);
    Ok(match asked.format {
        GraphFormat::Json => Json(graph).into_response(),
        GraphFormat::Dot => problem::text("text/vnd.graphviz", graph.dot()),
        GraphFormat::Mermaid => problem::text("text/vnd.mermaid", graph.mermaid()),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryParameters {
    /// `REPO:TAG`, with or without the registry's host name.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = String, example = "team/app:v1")]
    tag: TagReference,
    /// Only this registry, as in `111122223333/eu-west-1`.
    registry: Option<Registry>,
}

/// The images that a tag pointed to in each registry, with the start and end of each interval.
#[utoipa::path(get, path = "/v1/history", tag = "images", params(HistoryParameters), responses((status = 200, body = History), Problem))]
async fn history(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<HistoryParameters>,
) -> ApiResult<History> {
    Ok(Json(answer::history(&query.table, &asked.tag, asked.registry.as_ref()).await?))
}

// Replication

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AlertsParameters {
    /// Alerts of this period until now, as in `12h` or `30d`.
    #[param(value_type = Option<String>, default = "7d")]
    since: Option<Since>,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<AlertCursor>>,
}

/// Open incidents, and the alerts of a period.
#[utoipa::path(get, path = "/v1/alerts", tag = "replication", params(AlertsParameters), responses((status = 200, body = Alerts), Problem))]
async fn alerts(State(query): State<Arc<Query>>, Parameters(asked): Parameters<AlertsParameters>) -> ApiResult<Alerts> {
    let (table, Since(since)) = (&query.table, asked.since.unwrap_or(days(7)));
    let after = asked.cursor.map(|Cursor(alert)| alert);
    let (alerts, next) = alerts::list(table, since, (query.clock)(), after, asked.limit.0).await?;
    Ok(Json(Alerts { open: alerts::incidents(table).await?, alerts, next_cursor: next.map(Cursor) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LagParameters {
    /// Copies that arrived in this period until now, as in `12h` or `30d`.
    #[param(value_type = Option<String>, default = "30d")]
    since: Option<Since>,
    /// Only this destination, as in `111122223333/us-east-1`.
    destination: Option<Registry>,
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Replication lag, of 10,000 images on a page
///
/// By source, destination and repository, and by day; and the copies that are late, failed, missing or untagged now.
#[utoipa::path(get, path = "/v1/lag", tag = "replication", params(LagParameters), responses((status = 200, body = LagReport), Problem))]
async fn lag(State(query): State<Arc<Query>>, Parameters(asked): Parameters<LagParameters>) -> ApiResult<LagReport> {
    let request = PageRequest {
        registry: asked.destination.as_ref(),
        repository: asked.repository.as_ref(),
        from: asked.cursor.map(|Cursor(place)| place),
        most: LAG_OF,
    };
    let Since(since) = asked.since.unwrap_or(days(30));
    Ok(Json(alerts::lag(&query.table, since, (query.clock)(), &request).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DriftParameters {
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Missing replicas and replicas with different tags, of 1,000 images on a page.
#[utoipa::path(get, path = "/v1/drift", tag = "replication", params(DriftParameters), responses((status = 200, body = DriftReport), Problem))]
async fn drift(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<DriftParameters>,
) -> ApiResult<DriftReport> {
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry: None, repository: asked.repository.as_ref(), from, most: LOOKED_AT };
    Ok(Json(drift::drift(&query.table, &request, (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OrphansParameters {
    /// Only this registry, as in `111122223333/us-east-1`.
    registry: Option<Registry>,
    /// Only this repository.
    repository: Option<RepositoryName>,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<paging::PageToken>>,
}

/// Orphans (replicas whose source no longer has the image) among 1,000 images on a page.
#[utoipa::path(get, path = "/v1/orphans", tag = "replication", params(OrphansParameters), responses((status = 200, body = Orphans), Problem))]
async fn orphans(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<OrphansParameters>,
) -> ApiResult<Orphans> {
    let (registry, repository) = (asked.registry.as_ref(), asked.repository.as_ref());
    let from = asked.cursor.map(|Cursor(place)| place);
    let request = PageRequest { registry, repository, from, most: LOOKED_AT };
    Ok(Json(answer::orphans(&query.table, &request).await?))
}

// Deletions

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeletionsParameters {
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
async fn deletions(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<DeletionsParameters>,
) -> ApiResult<Deletions> {
    let statuses = match &asked.status {
        None => DeletionFilter::not_over(),
        Some(words) => words.split(',').map(|word| status(word.trim())).collect::<Result<_, _>>()?,
    };
    let Since(since) = asked.since.unwrap_or(days(30));
    let since = (query.clock)().checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    let filter = DeletionFilter { statuses, source: asked.source.as_ref(), since };
    let from = asked.cursor.map(|Cursor(place)| place);
    Ok(Json(deletions::page(&query.table, &filter, from, asked.limit.0).await?))
}

fn status(word: &str) -> Result<DeletionStatus, Problem> {
    let words: Vec<_> = DeletionStatus::ALL.into_iter().map(DeletionStatus::as_str).collect();
    DeletionStatus::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
        let detail = format!("status: `{word}` is none: expected some of {}", words.join(", "));
        Problem::new(axum::http::StatusCode::BAD_REQUEST, detail)
    })
}

/// The deletion to act on, in the version that the caller saw.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActRequest {
    /// The image, as `REPO@sha256:…`.
    #[serde(deserialize_with = "parsed")]
    #[schema(value_type = String)]
    image: Image,
    /// The registry of the replica.
    registry: Registry,
    /// The tag, if the deletion is of a tag and not of the image.
    tag: Option<Tag>,
    /// The `version` of the deletion that the caller saw; if the deletion changed since, the request is refused with
    /// 409.
    version: u64,
}

async fn act(query: &Query, caller: Caller, asked: ActRequest, action: OperatorAction) -> ApiResult<Acted> {
    let scope = DeletionScope::Seen { tag: asked.tag, version: asked.version };
    let selector = DeletionSelector { image: Reference::Exact(asked.image), registry: Some(asked.registry), scope };
    let by = caller.name.unwrap_or_default();
    Ok(Json(deletions::act(&query.table, &selector, action, &by, (query.clock)()).await?))
}

/// Put a deletion on hold until it is released.
#[utoipa::path(post, path = "/v1/deletions/hold", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
async fn hold(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Hold).await
}

/// Release a deletion that is on hold, kept or failed: it is re-evaluated.
#[utoipa::path(post, path = "/v1/deletions/release", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
async fn release(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Release).await
}

/// Approve a deletion for which the policy requires approval. Every other check still applies.
#[utoipa::path(post, path = "/v1/deletions/approve", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
async fn approve(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Approve).await
}

/// Cancel a deletion permanently: the replica is kept.
#[utoipa::path(post, path = "/v1/deletions/cancel", tag = "deletions", request_body = ActRequest, responses((status = 200, body = Acted), Problem))]
async fn cancel(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ActRequest>,
) -> ApiResult<Acted> {
    act(&query, caller, asked, OperatorAction::Cancel).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BreakersParameters {
    /// Only this source, as in `111122223333/eu-west-1`.
    source: Option<Registry>,
}

/// The breakers that are open, were reset, or counted deletions in the last window.
#[utoipa::path(get, path = "/v1/breakers", tag = "deletions", params(BreakersParameters), responses((status = 200, body = Breakers), Problem))]
async fn breakers(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<BreakersParameters>,
) -> ApiResult<Breakers> {
    Ok(Json(deletions::breakers(&query.table, asked.source.as_ref(), (query.clock)()).await?))
}

/// The breaker to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetRequest {
    /// The source whose deletions the breaker puts on hold.
    source: Registry,
    /// The number of images that may be deleted in the next window, regardless of the limits.
    #[schema(value_type = Option<u64>, maximum = 4294967295u64)]
    allow: Option<u32>,
}

/// Close a breaker, and re-evaluate every deletion that it put on hold.
#[utoipa::path(post, path = "/v1/breakers/reset", tag = "deletions", request_body = ResetRequest, responses((status = 200, body = WasReset), Problem))]
async fn reset(
    State(query): State<Arc<Query>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ResetRequest>,
) -> ApiResult<WasReset> {
    let by = caller.name.unwrap_or_default();
    Ok(Json(deletions::reset(&query.table, &asked.source, asked.allow, &by, (query.clock)()).await?))
}

/// The policy to preview, and for which deletions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewRequest {
    /// The text of the policy, in Cedar.
    #[schema(example = "@id(\"all\") permit (principal, action, resource);")]
    policy: String,
    /// Deletions recorded in this period until now, as in `12h` or `30d` (the default); orphans of any age are
    /// included.
    #[schema(value_type = Option<String>)]
    since: Option<Since>,
    /// `next_cursor` of the previous response.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor<preview::PreviewPageToken>>,
}

/// Preview a policy, of 100 replicas on a page
///
/// What the policy would do with recorded deletions and orphans, decided from fresh reads of ECR. No registry is
/// changed.
#[utoipa::path(post, path = "/v1/policy/preview", tag = "deletions", request_body = PreviewRequest, responses((status = 200, body = Preview), Problem))]
async fn policy_preview(State(query): State<Arc<Query>>, Json(asked): Json<PreviewRequest>) -> ApiResult<Preview> {
    let policy = Policy::load("policy", &asked.policy)?;
    let decider = Decider::new(&query.table, &query.registries, &policy);
    let Since(since) = asked.since.unwrap_or(days(30));
    let from = asked.cursor.map(|Cursor(place)| place);
    Ok(Json(preview::preview(&decider, since, (query.clock)(), from, PREVIEWED).await?))
}
