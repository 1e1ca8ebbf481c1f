//! A client in which one call fails.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use aws_sdk_dynamodb::config::{http::HttpRequest, http::HttpResponse};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use futures::future::BoxFuture;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// DynamoDB refuses the request, and does nothing.
    Throttled,
    /// The request never arrives.
    Unreachable,
    /// The request takes effect, and its response is lost.
    AnswerLost,
    /// Another writer changed or inserted an item after it was read. Only evidence and expectations are read before
    /// they are written.
    Conflict,
    /// The request takes effect, and its response omits the first entry of its list.
    Partial,
    /// ECR refuses every deletion with an undocumented code; `at` does not matter.
    Strange,
    /// The tag of every untag was set on another image a moment before: ECR names that one; `at` does not matter.
    Moved,
}

/// An HTTP client in which one call fails.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    pub(crate) inner: SharedHttpClient,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

impl HttpClient for Faulty {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { inner, faulty: self.clone() })
    }
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    faulty: Faulty,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let due = self.faulty.calls.fetch_add(1, Ordering::Relaxed) == self.faulty.at;
        let io = || ConnectorError::io("the network is gone".into());
        let answer = |code: &str| {
            let body =
                json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "once"}).to_string();
            HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
        };
        let evidence = || {
            let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
            // Or that all copies arrived, which only the update of an expectation stores that leaves the queue.
            body.contains("placement#") && body.contains("ConditionExpression") || body.contains("REMOVE #queue")
        };
        let statements = || {
            let asked: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
            let statements = asked["Statements"].as_array().cloned().unwrap_or_default();
            let read = statements.iter().any(|statement| {
                let statement = statement.to_string();
                statement.contains("placement#") || statement.contains("expect#")
            });
            read.then_some(statements.len())
        };
        let deletes = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with(".BatchDeleteImage"));
        match self.faulty.fault {
            Fault::Strange if deletes => {
                let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
                let ids = asked["imageIds"].as_array().unwrap().iter();
                let failures: Vec<_> = ids
                    .map(|id| json!({"imageId": id, "failureCode": "NeverHeardOf", "failureReason": "for some reason"}))
                    .collect();
                let body = json!({"imageIds": [], "failures": failures}).to_string();
                HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body))))
            }
            Fault::Moved if deletes => {
                let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
                let mut ids = asked["imageIds"].clone();
                let moved = format!("sha256:{}", "f".repeat(64));
                ids.as_array_mut().unwrap().iter_mut().for_each(|id| id["imageDigest"] = json!(moved));
                let body = json!({"imageIds": ids, "failures": []}).to_string();
                HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body))))
            }
            Fault::Throttled if due => HttpConnectorFuture::ready(Ok(answer("ThrottlingException"))),
            Fault::Unreachable if due => HttpConnectorFuture::ready(Err(io())),
            Fault::Conflict if due && evidence() => {
                HttpConnectorFuture::ready(Ok(answer("ConditionalCheckFailedException")))
            }
            Fault::Conflict if due && let Some(count) = statements() => {
                let error = json!({"Error": {"Code": "DuplicateItem", "Message": "once"}});
                let body = json!({"Responses": vec![error; count]}).to_string();
                HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body))))
            }
            Fault::AnswerLost if due => {
                let inner = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    inner.await?;
                    Err(io())
                })
            }
            Fault::Partial if due => {
                let inner = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let mut response = inner.await?;
                    let body = std::mem::replace(response.body_mut(), SdkBody::empty());
                    let whole = ByteStream::new(body).collect().await.unwrap().into_bytes().to_vec();
                    let mut answer: Value = serde_json::from_slice(&whole).unwrap_or_default();
                    for list in ["imageIds", "imageDetails"] {
                        if let Some(list) =
                            answer.get_mut(list).and_then(Value::as_array_mut).filter(|list| !list.is_empty())
                        {
                            list.remove(0);
                        }
                    }
                    let answer = if answer.is_null() { whole } else { answer.to_string().into_bytes() };
                    response.headers_mut().insert("content-length", answer.len().to_string());
                    *response.body_mut() = SdkBody::from(answer);
                    Ok(response)
                })
            }
            _ => self.inner.call(request),
        }
    }
}

/// An HTTP client that does something else before the first call of an operation.
#[derive(Clone)]
pub(crate) struct Meanwhile {
    pub(crate) inner: SharedHttpClient,
    pub(crate) operation: &'static str,
    pub(crate) first: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    pub(crate) happened: Arc<AtomicBool>,
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meanwhile").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl HttpClient for Meanwhile {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(MeanwhileConnector { inner, meanwhile: self.clone() })
    }
}

#[derive(Debug)]
struct MeanwhileConnector {
    inner: SharedHttpConnector,
    meanwhile: Meanwhile,
}

impl HttpConnector for MeanwhileConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let is_due = target.ends_with(self.meanwhile.operation);
        if !is_due || self.meanwhile.happened.swap(true, Ordering::Relaxed) {
            return self.inner.call(request);
        }
        let (first, inner) = ((self.meanwhile.first)(), self.inner.clone());
        HttpConnectorFuture::new(async move {
            first.await;
            inner.call(request).await
        })
    }
}
