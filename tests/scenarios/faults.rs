//! Each call to the table fails once, in each way in which calls fail, and the messages that failed are delivered
//! again, as the queue would. The table must end as if nothing had happened.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_dynamodb::config::{http::HttpRequest, http::HttpResponse};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use crate::{
    events::{DANA, IRELAND, TOKYO, call, delete, digest, image, lifecycle, push, replicate, storage_class},
    store::{Store, deliver},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// DynamoDB refuses, and does nothing.
    Throttled,
    /// The request never arrives.
    Unreachable,
    /// The request takes effect, and its answer is lost.
    AnswerLost,
    /// Another writer changed the item after it was read. Only evidence is read before it is written.
    Conflict,
}

/// An HTTP client that goes wrong at one call.
#[derive(Debug, Clone)]
struct Faulty {
    inner: SharedHttpClient,
    calls: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
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
            body.contains("placement#") && body.contains("ConditionExpression")
        };
        match self.faulty.fault {
            Fault::Throttled if due => HttpConnectorFuture::ready(Ok(answer("ThrottlingException"))),
            Fault::Unreachable if due => HttpConnectorFuture::ready(Err(io())),
            Fault::Conflict if due && evidence() => {
                HttpConnectorFuture::ready(Ok(answer("ConditionalCheckFailedException")))
            }
            Fault::AnswerLost if due => {
                let inner = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    inner.await?;
                    Err(io())
                })
            }
            _ => self.inner.call(request),
        }
    }
}

/// One batch in which everything that is ever written is written, after another batch that it changes.
fn batches() -> [Vec<Value>; 2] {
    let ids = json!([{"imageDigest": digest('a')}]);
    let request = json!({"repositoryName": "team/app", "imageIds": ids});
    let before = vec![push(IRELAND, 'a', Some("latest"), 0), replicate(IRELAND, TOKYO, 'a', Some("latest"), 20)];
    let batch = vec![
        push(IRELAND, 'b', Some("latest"), 60),
        replicate(IRELAND, TOKYO, 'b', Some("latest"), 80),
        delete(IRELAND, 'a', Some("latest"), 90),
        call(IRELAND, "BatchDeleteImage", 90, request, json!({"imageIds": ids, "failures": []})),
        lifecycle(TOKYO, "PolicyExecutionEvent", "expire", &['a', 'b'], 100),
        storage_class(IRELAND, 'b', "ARCHIVE", 110),
        call(TOKYO, "DeleteRepository", 120, json!({"repositoryName": "team/app"}), Value::Null),
    ];
    [before, batch]
}

/// Delivers the second batch through a client that goes wrong at one call, redelivers what failed, and returns the
/// table, whether anything failed, and the number of calls.
async fn deliver_with(fault: Fault, at: usize) -> (impl PartialEq + std::fmt::Debug, bool, usize) {
    let [before, batch] = batches();
    let store = Store::new().await;
    assert!(store.deliver(&before).await.is_empty());
    let config = store.client.config();
    let faulty = Faulty { inner: config.http_client().unwrap(), calls: Arc::default(), at, fault };
    let retry = aws_sdk_dynamodb::config::retry::RetryConfig::disabled();
    let table = store.through(config.to_builder().http_client(faulty.clone()).retry_config(retry));
    let failed = deliver(&table, batch.iter().map(Value::to_string)).await;
    let again: Vec<_> = failed.iter().map(|place| batch[place.parse::<usize>().unwrap()].to_string()).collect();
    let calls = faulty.calls.load(Ordering::Relaxed);
    assert!(deliver(&table, again).await.is_empty());
    (store.dump().await, !failed.is_empty(), calls)
}

#[tokio::test]
async fn any_call_may_fail_once_in_any_way() {
    let never = usize::MAX;
    let (table, failed, calls) = deliver_with(Fault::Throttled, never).await;
    assert!(!failed && calls > 20, "{calls}");
    for fault in [Fault::Throttled, Fault::Unreachable, Fault::AnswerLost, Fault::Conflict] {
        let mut failures = 0;
        for at in 0..calls {
            let (after, failed, _) = deliver_with(fault, at).await;
            assert_eq!(after, table, "{fault:?} at call {at}");
            failures += usize::from(failed);
        }
        // A conflict is settled at once; every other fault goes back to the queue, but for the reads of measurements.
        if fault == Fault::Conflict {
            assert_eq!(failures, 0);
        } else {
            assert!(failures * 10 > calls * 9, "{fault:?}: {failures} of {calls}");
        }
    }
}

#[tokio::test]
async fn what_a_call_that_failed_had_told_is_told_in_the_end() {
    let store = Store::new().await;
    for batch in batches() {
        assert!(store.deliver(&batch).await.is_empty());
    }
    let lineage = serde_json::to_string(&store.lineage(&image('a')).await.whereabouts()).unwrap();
    assert!(lineage.contains(DANA), "{lineage}");
}
