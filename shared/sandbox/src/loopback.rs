//! The page and the API on this machine, for one user.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use query::api::{self, Problem, ProblemCode, Query, caller::Caller};

/// The page and the API for one caller on this machine, protected by a key if one is given.
///
/// Other users may have access to this machine, and a page of any site may make the browser send requests to 127.0.0.1
/// under a host name of its own (DNS rebinding). So the host name must be `127.0.0.1` or `localhost`, and API requests
/// must contain the key.
pub fn router(query: Query, caller: Caller, key: Option<String>) -> Router {
    let key = key.map(Arc::new);
    api::router(query).layer(middleware::from_fn(move |request, next| {
        let (caller, key) = (caller.clone(), key.clone());
        async move { enter(request, next, caller, key.as_deref()).await }
    }))
}

async fn enter(mut request: Request, next: Next, caller: Caller, key: Option<&String>) -> Response {
    if let Some(refused) = refused(&request, key) {
        return refused;
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The error response, if the request is refused.
fn refused(request: &Request, key: Option<&String>) -> Option<Response> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost") {
        let problem = Problem::new(ProblemCode::WrongHost, format!("`{host}` is not the name of this server"));
        return Some(problem.remediation("open the address that was printed").into_response());
    }
    let path = request.uri().path();
    let guarded = path.starts_with("/v1/") && path != "/v1/openapi.json";
    let known = |key: &String| text(header::AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer ")) == Some(key);
    if guarded && !key.is_none_or(known) {
        let problem = Problem::new(ProblemCode::KeyMissing, "the key is missing, or another");
        let problem = problem.remediation("open the link that was printed");
        return Some(([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response());
    }
    None
}

/// Wraps the router as a handler of buffered requests and responses.
#[must_use]
pub fn whole(router: Router) -> simulator::server::FallbackHandler {
    Arc::new(move |request| {
        let router = router.clone();
        Box::pin(async move {
            let Ok(answer) = tower::ServiceExt::oneshot(router, request.map(Body::from)).await;
            let (head, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            axum::http::Response::from_parts(head, body)
        })
    })
}

/// The name of this machine's user.
#[must_use]
pub fn user() -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.map_or_else(|| "an unnamed user".to_owned(), |name| format!("user {name}"))
}
