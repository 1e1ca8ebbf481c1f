//! Names each call to AWS on standard error, for `--verbose`.

use std::time::Instant;

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};

use crate::output;

/// The same client, which names each request, its status and its time.
pub(crate) fn http_client(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Verbose(client))
}

#[derive(Debug)]
struct Verbose<T>(T);

impl HttpClient for Verbose<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Verbose(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for Verbose<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (what, answer, began) = (operation(&request), self.0.call(request), Instant::now());
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            let status = match &answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(error) => format!("no response, {error}"),
            };
            output::note(&format!("call: {what}: {status}, {} ms", began.elapsed().as_millis()));
            answer
        })
    }
}

/// The operation of a request, and the host that it goes to.
fn operation(request: &HttpRequest) -> String {
    let uri = request.uri();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    // JSON protocols name the operation in a header, the query protocol in the body, and REST in the path.
    let target = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
    let body = request.body().bytes().and_then(|body| std::str::from_utf8(body).ok());
    let action = body.and_then(|body| body.strip_prefix("Action=")).and_then(|body| body.split('&').next());
    let name = target.or(action).map_or_else(|| format!("{} /{path}", request.method()), str::to_owned);
    format!("{name} at {host}")
}
