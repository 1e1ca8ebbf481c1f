//! Errors as problem documents. <https://www.rfc-editor.org/rfc/rfc9457>

use answers::error::Error;
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
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
    /// Always `about:blank`: the kind of problem is the HTTP status.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The reason phrase of the HTTP status.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status code.
    #[schema(example = 404)]
    status: u16,
    /// The error, in one line.
    #[schema(example = "no image `team/app@sha256:7f5b` is known")]
    detail: String,
    /// The recommended next step.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// A problem with a status and one line of detail.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
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
        let status = match &error {
            Error::Table(table) => return table.into(),
            Error::UnknownImage { .. }
            | Error::UnknownRepository { .. }
            | Error::UnknownTag { .. }
            | Error::PastTag { .. }
            | Error::NoDeletion { .. }
            | Error::UnknownRegistry { .. }
            | Error::NoMirror
            | Error::UnknownRegion { .. }
            | Error::NoHold { .. }
            | Error::NoReplica { .. } => StatusCode::NOT_FOUND,
            Error::Ambiguous { .. }
            | Error::InvalidTransition(_)
            | Error::HoldOfOther { .. }
            | Error::NotPaused { .. }
            | Error::Changed { .. }
            | Error::MirrorsPolicyInvalid { .. } => StatusCode::CONFLICT,
            Error::NoReason | Error::EndIsOver { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { remediation: error.remediation(), ..Self::new(status, chain(&error)) }
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
            Disposition::Retry => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the table does not answer"),
            Disposition::Reject => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the table cannot be used"),
        };
        problem.remediation("ask again in a minute; the log of `query` says more")
    }
}

impl From<policy::InvalidPolicyError> for Problem {
    fn from(invalid: policy::InvalidPolicyError) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the policy cannot be used");
        let remediation = "`infra/policies/README.md` lists what a policy can say";
        Self { problems: invalid.problems, ..problem.remediation(remediation) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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
    let detail = match (status, std::str::from_utf8(&text)) {
        (StatusCode::NOT_FOUND, _) => format!("nothing at `{asked}`"),
        (StatusCode::METHOD_NOT_ALLOWED, _) => format!("`{asked}` is not possible"),
        (StatusCode::GATEWAY_TIMEOUT, _) => "it took too long".to_owned(),
        (StatusCode::PAYLOAD_TOO_LARGE, _) => "the request is too large".to_owned(),
        (StatusCode::INTERNAL_SERVER_ERROR, _) | (_, Err(_) | Ok("")) => "it did not work".to_owned(),
        (_, Ok(text)) => text.strip_prefix(IN_QUERY).or_else(|| text.strip_prefix(IN_BODY)).unwrap_or(text).to_owned(),
    };
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(status, detail).remediation("`GET /v1/openapi.json` says what there is"),
        StatusCode::GATEWAY_TIMEOUT => Problem::new(status, detail).remediation("ask for less at a time, with `limit`"),
        _ => Problem::new(status, detail),
    };
    let mut explained = problem.into_response();
    for (name, value) in head.headers.iter().filter(|(name, _)| *name == header::ALLOW) {
        explained.headers_mut().insert(name, value.clone());
    }
    explained
}

/// A response with a text body and its content type.
pub(super) fn text(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
}
