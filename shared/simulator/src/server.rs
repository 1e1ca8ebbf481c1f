//! The HTTP server on one loopback port: ECR, STS, the embedded table, and the simulator's own controls.

use std::{pin::Pin, sync::Arc, time::Duration};

use domain::image::Registry;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
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
    body::{self, ResponseBody},
    distribution,
    queue::Backlog,
    sts,
    trouble::Chance,
};

/// The prefix of ECR's target header. <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonParameters.html>
const ECR: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// The largest request body: a manifest has at most 4 MiB, and is escaped as a JSON string.
const LARGEST_BODY: usize = 32 << 20;

/// The header with the id of a request (A5).
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html>
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

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
            async move { handler.answer(request).await.map(with_request_id) }
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
        let body = body::read(body, LARGEST_BODY).await.map_err(|_| NoAnswerError)?;
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = text("x-amz-target");
        let path = head.uri.path();
        let Some(body) = body else {
            let message = format!("the body has more than the {LARGEST_BODY} bytes that the simulator reads");
            return Ok(refused(&ApiError::new("InvalidParameterException", message)));
        };
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
        if !target.is_empty() {
            return Ok(refused(&unknown(target)));
        }
        // The controls come first: `curl -d` sends its body with the content type of a form.
        match (&head.method, path) {
            (&Method::POST, "/_simulator/step") => return Ok(step(&self.simulator, &body).await),
            (&Method::GET, _) if path.starts_with(DOWNLOADS) => return Ok(download(&self.simulator, path)),
            (&Method::GET, "/_simulator/clock") => return Ok(clock(&self.simulator)),
            (&Method::GET, "/_simulator/queue") => return Ok(queue(&self.simulator)),
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
        let error = unknown(&format!("{} {path}", head.method));
        Ok(json_answer(StatusCode::NOT_FOUND, &json!({"__type": error.code, "message": error.message})))
    }
}

/// The error of a call to a service that is not simulated.
fn unknown(what: &str) -> ApiError {
    let message = format!("the simulator has no {what}: it is ECR, STS and DynamoDB for AWS's clients");
    ApiError::new("UnknownOperationException", message)
}

fn with_request_id(mut answer: HttpResponse) -> HttpResponse {
    if let Ok(id) = HeaderValue::from_str(&Chance::unpredictable().id()) {
        answer.headers_mut().entry(REQUEST_ID).or_insert(id);
    }
    answer
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
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    answer
}

/// Handles STS's protocol: forms and XML.
fn assume(simulator: &Simulator, headers: &HeaderMap, form: &[u8]) -> HttpResponse {
    let id = Chance::unpredictable().id();
    let answered = caller(headers).and_then(|caller| match service(headers) {
        "sts" => sts::call(&caller, form, simulator.clock().now(), &id),
        other => Err(ApiError::new("InvalidAction", unknown(other).message)),
    });
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
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    headers.extend(HeaderValue::from_str(&id).map(|id| (REQUEST_ID, id)));
    answer
}

/// The caller that signed a request. The signature is not checked, because the simulator has no secret keys.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn caller(headers: &HeaderMap) -> Result<ApiCaller, ApiError> {
    let Some(mut scope) = scope(headers) else {
        return Err(ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    let (key, region) = (scope.next().unwrap_or_default(), scope.nth(1).unwrap_or_default());
    let token = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    let caller = sts::caller(key, region, token);
    Registry::new(&caller.account, region).map(|_| caller).map_err(|_| {
        let message = format!("The security token included in the request is invalid: `{region}` is not a region");
        ApiError::new("UnrecognizedClientException", message)
    })
}

/// The access key, date, region and service of a signature.
fn scope(headers: &HeaderMap) -> Option<impl Iterator<Item = &str>> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    Some(header.split("Credential=").nth(1)?.split(',').next()?.split('/'))
}

/// The service for which a request is signed.
fn service(headers: &HeaderMap) -> &str {
    scope(headers).and_then(|mut scope| scope.nth(3)).unwrap_or_default()
}

/// `POST /_simulator/step {"seconds": 60}`: moves the clock forward, and responds when everything that is due is done:
/// tasks of the registries, events to be recorded, and `watch` and `mirror`.
async fn step(simulator: &Simulator, body: &[u8]) -> HttpResponse {
    let seconds = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("seconds")?.as_f64());
    let Some(Ok(by)) = seconds.map(Duration::try_from_secs_f64) else {
        let message = "expected a body such as {\"seconds\": 60}";
        return json_answer(StatusCode::BAD_REQUEST, &json!({"__type": "ValidationException", "message": message}));
    };
    simulator.step_through(by).await;
    json_answer(StatusCode::OK, &json!({"time": simulator.clock().now().to_string()}))
}

/// `GET /_simulator/clock`: the time and how fast it runs, for the command line.
fn clock(simulator: &Simulator) -> HttpResponse {
    let clock = simulator.clock();
    json_answer(StatusCode::OK, &json!({"time": clock.now().to_string(), "speed": clock.speed()}))
}

/// `GET /_simulator/queue`: how many events wait for `record`: in all, and those that could be received by now, with the
/// time since when.
fn queue(simulator: &Simulator) -> HttpResponse {
    let Backlog { waiting, receivable, since, dead } = simulator.backlog();
    let since = since.map(|time| time.to_string());
    let answer = json!({"waiting": waiting, "receivable": receivable, "since": since, "deadLetters": dead});
    json_answer(StatusCode::OK, &answer)
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
