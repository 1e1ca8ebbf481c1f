//! Answers 304 if the caller already has the content. <https://www.rfc-editor.org/rfc/rfc9110#name-etag>

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

/// Sets an `ETag` from the content of each response to a GET, and sends no body if the caller has that version.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let asked = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let is_get = request.method() == Method::GET;
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let hash: String = Sha256::digest(&body).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Weak, because the same content may be sent compressed or uncompressed.
    let tag = format!("W/\"{hash}\"");
    if let Ok(value) = HeaderValue::from_str(&tag) {
        head.headers.insert(header::ETAG, value);
    }
    let known = asked.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.trim_start_matches("W/") == tag.trim_start_matches("W/")
    });
    if known {
        // A browser replaces the stored headers by these, so they are those of the content.
        // https://www.rfc-editor.org/rfc/rfc9111#name-updating-stored-header-fiel
        let kept = [header::ETAG, header::CACHE_CONTROL, header::CONTENT_SECURITY_POLICY];
        let headers = kept.into_iter().filter_map(|name| Some((name.clone(), head.headers.remove(name)?)));
        return (StatusCode::NOT_MODIFIED, headers.collect::<HeaderMap>()).into_response();
    }
    Response::from_parts(head, Body::from(body))
}
