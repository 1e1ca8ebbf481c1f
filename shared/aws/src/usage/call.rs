//! Signed calls to services of which only a few answers are read: no SDK crate is compiled for them.

use std::time::{Duration, SystemTime};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use domain::image::Registry;
use retry::{CallError, NO_CREDENTIALS, chain};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::registry::Registries;

/// The time for one attempt, and the first pause between two, if the SDK's configuration names none.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The largest answer that is read: a page has at most 200 resources.
const MAX_BYTES: usize = 32 << 20;

/// Codes with which services ask for a slower pace.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
const THROTTLES: [&str; 6] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "LimitExceededException",
];

/// What a call sends.
pub(super) enum Ask<'a> {
    /// JSON 1.1 to the operation with this target.
    /// <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>
    Json(&'a str, Value),
    /// A `GET` of this path and query.
    Get(String),
    /// A `POST` of JSON to this path.
    Post(&'a str, Value),
}

/// Calls services in the account and region of a registry, with credentials that are fetched once.
pub(super) struct Caller {
    registries: Registries,
    pub(super) registry: Registry,
    http: SharedHttpConnector,
    config: SdkConfig,
    credentials: Credentials,
}

impl Caller {
    /// A caller with the role that reads registries.
    pub(super) async fn new(
        registries: &Registries,
        registry: &Registry,
        http: SharedHttpConnector,
    ) -> Result<Self, CallError> {
        let config = registries.config(registry).await;
        let provider = config.credentials_provider();
        let provider = provider.ok_or_else(|| CallError::refused(NO_CREDENTIALS, "none are configured"))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| CallError::refused(NO_CREDENTIALS, &chain(&error)))?;
        Ok(Self { registries: registries.clone(), registry: registry.clone(), http, config, credentials })
    }

    /// Calls an operation. Throttles, failures of the service and missing answers are retried.
    ///
    /// # Errors
    /// When the service refuses, does not answer, or answers with something else.
    pub(super) async fn call<T: DeserializeOwned>(&self, service: &str, ask: &Ask<'_>) -> Result<T, CallError> {
        let retries = self.config.retry_config();
        let attempts = retries.map_or(1, RetryConfig::max_attempts).max(1);
        let mut pause = retries.map_or(Duration::from_secs(1), RetryConfig::initial_backoff);
        let mut attempt = 1;
        loop {
            self.registries.turn(&self.registry).await;
            let failure = match self.attempt(service, ask).await {
                Ok(bytes) => {
                    let parsed = serde_json::from_slice(&bytes);
                    return parsed.map_err(|error| CallError::unclear(format!("{service}'s answer: {error}")));
                }
                Err(failure) => failure,
            };
            if attempt >= attempts || !failure.again {
                return Err(failure.error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }

    async fn attempt(&self, service: &str, ask: &Ask<'_>) -> Result<Vec<u8>, Failure> {
        let request = self.signed(service, ask).map_err(|error| Failure { error, again: false })?;
        let limit = self.config.timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
        let limit = limit.unwrap_or(ATTEMPT_TIMEOUT);
        let answer = timeout(limit, async {
            let answer = self.http.call(request).await.map_err(|error| Failure::unclear(chain(&error)))?;
            let (status, code) = (answer.status().as_u16(), error_code(&answer));
            Ok((status, code, body(answer).await?))
        });
        let answer = answer.await.map_err(|_| Failure::unclear(format!("no answer within {limit:?}")))?;
        let (status, code, bytes) = answer?;
        if status == 200 {
            return Ok(bytes);
        }
        let error = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        let text = |names: &[&str]| names.iter().find_map(|name| error.get(name)?.as_str()).map(str::to_owned);
        let code = code.or_else(|| text(&["__type", "code"])).unwrap_or_else(|| format!("HTTP status {status}"));
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let message = text(&["message", "Message"]).unwrap_or_else(|| "without a message".to_owned());
        let again = status >= 500 || status == 429 || THROTTLES.contains(&code);
        Err(Failure { error: CallError::refused(code, &message), again })
    }

    /// A request with its signature.
    fn signed(&self, service: &str, ask: &Ask<'_>) -> Result<HttpRequest, CallError> {
        let (region, suffix) = (self.registry.region(), self.registry.partition().dns_suffix);
        let endpoint = match self.config.endpoint_url() {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{service}.{region}.{suffix}"),
        };
        let (method, path, body) = match ask {
            Ask::Json(_, body) => ("POST", "/", body.to_string()),
            Ask::Get(path) => ("GET", path.as_str(), String::new()),
            Ask::Post(path, body) => ("POST", *path, body.to_string()),
        };
        let mut headers = Vec::new();
        match ask {
            Ask::Json(target, _) => {
                headers.extend([("x-amz-target", *target), ("content-type", "application/x-amz-json-1.1")]);
            }
            Ask::Post(..) => headers.push(("content-type", "application/json")),
            Ask::Get(_) => {}
        }
        let url = format!("{endpoint}{path}");
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| invalid(&error))?
            .into();
        let signable = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new(method, &*url, headers.iter().copied(), signable);
        let signed = sign(signable.map_err(|error| invalid(&error))?, &parameters).map_err(|error| invalid(&error))?;
        let (instructions, _) = signed.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body.clone()));
        request.set_method(method).map_err(|error| invalid(&error))?;
        request.set_uri(url.as_str()).map_err(|error| invalid(&error))?;
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            let set = request.headers_mut().try_insert(name.to_owned(), value.to_owned());
            set.map_err(|error| invalid(&error))?;
        }
        Ok(request)
    }
}

/// Why an attempt failed, and whether another one may succeed.
struct Failure {
    error: CallError,
    again: bool,
}

impl Failure {
    fn unclear(why: String) -> Self {
        Self { error: CallError::unclear(why), again: true }
    }
}

fn invalid(error: &(dyn std::error::Error + 'static)) -> CallError {
    CallError::unclear(chain(error))
}

/// The code of an error in the header of REST services, such as `ResourceNotFoundException:http://…`.
fn error_code(answer: &HttpResponse) -> Option<String> {
    answer.headers().get("x-amzn-errortype").map(str::to_owned)
}

async fn body(mut answer: HttpResponse) -> Result<Vec<u8>, Failure> {
    let (mut body, mut bytes) = (ByteStream::new(answer.take_body()), Vec::new());
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part.map_err(|error| Failure::unclear(chain(&error)))?);
        if bytes.len() > MAX_BYTES {
            return Err(Failure::unclear(format!("the answer has more than {MAX_BYTES} bytes")));
        }
    }
    Ok(bytes)
}

/// The token of the next page; `None` at the end. A token that repeats would never end.
pub(super) fn next_page(last: Option<&String>, next: Option<String>) -> Result<Option<String>, CallError> {
    let next = next.filter(|token| !token.is_empty());
    match next {
        Some(token) if Some(&token) == last => {
            Err(CallError::unclear("the token of the next page is that of the page".to_owned()))
        }
        next => Ok(next),
    }
}
