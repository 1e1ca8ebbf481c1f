//! The caller's identity, and whether the caller may change anything.

use axum::{
    extract::Request,
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lambda_http::{RequestExt, request::RequestContext};
use retry::chain;

use super::{
    person::Person,
    problem::{Problem, ProblemCode},
};
use crate::sign_in::SignIn;

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

/// Why the API answers nothing to the caller of a request.
#[derive(Debug, Clone)]
struct Refused(Problem);

/// Adds the caller to a request that Lambda received: whom IAM authenticated, or who signed in to the page.
///
/// `may_change` is whether this function changes anything. Of a person, their groups decide as well.
pub fn identify(mut request: Request, may_change: bool) -> Request {
    let variables = request.stage_variables_ref();
    let sign_in = SignIn::read(|name| variables.and_then(|all| all.first(name)).map(str::to_owned));
    let identified = match &sign_in {
        Err(errors) => {
            tracing::error!(path = request.uri().path(), error = chain(errors), "no sign-in is possible");
            Err(Problem::new(ProblemCode::SignInUnusable, "the stage variables of the API cannot be used"))
        }
        Ok(sign_in) => identified(&request, sign_in.as_ref(), may_change),
    };
    match identified {
        Ok(caller) => _ = request.extensions_mut().insert(caller),
        Err(problem) => _ = request.extensions_mut().insert(Refused(problem)),
    }
    if let Ok(Some(sign_in)) = sign_in {
        request.extensions_mut().insert(sign_in);
    }
    request
}

fn identified(request: &Request, sign_in: Option<&SignIn>, may_change: bool) -> Result<Caller, Problem> {
    let context = request.request_context_ref();
    let Some(sign_in) = sign_in else {
        // A token of an API that says nothing about groups permits nothing.
        return match context {
            Some(RequestContext::ApiGatewayV2(context))
                if context.authorizer.as_ref().is_some_and(|it| it.jwt.is_some()) =>
            {
                Err(Problem::new(
                    ProblemCode::SignInUnusable,
                    "the API has no stage variables that describe the sign-in",
                ))
            }
            _ => Ok(Caller { name: context.and_then(Caller::of), may_change }),
        };
    };
    let Person { name, is_operator } = Person::of(sign_in, context, request.headers())?;
    if changes(request) && !is_operator {
        let detail = format!("{name} is not in the group `{}`", sign_in.operator_group);
        return Err(Problem::new(ProblemCode::NotOperator, detail).remediation("ask an operator"));
    }
    // The page asks a function that changes nothing whether it may offer changes. They go to the other function.
    Ok(Caller { name: Some(name), may_change: is_operator && (may_change || !changes(request)) })
}

/// Whether a request changes something: every POST except the policy preview.
fn changes(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() != "/v1/policy/preview"
}

/// Refuses callers that may not use the API, and changes from callers without permission, from unknown callers, and
/// from pages of other origins.
pub(super) async fn guard(mut request: Request, next: Next) -> Response {
    if let Some(Refused(problem)) = request.extensions_mut().remove()
        && request.uri().path().starts_with("/v1/")
    {
        return problem.into_response();
    }
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
