//! Errors as problem documents. <https://www.rfc-editor.org/rfc/rfc9457>

mod code;

use answers::error::Error;
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
pub use code::ProblemCode;
use retry::{Disposition, chain};
use serde::Serialize;
use tracing::warn;
use utoipa::{
    ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

/// An error as a problem document of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The kind of the problem as a URI. `GET /v1/problems` lists all kinds.
    #[schema(example = "/v1/problems#unknown_image")]
    r#type: String,
    /// The kind of the problem, for programs.
    #[schema(example = "unknown_image")]
    code: ProblemCode,
    /// The kind of the problem in words.
    #[schema(example = "The image is not known")]
    title: &'static str,
    /// The HTTP status code.
    #[schema(example = 404)]
    status: u16,
    /// The error, in one line.
    #[schema(example = "no image `team/app@sha256:7f5b` is known")]
    detail: String,
    /// The recommended next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "`ecr-lineage images team/app` lists what is known")]
    remediation: Option<String>,
    /// The errors in a policy, in the order of its text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<policy::PolicyProblem>,
}

/// The prefixes that axum puts before an error in a query string or in a JSON body.
const IN_QUERY: &str = "Failed to deserialize query string: ";
const IN_BODY: &str = "Failed to deserialize the JSON body into the target type: ";

/// The longest error text, in bytes, that is taken from a response of axum.
const LONGEST_DETAIL: usize = 2_000;

impl Problem {
    /// A problem of a kind, with one line of detail.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: code.uri(),
            code,
            title: code.title(),
            status: code.status().as_u16(),
            detail: detail.into(),
            remediation: None,
            problems: Vec::new(),
        }
    }

    /// Adds the recommended next step.
    #[must_use]
    pub fn remediation(self, remediation: impl Into<String>) -> Self {
        Self { remediation: Some(remediation.into()), ..self }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Table(table) => return table.into(),
            Error::UnknownImage { .. } => ProblemCode::UnknownImage,
            Error::UnknownRepository { .. } => ProblemCode::UnknownRepository,
            Error::UnknownTag { .. } => ProblemCode::UnknownTag,
            Error::PastTag { .. } => ProblemCode::PastTag,
            Error::NoDeletion { .. } => ProblemCode::UnknownDeletion,
            Error::UnknownRegistry { .. } => ProblemCode::UnknownRegistry,
            Error::NoMirror => ProblemCode::NoMirror,
            Error::UnknownRegion { .. } => ProblemCode::UnknownRegion,
            Error::NoHold { .. } => ProblemCode::UnknownHold,
            Error::NoIncident { .. } => ProblemCode::UnknownIncident,
            Error::ActNotRecorded { source, .. } => {
                warn!(error = chain(source), "an act is not recorded");
                let problem = Self::new(ProblemCode::ActNotRecorded, error.to_string());
                return Self { remediation: error.remediation(), ..problem };
            }
            Error::NoReplica { .. } => ProblemCode::UnknownReplica,
            Error::Ambiguous { .. } => ProblemCode::AmbiguousDigest,
            Error::InvalidTransition(_) => ProblemCode::InvalidTransition,
            Error::HoldOfOther { .. } => ProblemCode::HoldOfOther,
            Error::NotPaused { .. } => ProblemCode::NotPaused,
            Error::Changed { .. } => ProblemCode::Changed,
            Error::MirrorsPolicyInvalid { .. } => ProblemCode::MirrorPolicyInvalid,
            Error::NoReason { .. } => ProblemCode::NoReason,
            Error::EndIsOver { .. } => ProblemCode::EndIsOver,
        };
        Self { remediation: error.remediation(), ..Self::new(code, chain(&error)) }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&store::Error> for Problem {
    /// The table's error is logged and not sent: callers need not know the table's name.
    fn from(error: &store::Error) -> Self {
        warn!(error = chain(error), "the table cannot be used");
        let problem = match error.disposition() {
            Disposition::Retry => Self::new(ProblemCode::TableUnavailable, "the table does not answer"),
            Disposition::Reject => Self::new(ProblemCode::TableUnusable, "the table cannot be used"),
        };
        problem.remediation("ask again in a minute; the log of `query` says more")
    }
}

impl From<policy::InvalidPolicyError> for Problem {
    fn from(invalid: policy::InvalidPolicyError) -> Self {
        let problem = Self::new(ProblemCode::InvalidPolicy, "the policy cannot be used");
        let remediation = "`infra/policies/README.md` lists what a policy can say";
        Self { problems: invalid.problems, ..problem.remediation(remediation) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// The response that every operation may return.
impl utoipa::IntoResponses for Problem {
    fn responses() -> std::collections::BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description("What went wrong.");
        let response = response.content("application/problem+json", content).build();
        [("default".to_owned(), RefOr::T(response))].into()
    }
}

/// Converts every other error response, such as axum's for a malformed parameter, into a problem document.
pub(super) async fn explain(request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !(status.is_client_error() || status.is_server_error()) || is_problem {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = to_bytes(body, LONGEST_DETAIL).await.unwrap_or_default();
    let mut explained = explanation(&asked, status, std::str::from_utf8(&text).unwrap_or_default()).into_response();
    for (name, value) in head.headers.iter().filter(|(name, _)| *name == header::ALLOW) {
        explained.headers_mut().insert(name, value.clone());
    }
    explained
}

/// The problem that a status and a text of axum mean.
fn explanation(asked: &str, status: StatusCode, text: &str) -> Problem {
    let detail = text.strip_prefix(IN_QUERY).or_else(|| text.strip_prefix(IN_BODY)).unwrap_or(text);
    let detail = if detail.is_empty() { "the request cannot be read" } else { detail };
    match status {
        StatusCode::BAD_REQUEST if text.starts_with(IN_QUERY) => Problem::new(ProblemCode::InvalidParameter, detail),
        StatusCode::BAD_REQUEST => Problem::new(ProblemCode::MalformedBody, detail),
        StatusCode::NOT_FOUND => Problem::new(ProblemCode::NoSuchPath, format!("nothing at `{asked}`"))
            .remediation("`GET /v1/openapi.json` says what there is"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(ProblemCode::MethodNotAllowed, format!("`{asked}` is not possible"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemCode::BodyTooLarge, "the request is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(ProblemCode::UnsupportedBody, detail),
        StatusCode::UNPROCESSABLE_ENTITY => Problem::new(ProblemCode::InvalidBody, detail),
        StatusCode::GATEWAY_TIMEOUT => {
            Problem::new(ProblemCode::TimedOut, "it took too long").remediation("ask for less at a time, with `limit`")
        }
        _ => Problem::new(ProblemCode::Internal, "it did not work"),
    }
}

/// A response with a text body and its content type.
pub(super) fn text(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
}
