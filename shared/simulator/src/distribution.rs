//! The OCI distribution API: what `docker push` and every other registry client speaks.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md>. Images are pushed and deleted by the same
//! operations as by ECR's own API, so that events, replication and tags are the same.

mod blobs;
mod lists;
mod manifests;

use domain::image::{Digest, Registry};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use crate::{
    Simulator,
    api::{ApiCaller, ApiError, Where, authorization::caller_of_token},
    body::ResponseBody,
    layers::{UploadError, sha256},
    pull_through::registry_of_host,
    server::HttpResponse,
    world::{RepositoryId, World},
};

/// Whether a path belongs to the API.
pub(crate) fn is_for(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// Answers a request; nothing if a simulated fault loses it.
pub(crate) async fn answer(simulator: &Simulator, request: Request<Incoming>) -> Option<HttpResponse> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let answered = match Session::of(simulator, request.headers(), &host) {
        Ok(session) => session.route(request).await,
        Err(error) => Err(error.into()),
    };
    match answered {
        Ok(answer) => Some(answer),
        Err(Failure::Lost) => None,
        Err(Failure::Refused(error)) => Some(error.answer(&host)),
    }
}

/// Why a request has no good answer.
enum Failure {
    /// A simulated fault loses it.
    Lost,
    Refused(DistributionError),
}

type Reply = Result<HttpResponse, Failure>;

/// An error of the API.
/// <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes>
struct DistributionError {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl DistributionError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    fn answer(self, host: &str) -> HttpResponse {
        let body = json!({"errors": [{"code": self.code, "message": self.message}]});
        let mut answer = answer_with(self.status, &[(CONTENT_TYPE, "application/json".to_owned())], body.to_string());
        for (name, value) in &self.headers {
            put_header(&mut answer, name, value);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // As ECR's own: a challenge of Basic, and never of a token server.
            let challenge = format!("Basic realm=\"http://{host}/\",service=\"ecr.amazonaws.com\"");
            put_header(&mut answer, &WWW_AUTHENTICATE, &challenge);
        }
        answer
    }
}

impl From<DistributionError> for Failure {
    fn from(error: DistributionError) -> Self {
        Self::Refused(error)
    }
}

impl From<ApiError> for Failure {
    /// An error of ECR's API as the distribution API says it (B6).
    fn from(error: ApiError) -> Self {
        let (status, code) = match error.code {
            "RepositoryNotFoundException" => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            "ImageNotFoundException" => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            "ReferencedImagesNotFoundException" | "LayersNotFoundException" => {
                (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")
            }
            "ImageTagAlreadyExistsException" => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            "ImageDigestDoesNotMatchException" => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            "AccessDeniedException" => (StatusCode::FORBIDDEN, "DENIED"),
            "ThrottlingException" => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            "ServerException" => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
            _ => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        };
        DistributionError::new(status, code, error.message).into()
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        let (status, code) = match &error {
            UploadError::NotFound => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            UploadError::NotConsecutive { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            UploadError::WrongDigest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            UploadError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            UploadError::Disk(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
            UploadError::TooManyParts | UploadError::Empty | UploadError::PartTooSmall => {
                (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID")
            }
        };
        DistributionError::new(status, code, error.to_string()).into()
    }
}

/// What a path asks for; the repository's name comes first.
enum Route<'a> {
    Ping,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Referrers(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2").map(|rest| rest.strip_prefix('/').unwrap_or(rest))?;
        if let "" | "_catalog" = rest {
            return Some(if rest.is_empty() { Self::Ping } else { Self::Catalog });
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags(name));
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Some(Self::Uploads(name));
        }
        let (front, last) = rest.rsplit_once('/')?;
        let of = |suffix: &str| front.strip_suffix(suffix);
        None.or_else(|| of("/blobs/uploads").map(|name| Self::Upload(name, last)))
            .or_else(|| of("/blobs").map(|name| Self::Blob(name, last)))
            .or_else(|| of("/manifests").map(|name| Self::Manifest(name, last)))
            .or_else(|| of("/referrers").map(|name| Self::Referrers(name, last)))
    }
}

/// The caller of a request, and the registry that it is for.
struct Session<'a> {
    simulator: &'a Simulator,
    caller: ApiCaller,
    registry: Registry,
}

impl<'a> Session<'a> {
    /// Authenticates a request by its token. The registry is the one that the token names, unless the host's name is
    /// that of a registry (B4).
    fn of(simulator: &'a Simulator, headers: &HeaderMap, host: &str) -> Result<Self, DistributionError> {
        let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let Some((mut caller, expires)) = basic.and_then(caller_of_token) else {
            let message = "Not Authorized: log in as user AWS with the password of `aws ecr get-login-password`";
            return Err(DistributionError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message));
        };
        if expires < simulator.clock().now() {
            let message = "Your authorization token has expired. Reauthenticate and try again.";
            return Err(DistributionError::new(StatusCode::FORBIDDEN, "DENIED", message));
        }
        let name = host.split(':').next().unwrap_or_default();
        let named = registry_of_host(name).or_else(|| Registry::new(&caller.account, &caller.region).ok());
        let Some(registry) = named else {
            return Err(DistributionError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Not Authorized"));
        };
        registry.region().clone_into(&mut caller.region);
        Ok(Self { simulator, caller, registry })
    }

