//! The HTTP server on one loopback port: ECR, STS, the embedded table, and the simulator's own controls.

use std::{pin::Pin, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, HeaderMap},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulShutdown,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    Simulator,
    api::{ApiCaller, ApiError, layers::DOWNLOADS},
    body::ResponseBody,
    distribution, sts,
};

/// The prefix of ECR's target header. <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonParameters.html>
const ECR: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// The largest request body: a manifest has at most 4 MiB, and is escaped as a JSON string.
const LARGEST_BODY: usize = 32 << 20;

/// The time for requests in progress after the server was asked to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// No response: the server closes the connection, which is what a client sees after a lost request or response.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswerError;

pub(crate) type HttpResponse = Response<ResponseBody>;

/// Handles requests that are for neither ECR, STS nor DynamoDB.
pub type FallbackHandler =
    Arc<dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> + Send + Sync>;

/// Serves until the future ends, then completes requests in progress. Requests for DynamoDB are forwarded to an
/// endpoint, if there is one; requests for no simulated service are passed to `others`.
///
/// # Errors
/// When the listener cannot accept connections any more.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    dynamodb: Option<String>,
    others: Option<FallbackHandler>,
    end: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let passing = Client::builder(TokioExecutor::new()).build_http();
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(true);
    let mut end = std::pin::pin!(end);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            () = &mut end => break,
        };
        // Responses are small, and each client waits for them: send without delay.
        _ = stream.set_nodelay(true);
        let handler = RequestHandler {
            simulator: simulator.clone(),
            dynamodb: dynamodb.clone(),
            passing: passing.clone(),
            others: others.clone(),
        };
        let answering = service_fn(move |request| {
            let handler = handler.clone();
            async move { handler.answer(request).await }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), answering));
        // The client detects a broken connection.
        tokio::spawn(async move { _ = connection.await });
    }
    _ = tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await;
    Ok(())
}

/// The state that each connection needs.
#[derive(Clone)]
struct RequestHandler {
    simulator: Simulator,
    dynamodb: Option<String>,
    passing: Client<HttpConnector, Full<Bytes>>,
    others: Option<FallbackHandler>,
}

impl RequestHandler {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, NoAnswerError> {
        if distribution::is_for(request.uri().path()) {
            return distribution::answer(&self.simulator, request).await.ok_or(NoAnswerError);
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| NoAnswerError)?.to_bytes();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = text("x-amz-target");
        let path = head.uri.path();
        if let Some(operation) = target.strip_prefix(ECR) {
            return call(&self.simulator, &head.headers, operation, &body);
        }
        if let (true, Some(endpoint)) = (target.starts_with("DynamoDB"), &self.dynamodb) {
            let url = format!("{endpoint}{path}");
            let mut passed = Request::post(url).body(Full::new(body.clone())).map_err(|_| NoAnswerError)?;
            for name in ["x-amz-target", "content-type", "authorization", "x-amz-date", "x-amz-security-token"] {
                if let Some(value) = head.headers.get(name) {
                    passed.headers_mut().insert(name, value.clone());
                }
            }
            let (head, body) = self.passing.request(passed).await.map_err(|_| NoAnswerError)?.into_parts();
            let body = body.collect().await.map_err(|_| NoAnswerError)?.to_bytes();
            return Ok(Response::from_parts(head, ResponseBody::of(body)));
        }
        // The controls come first: `curl -d` sends its body with the content type of a form.
        match (&head.method, path) {
            (&Method::POST, "/_simulator/step") => return Ok(step(&self.simulator, &body)),
            (&Method::GET, _) if path.starts_with(DOWNLOADS) => return Ok(download(&self.simulator, path)),
            (&Method::GET, "/_simulator/events") => return Ok(events(&self.simulator, head.uri.query())),
            _ => {}
        }
        let form = text("content-type").starts_with("application/x-www-form-urlencoded");
        if head.method == Method::POST && path == "/" && form {
            return Ok(assume(&self.simulator, &head.headers, &body));
        }
        if let Some(others) = &self.others {
            return Ok(others(Request::from_parts(head, body)).await.map(ResponseBody::of));
        }
        let message = format!("nothing at {} {path}: this is ECR, STS and DynamoDB for AWS's clients", head.method);
        Ok(json_answer(StatusCode::NOT_FOUND, &json!({"__type": "UnknownOperationException", "message": message})))
    }
}

