//! Each call to the table fails once, in each way in which calls fail, and the failed messages are delivered again, as
//! the queue would do. The table must end as if no call had failed.

use std::sync::{Arc, atomic::Ordering};

use serde_json::{Value, json};

use crate::{
    events::{DANA, IRELAND, TOKYO, call, delete, digest, image, lifecycle, push, replicate, storage_class},
    fault_injection::{Fault, Faulty},
    test_table::{Store, deliver},
};

/// A batch that writes every kind of item, after another batch whose items it changes.
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

/// Delivers the second batch through a client in which one call fails, and redelivers what failed. Returns the table,
/// whether any message failed, and the number of calls.
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
    assert!(!failed && calls > 14, "{calls}");
    for fault in [Fault::Throttled, Fault::Unreachable, Fault::AnswerLost, Fault::Conflict] {
        let mut failures = 0;
        for at in 0..calls {
            let (after, failed, _) = deliver_with(fault, at).await;
            assert_eq!(after, table, "{fault:?} at call {at}");
            failures += usize::from(failed);
        }
        // A conflict is retried at once. Every other fault returns the message to the queue, except in reads for
        // metrics, and in the notes of the last event of a registry.
        if fault == Fault::Conflict {
            assert_eq!(failures, 0);
        } else {
            assert!(failures + 3 >= calls, "{fault:?}: {failures} of {calls}");
        }
    }
}

#[tokio::test]
async fn the_lineage_names_the_principal_of_the_deletion() {
    let store = Store::new().await;
    for batch in batches() {
        assert!(store.deliver(&batch).await.is_empty());
    }
    let lineage = serde_json::to_string(&store.lineage(&image('a')).await.whereabouts()).unwrap();
    assert!(lineage.contains(DANA), "{lineage}");
}