    async fn route(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        // Some clients encode the colon of a digest.
        let path = head.uri.path().replace("%3A", ":").replace("%3a", ":");
        let query = Query::of(head.uri.query());
        match (Route::of(&path), &head.method) {
            (Some(Route::Ping), &Method::GET | &Method::HEAD) => Ok(answer_with(StatusCode::OK, &[], "{}")),
            (Some(Route::Catalog), &Method::GET) => self.list_repositories(&query),
            (Some(Route::Tags(name)), &Method::GET) => self.list_tags(name, &query),
            (Some(Route::Referrers(name, subject)), &Method::GET) => self.list_referrers(name, subject, &query),
            (Some(Route::Manifest(name, reference)), &Method::GET | &Method::HEAD) => {
                self.get_manifest(name, reference, head.method == Method::HEAD)
            }
            (Some(Route::Manifest(name, reference)), &Method::PUT) => {
                self.put_manifest(name, reference, &head.headers, body).await
            }
            (Some(Route::Manifest(name, reference)), &Method::DELETE) => self.delete_manifest(name, reference),
            (Some(Route::Blob(name, digest)), &Method::GET | &Method::HEAD) => {
                self.get_blob(name, digest, &head.headers, head.method == Method::HEAD)
            }
            (Some(Route::Uploads(name)), &Method::POST) => self.begin_upload(name, &query, body).await,
            (Some(Route::Upload(name, id)), &Method::PATCH) => self.append(name, id, &head.headers, body).await,
            (Some(Route::Upload(name, id)), &Method::PUT) => {
                self.complete_upload(name, id, &query, &head.headers, body).await
            }
            (Some(Route::Upload(name, id)), &Method::GET) => self.upload_status(name, id),
            (Some(Route::Upload(name, id)), &Method::DELETE) => self.cancel_upload(name, id),
            (route, method) => {
                let status = if route.is_some() { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
                let message = format!("{method} {path} is not supported");
                Err(DistributionError::new(status, "UNSUPPORTED", message).into())
            }
        }
    }

    /// Performs an operation of ECR's API on a repository.
    fn call(&self, operation: &str, name: &str, mut request: Value) -> Result<Value, Failure> {
        if let Some(members) = request.as_object_mut() {
            members.insert("registryId".to_owned(), self.registry.account().into());
            members.insert("repositoryName".to_owned(), name.into());
        }
        match self.simulator.call(&self.caller, operation, request.to_string().as_bytes()) {
            None => Err(Failure::Lost),
            // A repeated push is no error here.
            Some(Err(error)) if error.code == "ImageAlreadyExistsException" => Ok(Value::Null),
            Some(answer) => Ok(answer?),
        }
    }

    /// Reads a repository, if the caller may perform an action on it.
    fn read<T>(
        &self,
        name: &str,
        action: &str,
        read: impl FnOnce(&mut World, &RepositoryId) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let at = Where { registry_id: Some(self.registry.account().to_owned()), repository_name: name.to_owned() };
        self.simulator.with(|world| {
            let place = match action {
                "InitiateLayerUpload" | "PutImage" => world.pushed_to(&self.caller, &at, action),
                _ => world.found(&self.caller, &at, action),
            };
            let place = place.map_err(|error| match error.code {
                "InvalidParameterException" => {
                    DistributionError::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.message).into()
                }
                _ => Failure::from(error),
            })?;
            read(world, &place)
        })
    }

    /// The repository of a request.
    fn place(&self, name: &str, action: &str) -> Result<RepositoryId, Failure> {
        self.read(name, action, |_, place| Ok(place.clone()))
    }
}

/// The digest of a blob or subject.
fn digest_of(text: &str) -> Result<Digest, DistributionError> {
    sha256(text).ok_or_else(|| {
        let message = format!("`{text}` is not a digest: expected `sha256:` and 64 hexadecimal digits");
        DistributionError::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    })
}

/// The parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn answer_with(
    status: StatusCode,
    headers: &[(HeaderName, String)],
    body: impl Into<hyper::body::Bytes>,
) -> HttpResponse {
    let mut answer = Response::new(ResponseBody::of(body));
    *answer.status_mut() = status;
    put_header(&mut answer, &HeaderName::from_static("docker-distribution-api-version"), "registry/2.0");
    for (name, value) in headers {
        put_header(&mut answer, name, value);
    }
    answer
}

fn put_header(answer: &mut HttpResponse, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The header with the digest of what a response contains or names.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
