use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::Value;

use crate::{
    events::{IRELAND, TOKYO, push, replicate},
    test_table::{Store, deliver},
};

#[test]
fn a_batch_counts_events_and_rejects_and_measures_lag() {
    let recorder = DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let store = Store::new().await;
            let events = [push(IRELAND, 'a', Some("v1"), 0), replicate(IRELAND, TOKYO, 'a', Some("v1"), 42)];
            let bodies = events.iter().map(Value::to_string).chain(["poison".to_owned()]);
            assert_eq!(deliver(&store.table, bodies).await, ["2"]);
            // Events that are delivered again are duplicates, and neither counted nor measured twice.
            assert!(store.deliver(&events).await.is_empty());
        });
    });
    let mut seen: Vec<String> = Vec::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(value) => value.to_string(),
            DebugValue::Histogram(values) => format!("{values:?}"),
        };
        seen.push(format!("{} {} {value}", key.key().name(), labels.join(",")));
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "DuplicateFacts  2",
            "Events Kind=pushed 1",
            "Events Kind=replicated 1",
            "Rejects  1",
            "ReplicationLag Destination=444455556666/ap-northeast-1 [42.0]",
        ]
    );
}
