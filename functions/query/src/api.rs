//! The API over HTTP, as JSON, for programs and for the page. Every operation that changes anything is a POST.

pub mod caller;
mod document;
mod etag;
mod person;
mod problem;
mod routes;

use std::{any::Any, sync::Arc, time::Duration};

use aws::registry::Registries;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use store::Table;
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, limit::RequestBodyLimitLayer,
    set_header::SetResponseHeaderLayer, timeout::TimeoutLayer,
};
use tracing::{Instrument, error_span};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::page;
pub use problem::{Problem, ProblemCode};

/// The state that handlers need.
pub struct Query {
    /// The table with lineage, deletions and breakers.
    pub table: Table,
    /// The registries, accessed with the role that reads.
    pub registries: Registries,
    /// Returns the current time.
    pub clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// The largest accepted request body, 256 KiB: a policy of that size has some thousand rules.
const LARGEST_REQUEST: usize = 256 << 10;

/// The longest time for one response: API Gateway times out after 30 seconds.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const LONGEST_ANSWER: Duration = Duration::from_secs(25);

/// The Content-Security-Policy of the page: it may only load from and connect to its own origin.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The OpenAPI document except for the operations, which are declared on their functions.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ecr-lineage",
        description = "Where is this image, where did it come from, since when, who deleted it, and may its replicas go? \
                       Reading answers come in parts: `next_cursor` of one is `cursor` of the request for the following. \
                       Lists are newest first or by name; what happened to one thing is oldest first. \
                       An unknown parameter is refused. A GET changes nothing; each POST except `policy/preview` does, \
                       records its caller, and is refused unless the caller may change anything.",
    ),
    servers((url = "/")),
    // Every operation may return a `Problem`; the other schemas are collected from the operations.
    components(schemas(Problem, policy::PolicyProblem)),
    tags(
        (name = "images", description = "Where images are, and were"),
        (name = "replication", description = "What is late, missing, left over"),
        (name = "deletions", description = "Deletions that follow, or do not"),
        (name = "problems", description = "What can be wrong with a request"),
    ),
)]
struct Api;

/// The OpenAPI document, as `GET /v1/openapi.json` answers it.
#[must_use]
pub fn document() -> impl serde::Serialize {
    OpenApiRouter::<Arc<Query>>::with_openapi(Api::openapi()).merge(routes::all()).split_for_parts().1
}

/// The API and the page. A layer around the router must set the caller as a [`caller::Caller`]; without it every change
/// is refused.
pub fn router(query: Query) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Api::openapi()).merge(routes::all()).split_for_parts();
    let known = document::KnownParameters::of(&document);
    let document = Arc::new(document);
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .route("/v1/openapi.json", axum::routing::get(async move || axum::Json(document::with_examples(&document))))
        .merge(page::routes())
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(LARGEST_REQUEST))
        .layer(middleware::from_fn_with_state(known, document::refuse_unknown))
        .layer(middleware::from_fn(caller::guard))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LONGEST_ANSWER))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(problem::explain))
        .layer(middleware::from_fn(in_span))
        .layer(middleware::from_fn(etag::tag))
        .layer(CompressionLayer::new())
        .layer(header(header::CACHE_CONTROL, "no-cache"))
        .layer(header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .with_state(Arc::new(query))
}

/// Answers a request inside its span.
async fn in_span(request: Request, next: Next) -> Response {
    let span = error_span!("request", method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
}

/// A panic is a bug in this program: its message is logged and not sent to the caller.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
    tracing::error!(error = text, "an answer panicked: a bug");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
