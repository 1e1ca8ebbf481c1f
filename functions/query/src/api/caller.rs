//! The caller's identity, and whether the caller may change anything.

use axum::{
    extract::Request,
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lambda_http::request::RequestContext;

use super::problem::{Problem, ProblemCode};

/// The caller. Without a layer that sets it, the caller is unknown and may change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The caller's ARN, or another name if there is no ARN.
    pub name: Option<String>,
    /// Whether the caller may pause, resume, hold, release, retry, approve, cancel and reset.
    pub may_change: bool,
}

impl Caller {
    /// The caller that IAM authenticated for a Lambda function URL or an API Gateway.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
    #[must_use]
    pub fn of(context: &RequestContext) -> Option<String> {
        let arn = match context {
            RequestContext::ApiGatewayV2(context) => context.authorizer.as_ref()?.iam.as_ref()?.user_arn.clone(),
            RequestContext::ApiGatewayV1(context) => context.identity.user_arn.clone(),
            _ => None,
        };
        arn.filter(|arn| !arn.is_empty())
    }
}

/// Whether a request changes something: every POST except the policy preview.
fn changes(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() != "/v1/policy/preview"
}

/// Refuses changes from callers without permission, from unknown callers, and from pages of other origins.
pub(super) async fn guard(mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
    if changes(&request) {
        if from_elsewhere(request.headers()) {
            let detail = "pages of other origins may not change anything";
            return Problem::new(ProblemCode::OtherOrigin, detail).into_response();
        }
        if !caller.may_change || caller.name.is_none() {
            let (code, detail) = if caller.may_change {
                (ProblemCode::NotAuthenticated, "caller is not authenticated")
            } else {
                (ProblemCode::ReadOnly, "this endpoint is read-only")
            };
            let remediation = "ask an operator, or use the command line with your own credentials";
            return Problem::new(code, detail).remediation(remediation).into_response();
        }
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Whether the browser's headers say that a page of another site makes the request.
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authority = |origin: &str| origin.split_once("://").map(|(_, authority)| authority.to_owned());
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        // An old browser sends only `Origin`; a program sends neither header.
        (None, Some(origin)) => authority(origin).as_deref() != text(header::HOST.as_str()),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_from_a_page_of_another_site_is_recognized() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(!from_elsewhere(&headers(&[])));
        assert!(!from_elsewhere(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!from_elsewhere(&headers(&[("origin", "http://127.0.0.1:4567"), ("host", "127.0.0.1:4567")])));
        assert!(from_elsewhere(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(from_elsewhere(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(from_elsewhere(&headers(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:4567")])));
        assert!(from_elsewhere(&headers(&[("origin", "null"), ("host", "127.0.0.1:4567")])));
    }
}