/// Handles ECR's protocol: JSON 1.1. <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
fn call(
    simulator: &Simulator,
    headers: &HeaderMap,
    operation: &str,
    body: &[u8],
) -> Result<HttpResponse, NoAnswerError> {
    let caller = match caller(headers) {
        Ok(caller) => caller,
        Err(error) => return Ok(refused(&error)),
    };
    match simulator.call(&caller, operation, body) {
        None => Err(NoAnswerError),
        Some(Ok(mut answer)) => {
            // The world does not know at which address it is served.
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if let Some(url) = answer.get_mut("downloadUrl") {
                *url = format!("http://{host}{}", url.as_str().unwrap_or_default()).into();
            }
            Ok(json_answer(StatusCode::OK, &answer))
        }
        Some(Err(error)) => Ok(refused(&error)),
    }
}

fn refused(error: &ApiError) -> HttpResponse {
    let status =
        if error.code == "ServerException" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
    json_answer(status, &json!({"__type": error.code, "message": error.message}))
}

/// The content of a layer, for those who got the URL.
fn download(simulator: &Simulator, path: &str) -> HttpResponse {
    let layer = path.strip_prefix(DOWNLOADS).and_then(|digest| digest.parse().ok());
    let file = layer.and_then(|layer| {
        let left = simulator.with(|world| world.content_size(&layer))?;
        Some(ResponseBody::File { file: simulator.layers.read(&layer).ok()?, left })
    });
    let Some(file) = file else {
        let message = format!("no layer is at {path}");
        return json_answer(StatusCode::NOT_FOUND, &json!({"__type": "NoSuchKey", "message": message}));
    };
    Response::new(file)
}

fn json_answer(status: StatusCode, body: &Value) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::of(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/x-amz-json-1.1"));
    answer
}

/// Handles STS's protocol: forms and XML.
fn assume(simulator: &Simulator, headers: &HeaderMap, form: &[u8]) -> HttpResponse {
    let id = simulator.new_id();
    let answered = caller(headers).and_then(|caller| sts::call(&caller, form, simulator.clock().now(), &id));
    let (status, xml) = match answered {
        Ok(xml) => (StatusCode::OK, xml),
        Err(ApiError { code, message }) => {
            let message = sts::escaped(&message);
            let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
            let space = "https://sts.amazonaws.com/doc/2011-06-15/";
            (
                StatusCode::BAD_REQUEST,
                format!("<ErrorResponse xmlns=\"{space}\">{error}<RequestId>{id}</RequestId></ErrorResponse>"),
            )
        }
    };
    let mut answer = Response::new(ResponseBody::of(xml));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/xml"));
    answer
}

/// The caller that signed a request. The signature is not checked, because the simulator has no secret keys.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn caller(headers: &HeaderMap) -> Result<ApiCaller, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let credential = text("authorization").and_then(|header| header.split("Credential=").nth(1)?.split(',').next());
    let Some(credential) = credential else {
        return Err(ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    let mut scope = credential.split('/');
    let (key, _date, region) = (scope.next().unwrap_or_default(), scope.next(), scope.next().unwrap_or_default());
    sts::caller(key, region, text("x-amz-security-token")).ok_or_else(|| {
        let message = format!("The security token included in the request is invalid: use a 12-digit account as access key id, not `{key}`");
        ApiError::new("UnrecognizedClientException", message)
    })
}

/// `POST /_simulator/step {"seconds": 60}`: moves the clock forward, and responds when all tasks that are due are done.
fn step(simulator: &Simulator, body: &[u8]) -> HttpResponse {
    let seconds = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("seconds")?.as_f64());
    let Some(Ok(by)) = seconds.map(Duration::try_from_secs_f64) else {
        let message = "expected a body such as {\"seconds\": 60}";
        return json_answer(StatusCode::BAD_REQUEST, &json!({"__type": "ValidationException", "message": message}));
    };
    simulator.step(by);
    json_answer(StatusCode::OK, &json!({"time": simulator.clock().now().to_string()}))
}

/// `GET /_simulator/events?after=7`: the events that were emitted after number 7, including lost ones.
fn events(simulator: &Simulator, query: Option<&str>) -> HttpResponse {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let after = pairs.filter(|(name, _)| name == "after").find_map(|(_, value)| value.parse().ok()).unwrap_or(0);
    let emitted = simulator.emitted(after);
    let next = emitted.last().map_or(after, |emitted| emitted.number);
    let events: Vec<_> = emitted.into_iter().map(|emitted| emitted.event).collect();
    json_answer(StatusCode::OK, &json!({"events": events, "next": next}))
}
