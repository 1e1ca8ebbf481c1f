//! What went wrong, as a problem document. <https://www.rfc-editor.org/rfc/rfc9457>

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

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The kind of problem: all there is to know of it is its status.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The status.
    #[schema(example = 404)]
    status: u16,
    /// What went wrong, in one line.
    #[schema(example = "no image `team/app@sha256:7f5b` is known")]
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation: Option<String>,
    /// What is wrong with a policy, in the order of its text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<policy::PolicyProblem>,
}

/// What axum says before what is wrong with a parameter, or with a part of a body.
const IN_QUERY: &str = "Failed to deserialize query string: ";
const IN_BODY: &str = "Failed to deserialize the JSON body into the target type: ";

/// The longest explanation that is taken from elsewhere.
const LONGEST_DETAIL: usize = 2_000;

impl Problem {
    /// A problem with a status, in one line.
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

    /// The same, and what to do next.
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
            | Error::NoReplica { .. } => StatusCode::NOT_FOUND,
            Error::Ambiguous { .. } | Error::InvalidTransition(_) | Error::Changed { .. } => StatusCode::CONFLICT,
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
    /// What the table said is for the log: callers need not know its name.
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

/// Every operation may have one: the same for all.
impl utoipa::IntoResponses for Problem {
    fn responses() -> std::collections::BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description("What went wrong.");
        let response = response.content("application/problem+json", content).build();
        [("default".to_owned(), RefOr::T(response))].into()
    }
}

/// Makes a problem document of every other answer that tells of a failure, such as that of a wrong parameter.
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

/// A text as the body of an answer.
pub(super) fn text(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
}
