//! How many DynamoDB calls an event and a batch need, and how many of them depend on one another. These are counts, not
//! times: they are the same on every machine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde_json::Value;
use store::Table;
use tokio::task::yield_now;

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, delete, push, replicate},
    test_table::{Store, deliver},
};

/// How often a waiting call yields without other activity before it starts a new round: far more often than a step
/// needs to start its calls.
const QUIET: u32 = 16;

/// An HTTP client that counts calls, and sends them in rounds: a call waits until all calls of the round before are
/// answered and no more calls start. So the number of rounds is the length of the longest chain of dependent calls.
#[derive(Debug, Clone)]
struct Rounds {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of calls, by operation.
    calls: BTreeMap<String, usize>,
    rounds: usize,
    begun: usize,
    waiting: usize,
    pending: usize,
}

impl HttpClient for Rounds {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(RoundsConnector { inner, state: self.state.clone() })
    }
}

#[derive(Debug)]
struct RoundsConnector {
    inner: SharedHttpConnector,
    state: Arc<Mutex<State>>,
}

impl HttpConnector for RoundsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, state) = (self.inner.clone(), self.state.clone());
        HttpConnectorFuture::new(async move {
            let operation = request.headers().get("x-amz-target").unwrap().split_once('.').unwrap().1.to_owned();
            let round = {
                let mut state = state.lock().unwrap();
                *state.calls.entry(operation).or_default() += 1;
                state.begun += 1;
                state.waiting += 1;
                state.rounds
            };
            let (mut quiet, mut begun) = (0, 0);
            loop {
                yield_now().await;
                let mut state = state.lock().unwrap();
                if state.rounds > round {
                    break;
                }
                quiet = if state.pending > 0 || state.begun != begun { 0 } else { quiet + 1 };
                begun = state.begun;
                if quiet == QUIET {
                    state.rounds += 1;
                    state.pending = std::mem::take(&mut state.waiting);
                    break;
                }
            }
            let response = inner.call(request).await;
            // The whole response is read before the round ends, so that no later step waits for the network.
            let whole = match response {
                Ok(response) => Ok(whole(response).await),
                Err(error) => Err(error),
            };
            state.lock().unwrap().pending -= 1;
            whole
        })
    }
}

async fn whole(mut response: HttpResponse) -> HttpResponse {
    let body = std::mem::replace(response.body_mut(), SdkBody::empty());
    let whole = ByteStream::new(body).collect().await.unwrap().into_bytes();
    *response.body_mut() = SdkBody::from(whole.to_vec());
    response
}

/// A table on which calls are counted, in the state that it has after the first events.
async fn warm() -> (Store, Table, Rounds) {
    let store = Store::new().await;
    let config = store.client.config();
    let rounds = Rounds { inner: config.http_client().unwrap(), state: Arc::default() };
    let table = store.through(config.to_builder().http_client(rounds.clone()));
    // The registries are registered, their settings are cached, and `latest` is on an image in each of them.
    let before = [
        push(IRELAND, 'c', Some("latest"), 0),
        replicate(IRELAND, VIRGINIA, 'c', Some("latest"), 1),
        replicate(IRELAND, TOKYO, 'c', Some("latest"), 2),
    ];
    assert!(deliver(&table, before.iter().map(Value::to_string)).await.is_empty());
    (store, table, rounds)
}

/// The calls of one batch, by operation, and its rounds.
async fn calls(table: &Table, rounds: &Rounds, batch: &[Value]) -> String {
    *rounds.state.lock().unwrap() = State::default();
    assert!(deliver(table, batch.iter().map(Value::to_string)).await.is_empty());
    let state = std::mem::take(&mut *rounds.state.lock().unwrap());
    let all: usize = state.calls.values().sum();
    let each: Vec<_> = state.calls.iter().map(|(operation, count)| format!("{operation} {count}")).collect();
    format!("{all} calls in {} rounds: {}", state.rounds, each.join(", "))
}

#[tokio::test]
async fn an_event_costs_a_fixed_number_of_calls() {
    let (_store, table, rounds) = warm().await;
    for (event, cost) in [
        (push(IRELAND, 'a', Some("v1"), 10), "6 calls in 6 rounds: BatchGetItem 1, PutItem 4, Query 1"),
        // A tag that moves is removed from an image that is already stored.
        (push(IRELAND, 'a', Some("latest"), 11), "7 calls in 6 rounds: BatchGetItem 1, PutItem 5, Query 1"),
        (replicate(IRELAND, TOKYO, 'a', Some("v1"), 12), "6 calls in 6 rounds: BatchGetItem 2, PutItem 3, Query 1"),
        (replicate(IRELAND, TOKYO, 'a', Some("latest"), 13), "7 calls in 6 rounds: BatchGetItem 2, PutItem 4, Query 1"),
        (delete(IRELAND, 'a', Some("v1"), 14), "5 calls in 5 rounds: BatchGetItem 1, PutItem 4"),
        (delete(IRELAND, 'a', None, 15), "4 calls in 4 rounds: BatchGetItem 1, PutItem 3"),
        // A replica of an image that its source deleted: the work item for the deletion is enqueued again.
        (replicate(IRELAND, VIRGINIA, 'a', None, 16), "5 calls in 5 rounds: BatchGetItem 2, PutItem 3"),
    ] {
        assert_eq!(calls(&table, &rounds, std::slice::from_ref(&event)).await, cost, "{event}");
    }
}

#[tokio::test]
async fn a_batch_of_ten_events_needs_few_more_calls() {
    let (_store, table, rounds) = warm().await;
    // Most of the events of a typical release: a version, `latest` moved to it, both replicated to two registries; and
    // some of the next release.
    let release = |letter, version: &'static str, second| {
        let to = |registry, tag, second| replicate(IRELAND, registry, letter, Some(tag), second);
        [
            push(IRELAND, letter, Some(version), second),
            push(IRELAND, letter, Some("latest"), second + 1),
            to(VIRGINIA, version, second + 30),
            to(VIRGINIA, "latest", second + 31),
            to(TOKYO, version, second + 40),
            to(TOKYO, "latest", second + 41),
        ]
    };
    let batch = [release('a', "v1", 100), release('b', "v2", 200)].concat();
    let each = |event: fn(String, u32) -> Value, second: u32| {
        (0..10).map(|n| event(format!("build-{n}"), second + n)).collect::<Vec<_>>()
    };
    for (batch, cost) in [
        (
            batch.into_iter().take(10).collect(),
            "17 calls in 6 rounds: BatchExecuteStatement 3, BatchGetItem 2, BatchWriteItem 1, PutItem 3, Query 8",
        ),
        (
            each(|tag, second| push(IRELAND, 'd', Some(&tag), second), 260),
            "15 calls in 6 rounds: BatchExecuteStatement 3, BatchGetItem 1, BatchWriteItem 1, Query 10",
        ),
        (
            each(|tag, second| replicate(IRELAND, TOKYO, 'd', Some(&tag), second), 270),
            "15 calls in 6 rounds: BatchExecuteStatement 2, BatchGetItem 2, BatchWriteItem 1, Query 10",
        ),
        // Replacing stored items, and enqueuing a deletion's work item, take one call each.
        (
            each(|tag, second| delete(IRELAND, 'd', Some(&tag), second), 280),
            "14 calls in 5 rounds: BatchExecuteStatement 1, BatchGetItem 1, BatchWriteItem 1, PutItem 11",
        ),
    ] {
        assert_eq!(calls(&table, &rounds, &batch).await, cost, "{batch:?}");
    }
}
